"""The search for the fastest setting, on machines whose times are known."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from srgan_trt.cache import read_record, write_checksummed, write_record
from srgan_trt.runtime.tuning import DEFAULT, Setting, TilingConfig, Tuning, search, tuning_file

SIZE = (320, 480)
TILINGS = [TilingConfig(side, streams) for streams in (2, 1) for side in (64, 96, 128, 192)]
FORMS = ("phases", "dense")


class Machine:
    """Takes the time that `seconds` says, on a clock of its own."""

    def __init__(self, seconds: Callable[[Setting], float]) -> None:
        self.now = 0.0
        self.asked: list[Setting] = []
        self._seconds = seconds

    def __call__(self, setting: Setting) -> float:
        self.asked.append(setting)
        took = self._seconds(setting)
        self.now += took if took < math.inf else 0.1
        return took

    def search(self, budget: float) -> Tuning:
        return search(
            TILINGS,
            self,
            size=SIZE,
            budget=budget,
            forms=[Setting(lowering=form) for form in FORMS],
            clock=lambda: self.now,
        )


def test_the_fastest_cut_wins() -> None:
    machine = Machine(lambda setting: 0.1 if setting.tiling == TilingConfig(96, 2) else 0.2)
    found = machine.search(20)
    assert found.best == Setting(TilingConfig(96, 2))
    assert found.gain == 2.0
    tried = {DEFAULT, *map(Setting, TILINGS), *(Setting(TilingConfig(96, 2), lowering) for lowering in FORMS)}
    assert {trial.setting for trial in found.trials} == tried
    assert found.trials[0].milliseconds == 200


def test_forms_are_tried_with_the_best_cut_or_with_none() -> None:
    best = Setting(TilingConfig(64, 1), "dense")
    found = Machine(lambda setting: 0.1 if setting == best else 0.15 if setting.tiling == best.tiling else 0.2).search(
        20
    )
    assert found.best == best
    found = Machine(
        lambda setting: 0.1 if setting.lowering == "dense" else 0.15 + 0.1 * (setting.tiling is not None)
    ).search(20)
    assert found.best == Setting(None, "dense")


def test_a_form_that_cannot_be_had_is_left_out() -> None:
    found = Machine(lambda setting: math.inf if setting.lowering == "dense" else 0.2).search(20)
    assert found.best == DEFAULT
    assert "dense" not in {trial.setting.lowering for trial in found.trials}


def test_what_is_hardly_faster_than_the_default_is_not_taken() -> None:
    found = Machine(lambda setting: 0.2 if setting == DEFAULT else 0.196).search(20)
    assert found.best == DEFAULT
    assert found.gain == 1.0


def test_a_lucky_first_try_does_not_win() -> None:
    """The finals are in turns with the default: a tiling that was fast once, while the machine was idle, is noticed."""
    tries: dict[Setting, int] = {}

    def seconds(setting: Setting) -> float:
        tries[setting] = tries.get(setting, 0) + 1
        return 0.05 if setting == Setting(TilingConfig(64, 1)) and tries[setting] == 1 else 0.2

    assert Machine(seconds).search(20).best == DEFAULT


def test_a_machine_that_slows_down_hits_all_alike() -> None:
    machine: Machine

    def seconds(setting: Setting) -> float:
        return (0.1 if setting == Setting(TilingConfig(128, 2)) else 0.2) * (1 + machine.now)

    machine = Machine(seconds)
    assert machine.search(20).best == Setting(TilingConfig(128, 2))


def test_the_budget_is_kept_but_for_three_rounds() -> None:
    machine = Machine(lambda setting: 1.0)
    machine.search(12)
    assert machine.now <= 12 + 1
    slow = Machine(lambda setting: 10.0)
    slow.search(12)
    assert slow.asked.count(DEFAULT) == 2 + 3
    assert len(slow.asked) <= 5 + 3 + 1
    quick = Machine(lambda setting: 0.01)
    quick.search(100)
    assert quick.now < 2


def test_without_candidates_the_default_stays() -> None:
    machine = Machine(lambda setting: 0.1)
    found = search([], machine, size=SIZE, budget=1, clock=lambda: machine.now)
    assert found.best == DEFAULT
    assert [trial.setting for trial in found.trials] == [DEFAULT]


def test_it_is_kept_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRGAN_TRT_CACHE", str(tmp_path))
    found = Machine(lambda setting: 0.1 if setting.tiling == TilingConfig(96, 2) else 0.2).search(20)
    path = tuning_file(["plan", 2, ["a", "b"]])
    assert path != tuning_file(["plan", 2, ["a", "c"]])
    assert read_record(path, Tuning) is None
    write_record(path, found)
    assert read_record(path, Tuning) == found
    path.write_bytes(path.read_bytes()[:-1])
    assert read_record(path, Tuning) is None
    write_checksummed(path, b'{"best": {"tiling": {"max_tile": -1, "streams": 2}}}')
    assert read_record(path, Tuning) is None
