"""How busy the whole machine is, from the kernel's own counters."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

_STAT = Path("/proc/stat")


class CpuTimes(NamedTuple):
    """CPU seconds of all cores since the machine began: in use, and in all."""

    busy_s: float
    total_s: float

    def share_since(self, earlier: CpuTimes) -> float | None:
        """The share in use between two moments, 0 to 1; None between the same ones."""
        total_s = self.total_s - earlier.total_s
        return min((self.busy_s - earlier.busy_s) / total_s, 1.0) if total_s > 0 else None


def cpu_times() -> CpuTimes | None:
    """Read ``/proc/stat`` (proc(5)); None where there is none."""
    try:
        numbers = [int(word) for word in _STAT.read_text().partition("\n")[0].split()[1:9]]
    except (OSError, ValueError):
        return None
    if len(numbers) < 5:
        return None
    per_s = os.sysconf("SC_CLK_TCK")
    idle = numbers[3] + numbers[4]  # idle, and waiting for input or output
    return CpuTimes((sum(numbers) - idle) / per_s, sum(numbers) / per_s)
