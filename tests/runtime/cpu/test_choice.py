"""Which plan of a network runs on which CPU: the one in int8 where that measures faster, and only there."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srgan_trt.compiler.plan import Plan
from srgan_trt.errors import DeviceError, PlanError
from srgan_trt.runtime.cpu import choice, openvino
from srgan_trt.runtime.cpu.choice import choose, compared, race
from srgan_trt.runtime.cpu.measured import KINDS, MEASURED, NEEDED_GAIN, Measured, kind_of
from srgan_trt.runtime.cpu.openvino import CpuPipeline
from srgan_trt.runtime.cpu.processor import Cpu, find_cpu
from srgan_trt.upscaler import Upscaler

from ...handmade import differences, expected, noise, small_plan, small_spec, with_int8

_ROOT = Path(__file__).resolve().parents[3]
TABLED, UNTABLED = "AVX512-VNNI", "a kind that nobody measured"
BF16 = ("BF16", "FP32", "INT8")
FP32 = ("FP32", "INT8")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("SRGAN_TRT_CACHE", str(folder))
    return folder


@pytest.fixture
def family(tmp_path: Path) -> Plan:
    """A plan and its twin in int8."""
    return with_int8(small_plan(tmp_path), tmp_path / "int8")


def cpu(kind: str | None, capabilities: tuple[str, ...] = BF16) -> Cpu:
    return Cpu("a CPU", "2026.4.1", capabilities, 2, kind)


@pytest.fixture
def on_kind(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], str]:
    """Makes this machine's CPU one of that kind; gives the arithmetic that it has beside int8."""

    def become(kind: str | None) -> str:
        here = dataclasses.replace(find_cpu(), kind=kind)
        monkeypatch.setattr(openvino, "find_cpu", lambda core: here)
        return "bf16" if here.has_bf16 else "fp32"

    return become


class TestKinds:
    @pytest.mark.parametrize(
        ("flags", "kind"),
        [
            ("avx2 avx512f avx512_vnni avx512_bf16 amx_tile amx_bf16 amx_int8 avx_vnni", "AMX"),
            ("avx2 avx512f avx512_vnni avx512_bf16", "AVX512-VNNI with bf16"),
            ("avx2 avx512f avx512_vnni", "AVX512-VNNI"),
            ("avx2 fma avx_vnni", "AVX-VNNI"),
            ("avx2 avx512f avx512bw", None),
            ("avx2 fma", None),
            ("", None),
        ],
    )
    def test_it_is_that_of_the_widest_dot_products(self, flags: str, kind: str | None) -> None:
        assert kind_of(flags.split()) == kind

    @pytest.mark.parametrize("kind", MEASURED)
    def test_the_table_has_what_was_measured(self, kind: str) -> None:
        """Each number as the file has it that it names, of a machine of that kind."""
        row = MEASURED[kind]
        found = json.loads((_ROOT / row.source).read_text())
        assert kind_of(found["machine"]["flags"]) == kind in KINDS
        assert len(row.milliseconds) >= 2
        measured = {each["model"]: each["speed"] for each in found["rows"] if "speed" in each}
        for model, times in row.milliseconds.items():
            speed = measured[model]
            told = {speed["against"]: speed["high"]} | {name: speed[name] for name in ("fp32", "int8") if name in speed}
            assert times == {name: pytest.approx(value["median_ms"], abs=0.05) for name, value in told.items()}

    def test_the_gain_is_the_least_against_the_next_best(self) -> None:
        times = {"a": {"fp32": 300.0, "bf16": 150.0, "int8": 100.0}, "b": {"fp32": 260.0, "bf16": 130.0, "int8": 100.0}}
        assert Measured(processor="", milliseconds=times, source="").gain == pytest.approx(1.3)


class TestDefault:
    @pytest.mark.parametrize(
        ("kind", "capabilities", "narrow"),
        [
            (TABLED, FP32, "int8 and fp32"),
            (TABLED, BF16, "int8 and bf16"),
            (UNTABLED, BF16, "bf16"),  # until it was tried
            (UNTABLED, FP32, "fp32"),
            (None, BF16, "bf16"),
            (None, FP32, "fp32"),
        ],
    )
    def test_by_kind_of_cpu(self, family: Plan, kind: str | None, capabilities: tuple[str, ...], narrow: str) -> None:
        chosen = choose(None, family, cpu(kind, capabilities))
        assert chosen.narrow.name == narrow
        assert (chosen.wide.name, chosen.wide.plan) == ("fp32", family)
        assert (chosen.candidate is None) == (kind is not UNTABLED)
        assert any("int8" in note for note in chosen.notes)

    @pytest.mark.parametrize("kind", MEASURED)
    def test_the_table_decides(self, family: Plan, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        assert ("int8" in choose(None, family, cpu(kind)).narrow.name) == (MEASURED[kind].gain >= NEEDED_GAIN)
        slow = dataclasses.replace(MEASURED[kind], milliseconds={"net": {"bf16": 100.0, "int8": 99.0}})
        monkeypatch.setattr(choice, "MEASURED", {kind: slow})
        chosen = choose(None, family, cpu(kind))
        assert chosen.narrow.name == "bf16"
        assert chosen.notes[-1].startswith("int8 is left out: it is 1.01 times as fast as the next best on CPUs with ")

    @pytest.mark.parametrize("kind", [*KINDS, None])
    def test_a_plan_of_ones_own_stands_for_itself_alone(self, tmp_path: Path, kind: str | None) -> None:
        chosen = choose(None, small_plan(tmp_path), cpu(kind))
        assert (chosen.narrow.name, chosen.wide.name, chosen.candidate) == ("bf16", "fp32", None)
        assert chosen.notes == ("8-bit pictures run in bf16, 16-bit pictures in fp32",)

    def test_why_is_told(self, family: Plan) -> None:
        split, why = choose(None, family, cpu(TABLED)).notes
        assert split == "8-bit pictures run in int8 and bf16, 16-bit pictures in fp32"
        assert why == f"int8 is at least {MEASURED[TABLED].gain:.2f} times as fast as the next best on CPUs with " + (
            f"{TABLED} ({MEASURED[TABLED].source})"
        )
        assert choose(None, family, cpu(None)).notes[1] == (
            "int8 is left out: this CPU has, or tells of, none of AMX, AVX512-VNNI with bf16, AVX512-VNNI, AVX-VNNI"
        )


class TestAskedFor:
    @pytest.mark.parametrize("asked", ["fp32", "bf16"])
    def test_another_precision_runs_the_plan_in_fp32(self, family: Plan, asked: str) -> None:
        chosen = choose(asked, family, cpu(TABLED))
        assert (chosen.narrow.name, chosen.narrow.plan, chosen.wide.plan) == (asked, family, family)

    @pytest.mark.parametrize("kind", [TABLED, UNTABLED, None])
    def test_int8_runs_the_plan_in_int8_wherever(self, family: Plan, kind: str | None) -> None:
        chosen = choose("int8", family, cpu(kind))
        assert (chosen.narrow.name, chosen.narrow.plan) == ("int8 and bf16", family.int8)
        assert chosen.wide.name == "fp32"
        assert chosen.notes == ("8-bit pictures run in int8 and bf16, 16-bit pictures in fp32",)
        assert chosen.otherwise is None

    def test_int8_is_refused_where_there_is_none(self, tmp_path: Path) -> None:
        with pytest.raises(DeviceError, match=r"which this one has not: build one \(srgan-trt build MODEL") as caught:
            choose("int8", small_plan(tmp_path), cpu(TABLED))
        assert "\n" not in str(caught.value)

    def test_a_twin_of_another_network_is_refused(self, tmp_path: Path) -> None:
        plan, other = small_plan(tmp_path), small_plan(tmp_path, precision="int8", source_hash="1" * 64)
        with pytest.raises(PlanError, match="in int8: pip install --force-reinstall"):
            plan.with_int8(other)


class TestPictures:
    """Through everything, on this machine's own CPU, which is said to be of a kind."""

    def test_8_bit_ones_run_in_int8_and_16_bit_ones_in_fp32(
        self, family: Plan, on_kind: Callable[[str | None], str]
    ) -> None:
        high = on_kind(TABLED)
        assert family.int8 is not None
        image, deep = noise(30, 40), noise(30, 40, dtype=np.uint16)
        with Upscaler(family) as up:
            assert up.info["precision"] == f"int8 and {high}"
            assert differences(up(image), expected(family.int8, image)).max() <= 6
            assert differences(up(deep), expected(family, deep)).max() <= 3
            assert up.info["precision"] == "fp32"
            assert up.info["notes"][0] == f"8-bit pictures run in int8 and {high}, 16-bit pictures in fp32"

    @pytest.mark.parametrize("options", [{"exact": True}, {"precision": "fp32"}])
    def test_exact_is_the_plan_in_fp32(
        self, family: Plan, on_kind: Callable[[str | None], str], options: dict[str, Any]
    ) -> None:
        on_kind(TABLED)
        image = noise(30, 40)
        with Upscaler(family, **options) as up:
            assert differences(up(image), expected(family, image)).max() <= 1
            assert up.info["precision"] == "fp32"

    def test_where_it_is_not_proven_to_be_faster_it_is_not_run(
        self, family: Plan, on_kind: Callable[[str | None], str]
    ) -> None:
        high = on_kind(None)
        with Upscaler(family) as up:
            assert up.info["precision"] == high


class TestSelfTest:
    """An int8 plan that fails its self-test here."""

    @pytest.fixture
    def wrong(self, tmp_path: Path) -> Plan:
        return with_int8(small_plan(tmp_path), tmp_path / "int8", shift=20)

    @pytest.mark.parametrize("kind", [TABLED, UNTABLED])
    def test_the_next_best_runs_and_it_is_said_once(
        self, wrong: Plan, on_kind: Callable[[str | None], str], caplog: pytest.LogCaptureFixture, kind: str
    ) -> None:
        high = on_kind(kind)
        image = noise(20, 20)
        for _ in range(3):
            with Upscaler(wrong) as up:
                assert differences(up(image), expected(wrong, image)).max() <= 6
                assert up.info["precision"] == high
                note = up.info["notes"][-1]
        assert "int8 is left out: " in note
        assert "fails the plan's self-test" in note
        warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
        assert len(warnings) == 1
        assert warnings[0].startswith(f"small runs in {high} here, not in int8: the plan ")

    def test_it_is_an_error_where_int8_was_asked_for(self, wrong: Plan) -> None:
        with pytest.raises(DeviceError, match="fails the plan's self-test"):
            CpuPipeline(wrong, precision="int8")

    def test_streams_that_fail_later_fall_back_too(
        self,
        family: Plan,
        on_kind: Callable[[str | None], str],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """As if OpenVINO could not compile for the number of streams that a larger picture is cut for."""
        high = on_kind(TABLED)
        with Upscaler(family) as up:
            compile_plan = openvino.CompiledPlan

            def fail(core: Any, plan: Plan, *rest: Any, **options: Any) -> Any:
                if plan.spec.precision == "int8":
                    raise DeviceError("no memory")
                return compile_plan(core, plan, *rest, **options)

            monkeypatch.setattr(openvino, "CompiledPlan", fail)
            up._pipeline._engines.clear()  # type: ignore[attr-defined]
            image = noise(20, 20)
            assert differences(up(image), expected(family, image)).max() <= 6
            assert up.info["precision"] == high
        assert "not in int8: no memory" in caplog.text
        # Only another picture is remembered: this may be right the next time.
        monkeypatch.setattr(openvino, "CompiledPlan", compile_plan)
        with Upscaler(family) as up:
            assert up.info["precision"] == f"int8 and {high}"


class TestTrial:
    """On a kind of CPU that is not in the table."""

    def test_the_second_start_tries_and_no_later_one(
        self, family: Plan, on_kind: Callable[[str | None], str], cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        high = on_kind(UNTABLED)
        tried: list[list[str]] = []

        def times(runs: dict[str, Callable[[], float]], *, until: float) -> dict[str, float]:
            tried.append(list(runs))
            assert all(run() > 0 for run in runs.values())
            return dict(zip(runs, (0.2, 0.1), strict=True))

        monkeypatch.setattr(openvino, "race", times)
        with Upscaler(family) as up:
            assert (up.info["precision"], tried) == (high, [])
            assert up.info["notes"][-1] == f"int8 is tried against {high} at the next start"
            assert not list(cache.glob("precisions/*"))
        for _ in range(3):
            with Upscaler(family) as up:
                assert up.info["precision"] == f"int8 and {high}"
                assert up.info["notes"][-1].startswith(f"int8 is 2.00 times as fast as {high} on this CPU (trial of 20")
        assert tried == [[high, f"int8 and {high}"]]

    def test_what_is_not_faster_is_not_run(
        self, family: Plan, on_kind: Callable[[str | None], str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        high = on_kind(UNTABLED)
        monkeypatch.setattr(openvino, "race", lambda runs, until: dict(zip(runs, (0.1, 0.1), strict=True)))
        for _ in range(3):
            with Upscaler(family) as up:
                assert up.info["precision"] == high
        assert up.info["notes"][-1].startswith("int8 is left out: it is 1.00 times as fast as ")

    def test_a_real_one_decides_within_its_time(self, family: Plan, on_kind: Callable[[str | None], str]) -> None:
        on_kind(UNTABLED)
        for _ in range(2):
            with Upscaler(family) as up:
                note = up.info["notes"][-1]
        assert "times as fast as" in note
        assert "(trial of" in note

    def test_where_it_was_asked_for_nothing_is_tried(
        self, family: Plan, on_kind: Callable[[str | None], str], cache: Path
    ) -> None:
        on_kind(UNTABLED)
        for precision in ("fp32", "fp32", "int8", "int8"):
            Upscaler(family, precision=precision).close()
        assert not list(cache.glob("precisions/*"))

    def test_another_cpu_or_plan_is_another_trial(self, family: Plan, tmp_path: Path) -> None:
        int8_plan = family.int8
        assert int8_plan is not None
        other = small_plan(tmp_path, last="Sigmoid")
        here = cpu(UNTABLED)
        places = {
            choice.kept_verdict(family, int8_plan, here),
            choice.kept_verdict(other, int8_plan, here),
            choice.kept_verdict(family, other, here),
            choice.kept_verdict(family, int8_plan, cpu(TABLED)),
            choice.kept_verdict(family, int8_plan, dataclasses.replace(here, cores=4)),
        }
        assert len(places) == 5

    def test_turns_are_taken_and_the_middle_one_counts(self) -> None:
        order: list[str] = []
        seconds = {"a": iter([9.0, 1, 5, 3, 2, 4]), "b": iter([9.0, 8, 6, 7, 6, 6])}

        def run(name: str) -> Callable[[], float]:
            return lambda: order.append(name) or next(seconds[name])  # type: ignore[func-returns-value]

        assert race({"a": run("a"), "b": run("b")}, until=1.0, clock=lambda: 0.0) == {"a": 3, "b": 6}
        assert "".join(order) == "ab" * 6

    def test_no_round_is_begun_after_its_time(self) -> None:
        assert race({"a": lambda: 1.0, "b": lambda: 1.0}, until=1.0, clock=lambda: 1.0) == {}
        verdict = compared({})
        assert not verdict.int8
        assert "took longer than 5 s" in verdict.why


def test_specs_of_a_family_are_the_same_but_for_the_precision(family: Plan) -> None:
    assert family.int8 is not None
    assert family.spec == small_spec()
    assert family.int8.spec == small_spec(precision="int8")
