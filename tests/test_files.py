"""Files written whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from crawler.errors import LogError
from crawler.files import write_whole


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    """The new contents stand where the old ones stood, with the usual mode, and no trace beside."""
    path = tmp_path / "report.json"
    path.write_bytes(b"old")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["report.json"]
    plain = tmp_path / "plain"
    plain.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """The error names the file and the remedy, and nothing is left behind."""
    with pytest.raises(LogError, match=r"report.json: .*make its directory"):
        write_whole(tmp_path / "absent" / "report.json", b"x")
    with pytest.raises(LogError, match="directory"):
        write_whole(tmp_path, b"x")
    assert os.listdir(tmp_path) == []


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    """What is no regular file is written to as it is."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    write_whole(path, b"through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
