"""The search for the fastest cut, on machines whose times are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from srgan_trt.runtime.tuning import Cut, Tuning, read_tuning, search, tuning_file, write_tuning

SIZE = (320, 480)
CUTS = [Cut(side, streams) for streams in (2, 1) for side in (64, 96, 128, 192)]


class Machine:
    """Takes the time that `seconds` says, on a clock of its own."""

    def __init__(self, seconds: Callable[[Cut | None], float]) -> None:
        self.now = 0.0
        self.asked: list[Cut | None] = []
        self._seconds = seconds

    def __call__(self, cut: Cut | None) -> float:
        self.asked.append(cut)
        took = self._seconds(cut)
        self.now += took
        return took

    def search(self, budget: float) -> Tuning:
        return search(CUTS, self, size=SIZE, budget=budget, clock=lambda: self.now)


def test_the_fastest_cut_wins() -> None:
    machine = Machine(lambda cut: 0.1 if cut == Cut(96, 2) else 0.2)
    found = machine.search(20)
    assert found.cut == Cut(96, 2)
    assert found.gain == 2.0
    assert {trial.cut for trial in found.trials} == {None, *CUTS}
    assert found.trials[0].milliseconds == 200


def test_what_is_hardly_faster_than_the_default_is_not_taken() -> None:
    found = Machine(lambda cut: 0.2 if cut is None else 0.196).search(20)
    assert found.cut is None
    assert found.gain == 1.0


def test_a_lucky_first_try_does_not_win() -> None:
    """The finals are in turns with the default: a cut that was fast once, while the machine was idle, is found out."""
    tries: dict[Cut | None, int] = {}

    def seconds(cut: Cut | None) -> float:
        tries[cut] = tries.get(cut, 0) + 1
        return 0.05 if cut == Cut(64, 1) and tries[cut] == 1 else 0.2

    assert Machine(seconds).search(20).cut is None


def test_a_machine_that_slows_down_hits_all_alike() -> None:
    machine: Machine

    def seconds(cut: Cut | None) -> float:
        return (0.1 if cut == Cut(128, 2) else 0.2) * (1 + machine.now)

    machine = Machine(seconds)
    assert machine.search(20).cut == Cut(128, 2)


def test_the_budget_is_kept_but_for_three_rounds() -> None:
    machine = Machine(lambda cut: 1.0)
    found = machine.search(8)
    first = [trial for trial in found.trials if trial.rounds == 1]
    assert len(first) + 3 <= 4
    assert machine.now <= 2 + 4 + 3 * 4
    quick = Machine(lambda cut: 0.01)
    quick.search(100)
    assert quick.now < 2


def test_without_candidates_the_default_stays() -> None:
    machine = Machine(lambda cut: 0.1)
    found = search([], machine, size=SIZE, budget=1, clock=lambda: machine.now)
    assert found.cut is None
    assert [trial.cut for trial in found.trials] == [None]


def test_it_is_kept_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRGAN_TRT_CACHE", str(tmp_path))
    found = Machine(lambda cut: 0.1 if cut == Cut(96, 2) else 0.2).search(20)
    path = tuning_file(["plan", 2, ["a", "b"]])
    assert path != tuning_file(["plan", 2, ["a", "c"]])
    assert read_tuning(path) is None
    write_tuning(path, found)
    assert read_tuning(path) == found
    path.write_bytes(path.read_bytes()[:-1])
    assert read_tuning(path) is None
