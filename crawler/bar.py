"""tqdm's bar, tamed; the only file that knows tqdm, and imported where a bar is drawn.

It starts no thread and takes no lock that crosses processes, unlike tqdm's own defaults: neither
goes well with forking workers.
"""

from __future__ import annotations

import os
import threading
from typing import Any, Final, TextIO

from tqdm import tqdm

_COLUMNS: Final = 80
"""Where a terminal tells no width."""
_ROWS: Final = 24
"""More lines than bars: where a terminal tells no height, tqdm would draw nothing."""


class Bar(tqdm):  # type: ignore[type-arg]
    """A bar on ``stream``, drawn whenever it is told to be; the rest are tqdm's own options."""

    monitor_interval = 0  # no monitor thread, and users' own bars keep theirs

    def __init__(self, stream: TextIO, **options: Any) -> None:  # noqa: ANN401 - tqdm's
        super().__init__(
            file=stream,
            dynamic_ncols=_knows_its_width(stream),
            ncols=_COLUMNS,
            nrows=_ROWS,
            mininterval=0,
            miniters=0,
            **options,
        )


Bar.set_lock(threading.RLock())  # tqdm's default would make a semaphore and its tracker process


def _knows_its_width(stream: TextIO) -> bool:
    """Whether tqdm can ask for the width: some terminals (in containers, in CI) answer 0."""
    try:
        return os.get_terminal_size(stream.fileno()).columns > 0
    except (OSError, ValueError):
        return False
