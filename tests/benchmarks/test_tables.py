"""The claims and tables of the README and of docs/ are what the published results say."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tables() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(_ROOT / "benchmarks")
        yield importlib.import_module("tables")
    for name in ("tables", "other_tables", "formatting"):
        del sys.modules[name]


def entry(name: str, milliseconds: float, **facts: Any) -> dict[str, Any]:
    """Of a run whose anchor took 100 ms."""
    return {
        "name": name,
        "precision": "fp32",
        "median_ms": milliseconds,
        "relative": milliseconds / 100,
        "psnr_db": 60.0,
        "agrees": True,
        **facts,
    }


def case(network: str, *others: dict[str, Any]) -> dict[str, Any]:
    rivals = [entry("Keras predict", 1000.0, psnr_db=None), entry("PyTorch, eager", 400.0), *others]
    kernels = {"share_of_network": 0.004}
    return {"network": network, "width": 480, "height": 320, "rivals": rivals, "kernels": kernels, "missing": {}}


@pytest.fixture
def found() -> dict[str, Any]:
    wide, narrow = entry("srgan-trt fp32", 200.0), entry("srgan-trt int8", 100.0, precision="int8", drop_db=0.03)
    narrow |= {"psnr_db": 48.6, "share_of_limit": 0.7}
    lossy = entry("OpenVINO int8 by NNCF, unmodified export", 50.0, precision="int8", drop_db=6.6, psnr_db=21.0)
    limits = {"srgan-trt int8": {"exported_ms": 90.0, "limit_ms": 70.0}}
    medians = {"srgan-trt upscale small.png": {"median_ms": 460.0}, "import srgan_trt": {"median_ms": 4.0}}
    return {
        "machine": {"cores": 2, "cpu": "AMD EPYC", "flags": ["avx2"], "date": "2026-11-24T12:00:00"},
        "results": [
            case("paper", lossy, wide, narrow) | {"limits": limits, "missing": {"bf16": "no bf16"}},
            case("seed", lossy, wide) | {"missing": {"ncnn": "no memory", "bf16": "no bf16"}},
        ],
        "start_up": medians,
        "drops": {"paper": {"pictures": "4 crops"}},
        "tuned": {"paper": {"srgan-trt int8": {"gain": 1.04}}, "seed": {"srgan-trt fp32": {"gain": 1.0}}},
        "files": ["one.json"],
    }


def test_every_page_says_what_the_results_say(tables: ModuleType) -> None:
    stale = [path.name for path, (before, after) in tables.pages().items() if before != after]
    assert not stale, "run python benchmarks/tables.py"


def test_every_mark_is_in_one_page_and_every_page_with_marks_is_known(tables: ModuleType) -> None:
    marks = [mark for names in tables.PAGES.values() for mark in names]
    assert sorted(marks) == sorted(tables.blocks())
    for path in (_ROOT / "README.md", *(_ROOT / "docs").glob("*.md")):
        found = re.findall(r"^<!-- (\w+) -->$", path.read_text("utf-8"), re.MULTILINE)
        assert sorted(found) == sorted(tables.PAGES.get(path.relative_to(_ROOT).as_posix(), ())), path


def test_a_page_that_says_something_else_is_found_and_written_anew(
    tables: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in tables.PAGES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((_ROOT / name).read_text("utf-8"), "utf-8")
    stale = tmp_path / "docs/int8.md"
    right = stale.read_text("utf-8")
    stale.write_text(right.replace("| 17 of 19 |", "| 18 of 19 |"), "utf-8")
    texts = tables.blocks()
    monkeypatch.setattr(tables, "blocks", lambda: texts)
    monkeypatch.setattr(tables, "_ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["tables.py", "--check"])
    with pytest.raises(SystemExit, match=r"docs/int8\.md; run python benchmarks/tables\.py"):
        tables.main()
    monkeypatch.setattr(sys, "argv", ["tables.py"])
    tables.main()
    assert stale.read_text("utf-8") == right


def test_the_readme_promises_no_more_than_the_least_that_was_measured(tables: ModuleType) -> None:
    """3 to 10 times as fast as Keras predict: of the largest pictures, on every machine."""
    (low, high) = re.findall(r"(\d+) to (\d+) times as fast as Keras", (_ROOT / "README.md").read_text("utf-8"))[0]
    found = []
    for names in tables.PUBLISHED:
        for case in tables.read(names)["results"]:
            if case["width"] == 480:
                found.append(tables.times(tables.best_of_ours(case), tables._named(case, "Keras predict")))
    assert int(low) <= min(found)
    assert max(found) <= int(high) < max(found) + 1


def test_a_later_file_of_a_machine_replaces_what_an_earlier_one_says_of_a_case(tables: ModuleType) -> None:
    for names in tables.PUBLISHED:
        for name in names[1:]:
            later = json.loads((_ROOT / "benchmarks" / "results" / name).read_text())["results"][0]
            (one,) = [
                case
                for case in tables.read(names)["results"]
                if (case["network"], case["width"]) == (later["network"], later["width"])
            ]
            assert one == later


def test_the_best_rival_gives_the_same_picture(tables: ModuleType, found: dict[str, Any]) -> None:
    """NNCF's is twice as fast, and loses 6.6 dB."""
    paper, seed = found["results"]
    assert tables.best_rival(paper)["name"] == "PyTorch, eager"
    assert tables.best_of_ours(paper)["name"] == "srgan-trt int8"
    assert tables.best_of_ours(seed)["name"] == "srgan-trt fp32"
    assert tables.times(tables.best_of_ours(paper), tables.best_rival(paper)) == pytest.approx(4)


def test_our_int8_is_not_claimed_where_it_loses(tables: ModuleType, found: dict[str, Any]) -> None:
    found["results"][0]["rivals"][-1]["drop_db"] = 0.11
    assert tables.best_of_ours(found["results"][0])["name"] == "srgan-trt fp32"


def test_claims_name_machine_times_rival_and_loss(tables: ModuleType, found: dict[str, Any]) -> None:
    text = " ".join(tables.claims(found).split())
    assert "two cores with AVX2 alone a 480x320 photo becomes 1920x1280 in 0.1 s (Keras `predict`: 1 s)" in text
    assert "in int8 and fp32, 4.00 and 2.00 times as fast as the fastest rival that gives the same picture" in text
    assert "(PyTorch, eager)" in text
    assert "the same picture to 48 dB, 0.03 dB farther from the truth at most" in text


def test_the_summary_has_five_rows_and_the_best_other_runtime(tables: ModuleType, found: dict[str, Any]) -> None:
    table, text = tables.summary(found).split("\n\n")
    head, _, *rows = table.splitlines()
    assert head == "| 480x320 to 1920x1280, ms | SRGAN paper's generator | SuperResolution-GANs' |"
    assert rows == [
        "| Keras `predict` | 1,000 | 1,000 |",
        "| best other runtime: PyTorch, eager | 400 | 400 |",
        "| **srgan-trt fp32** | **200** | **200** |",
        "| **srgan-trt int8** | **100** |  |",
        "| times as fast as Keras, as the best other | 10.0, 4.0 | 5.0, 2.0 |",
    ]
    assert "at least 48 dB from Keras's picture and 0.03 dB farther from the truth at most." in " ".join(text.split())


def test_what_is_not_lost_or_won_is_not_told_as_nought(tables: ModuleType, found: dict[str, Any]) -> None:
    found["results"][0]["rivals"][-1]["drop_db"] = -0.02
    found["tuned"] = {"paper": {"srgan-trt int8": {"gain": 1.0}}}
    assert "the same picture to 48 dB, no farther from the truth." in " ".join(tables.claims(found).split())
    text = " ".join(tables.tables(found).split())
    assert "tuned (`srgan-trt tune`), which found nothing faster than the default." in text


def test_the_table_has_every_rival_the_limit_and_what_is_missing(tables: ModuleType, found: dict[str, Any]) -> None:
    text = tables.tables(found)
    assert "| ms, median | paper 480x320 | seed 480x320 |" in text
    assert "| OpenVINO int8 by NNCF, unmodified export | 50 (21.0 dB) | 50 (21.0 dB) |" in text
    assert "| **srgan-trt int8** | **100** |  |" in text
    assert "| times Keras predict | 10.0 | 5.0 |" in text
    assert "| share of it reached | 70% |  |" in text
    assert text.startswith("### AMD EPYC with AVX2 alone\n")
    assert text.endswith("\nNot measured:\n\n- bf16 (no bf16)\n- ncnn at seed 480x320 (no memory)")
    assert "tuned (`srgan-trt tune`), which made them up to 1.04 times as fast" in " ".join(text.split())


def test_int8_is_told_network_by_network(tables: ModuleType) -> None:
    scores = {"fidelity_db": 47.06, "drop_db": 0.0214}
    rows = [
        {"model": "one", "convolutions": [21, 33], "Set5": scores, "BSD100": scores, "speed": {"times": 1.337}},
        {"model": "two", "refused": "it loses too much"},
    ]
    found = {"high": "fp32", "machine": {"flags": ["avx2"]}, "rows": rows}
    lines = tables.int8_table([found]).splitlines()
    assert lines[0].endswith("| times fp32, with AVX2 alone |")
    assert lines[2] == "| `one` | 21 of 33 | 47.1, 47.1 | 0.021, 0.021 | 1.34 |"
    assert lines[3].startswith("| `two` | none: it loses too much |")
    assert len({line.count("|") for line in lines}) == 1


def test_files_to_files_are_told_model_by_model_with_start_up_and_what_took_the_time(tables: ModuleType) -> None:
    clocks = {"reading": 0.5, "network": 9.0, "writing": 4.0, "whole": 10.0}
    model = {
        "model": "one",
        "start_s": 0.512,
        "folder_megapixels_a_second": 2.346,
        "large_s": 11.28,
        "clocks_s": clocks,
    }
    machine = {"cores": 2, "cpu": "Intel Xeon", "flags": ["avx512f", "avx512_vnni"], "date": "2026-11-26T06:00:00"}
    found = {"machine": machine, "photos": 12, "large": [1500, 1000], "models": [model]}
    text = tables.files_table(found | {"keras": {"megapixels_a_second": 0.25}})
    assert text.startswith("Two cores of an Intel Xeon with AVX512-VNNI, 2026-11-26;")
    assert "makes 0.25 megapixels a second with `srgan-x4`." in " ".join(text.split())
    assert "| start-up, s | 0.512 |" in text
    assert "| 12 photos, 480x320, output megapixels a second | 2.35 |" in text
    assert "| a picture of 1500x1000, s | 11.3 |" in text
    assert "| network, share of the photos' time | 90% |" in text


def test_memory_is_told_by_size_and_what_was_not_measured_stays_empty(tables: ModuleType) -> None:
    rows = [
        {"name": "srgan-trt fp32", "width": 64, "height": 64, "peak_gb": 0.25},
        {"name": "Keras predict", "width": 64, "height": 64, "peak_gb": 1.125},
        {"name": "srgan-trt fp32", "width": 960, "height": 640, "peak_gb": 1.5},
    ]
    lines = tables.memory_table({"rows": rows}).splitlines()
    assert lines[0] == "| peak memory of the process, GB | 64x64 | 960x640 |"
    assert lines[2] == "| **srgan-trt fp32** | 0.25 | 1.50 |"
    assert lines[3] == "| Keras predict | 1.12 |  |"


def test_models_are_told_with_what_is_known_of_them(tables: ModuleType) -> None:
    scores = SimpleNamespace(psnr=30.387, ssim=0.86841, perceptual=0.1175)
    shipped = SimpleNamespace(
        name="one", what="a network", licence="MIT", scores={"Set5": scores}, size=1_500_000, int8_size=900_000,
        place=SimpleNamespace(),
    )  # fmt: skip
    other = SimpleNamespace(
        name="two", what="another", licence="MIT", scores={}, size=9_000_000, int8_size=None,
        place=SimpleNamespace(extra="real"),
    )  # fmt: skip
    lines = tables.models_table([shipped, other], default="one").splitlines()
    assert lines[2].startswith("| bicubic | 28.43 / 0.8111 / 0.3056 |")
    assert lines[3] == "| `one` (the default) | 30.39 / 0.8684 / 0.1175 |  | 1.5 MB + 0.9 | MIT | in this package |"
    assert lines[4] == "| `two` |  |  | 9.0 MB | MIT | `[real]` |"
    assert lines[-2:] == ["- `one`: a network.", "- `two`: another."]
    assert len({line.count("|") for line in lines[:5]}) == 1


def test_no_line_is_too_long_for_a_page(tables: ModuleType, found: dict[str, Any]) -> None:
    lines = [
        line
        for line in f"{tables.tables(found)}\n{tables.claims(found)}\n{tables.summary(found)}".splitlines()
        if "|" not in line
    ]
    assert max(map(len, lines)) <= 119
