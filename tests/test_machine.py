"""How busy the machine is."""

from __future__ import annotations

import time

import pytest

from crawler import machine
from crawler.machine import CpuTimes, cpu_times


def test_a_share_is_that_of_the_time_between() -> None:
    """Busy time over all time, both since the earlier moment; None where none has passed."""
    assert CpuTimes(15.0, 40.0).share_since(CpuTimes(10.0, 20.0)) == 0.25
    assert CpuTimes(15.0, 40.0).share_since(CpuTimes(15.0, 40.0)) is None


def test_work_makes_the_machine_busy() -> None:
    """A core that spins for a fifth of a second is seen in the kernel's counters."""
    before = cpu_times()
    if before is None:
        pytest.skip("this system has no /proc/stat")
    end_s = time.process_time() + 0.2
    while time.process_time() < end_s:
        pass
    after = cpu_times()
    assert after is not None
    share = after.share_since(before)
    assert share is not None
    assert after.busy_s - before.busy_s >= 0.1
    assert 0 < share <= 1


@pytest.mark.parametrize("text", ["", "cpu 1 2", "cpu a b c d e f g h"])
def test_counters_that_are_none_tell_nothing(text, tmp_path, monkeypatch) -> None:
    """Where the kernel has other counters, or none, the share is not known."""
    monkeypatch.setattr(machine, "_STAT", tmp_path / "stat")
    assert cpu_times() is None
    (tmp_path / "stat").write_text(text)
    assert cpu_times() is None
