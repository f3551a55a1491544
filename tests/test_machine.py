"""Cores and memory of the machine, and of the container that limits them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from srgan_trt import machine
from srgan_trt.errors import SrganTrtError


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty tree of control groups, on a machine of 64 cores and 256 GB."""
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path)
    monkeypatch.setattr(machine, "_affinity_cores", lambda: 64)
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 62_500_000}[name])
    monkeypatch.delenv(machine.THREADS, raising=False)
    return tmp_path


def test_without_limits_it_is_the_machine(groups: Path) -> None:
    assert (machine.usable_cores(), machine.memory_bytes()) == (64, 256_000_000_000)


@pytest.mark.parametrize(
    ("text", "cores"), [("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1), ("max 100000", 64)]
)
def test_a_containers_share_of_time_counts(groups: Path, text: str, cores: int) -> None:
    (groups / "cpu.max").write_text(f"{text}\n")
    assert machine.usable_cores() == cores


def test_a_containers_memory_counts(groups: Path) -> None:
    (groups / "memory.max").write_text("2147483648\n")
    assert machine.memory_bytes() == 2 << 30
    (groups / "memory.max").write_text("max\n")
    assert machine.memory_bytes() == 256_000_000_000


def test_the_older_control_groups_count_too(groups: Path) -> None:
    for name in ("cpu", "memory"):
        (groups / name).mkdir()
    (groups / "cpu" / "cpu.cfs_quota_us").write_text("300000")
    (groups / "cpu" / "cpu.cfs_period_us").write_text("100000")
    (groups / "memory" / "memory.limit_in_bytes").write_text("1000000000")
    assert (machine.usable_cores(), machine.memory_bytes()) == (3, 1_000_000_000)
    (groups / "cpu" / "cpu.cfs_quota_us").write_text("-1")
    (groups / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712")
    assert (machine.usable_cores(), machine.memory_bytes()) == (64, 256_000_000_000)


def test_the_environment_sets_a_limit(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(machine.THREADS, "3")
    assert machine.usable_cores() == 3
    monkeypatch.setenv(machine.THREADS, "100")
    assert machine.usable_cores() == 64
    for wrong in ("0", "-1", "two", "1.5"):
        monkeypatch.setenv(machine.THREADS, wrong)
        with pytest.raises(SrganTrtError, match=machine.THREADS):
            machine.usable_cores()


def test_a_real_quota_is_seen_here_or_none() -> None:
    assert 1 <= machine.usable_cores() <= (os.cpu_count() or 1)
    assert machine.memory_bytes() > 100_000_000
