"""`upscale --json` and `--dry-run`: what programs are told is what docs/pictures.md promises."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srgan_trt.compiler.plan import Plan

from ..command_line import Command, Done, files, save_noise
from ..handmade import noise, small_plan

PAGE = Path(__file__).resolve().parents[2] / "docs/pictures.md"

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return small_plan(tmp_path_factory.mktemp("plan"))


def promised() -> dict[str, set[str]]:
    """Fields of each event by the page."""
    table = PAGE.read_text("utf-8").split("| event | when | fields |")[1].split("\n\n")[0]
    found = {}
    for name, cell in re.findall(r"^\| `(\w+)` \|[^|]*\| (.*) \|$", table, re.MULTILINE):
        found[name] = set(re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", cell)))
    return found


def events(done: Done) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in done.out.splitlines()]
    schema = promised()
    for event in found:
        assert set(event) - {"event"} <= schema[event["event"]], event
    return found


def of_kind(found: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in found if event["event"] == kind]


class TestEvents:
    def test_tell_a_run_from_start_to_summary(self, command: Command, plan: Plan) -> None:
        for name in ("a.png", "b.png"):
            save_noise(Path("in", name))
        Path("in/c.png").write_bytes(b"a text that says it is a picture, of some length")
        save_noise(Path("out/b_x4.png"))
        done = command("upscale", "in", "-o", "out", "--model", plan.path, "--json", "--skip-existing")
        assert (done.status, done.err) == (1, [])
        found = events(done)
        assert found[0]["event"] == "start"
        assert (found[0]["pictures"], found[0]["skipped"], found[0]["scale"]) == (3, 1, 4)
        skipped, made = of_kind(found, "done")
        assert (skipped["input"], skipped["skipped"]) == ("in/b.png", True)
        assert (made["input"], made["output"], made["skipped"]) == ("in/a.png", "out/a_x4.png", False)
        assert (made["size"], made["enlarged"], made["denoised"]) == ([17, 12], [68, 48], None)
        assert set(made["seconds"]) == {"reading", "network", "writing"}
        [error] = of_kind(found, "error")
        assert error["input"] == "in/c.png"
        assert "text file" in error["text"]
        assert found[-1]["event"] == "summary"
        assert (found[-1]["done"], found[-1]["skipped"], found[-1]["failed"], found[-1]["device"]) == (1, 1, 1, "cpu")

    def test_notes_name_their_picture(self, command: Command, plan: Plan) -> None:
        save_noise(Path("photo.png"))
        [note] = of_kind(
            events(command("upscale", "photo.png", "--model", plan.path, "--max-side", "9", "--json")), "note"
        )
        assert (note["input"], note["text"][:14]) == ("photo.png", "is as large as")

    def test_progress_comes_at_most_twice_a_second(self, command: Command, plan: Plan) -> None:
        save_noise(Path("photo.png"), 300, 300)
        begin = time.monotonic()
        found = events(command("upscale", "photo.png", "--model", plan.path, "--tile", "20", "--json"))
        told = of_kind(found, "progress")
        assert 1 <= len(told) <= 2 + 2 * (time.monotonic() - begin)
        assert told[0]["of"] == 1
        assert 0 < told[0]["done"] <= 1

    def test_what_cannot_begin_is_an_error(self, command: Command) -> None:
        for inputs, text in [(["none.png"], "none.png does not exist"), ([], "there is no model none.h5")]:
            save_noise(Path("photo.png"))
            done = command("upscale", *(inputs or ["photo.png"]), "--model", "none.h5", "--json")
            [error] = events(done)
            assert (done.status, error["event"], done.err) == (1, "error", [])
            assert text in error["text"]

    def test_a_picture_on_standard_output_leaves_no_place(self, command: Command) -> None:
        done = command("upscale", "photo.png", "-o", "-", "--json")
        assert done.status == 2


class TestDryRun:
    def test_says_what_a_run_would_make_and_writes_nothing(self, command: Command, plan: Plan) -> None:
        save_noise(Path("a.png"), 30, 40)
        save_noise(Path("b.png"), 60, 50)
        options = ("--model", plan.path, "--tile", "20", "--scale", "2", "--manifest", "run.jsonl", "--dry-run")
        done = command("upscale", "a.png", "b.png", *options)
        assert (done.status, done.err) == (0, [])
        first, second, total = done.out.splitlines()
        assert re.fullmatch(
            r"a\.png \(40 x 30\) -> a_x2\.png \(80 x 60\): 6 tiles, [\d.]+ of the picture's work, [\d.]+ s, "
            r"[\d.]+ MB of memory, [\d.]+ MB on the disk",
            first,
        )
        assert second.startswith("b.png (50 x 60) -> b_x2.png (100 x 120): ")
        assert total.startswith("2 pictures, one after the other: ")
        assert total.endswith("nothing was done")
        assert files(Path()) == ["a.png", "b.png"]

    def test_tiles_are_those_of_the_run(self, command: Command, plan: Plan) -> None:
        from srgan_trt.upscaler import Upscaler

        with Upscaler(plan, tile=20) as up:
            up(noise(45, 70))
            assert (
                sum(len(each.tiles.tiles) for each in up.schedules(45, 70, channels=3, dtype=np.uint8))
                == up.info["tiles"]
            )

    def test_finds_what_would_fail(self, command: Command, plan: Plan) -> None:
        save_noise(Path("a.png"))
        Path("b.png").write_bytes(b"a text that says it is a picture, of some length")
        done = command("upscale", "a.png", "b.png", "--model", plan.path, "--dry-run", "--json")
        found = events(done)
        assert (done.status, [event["event"] for event in found]) == (1, ["start", "estimate", "error", "summary"])
        assert (found[-1]["pictures"], found[-1]["failed"], found[-1]["dry_run"]) == (1, 1, True)

    def test_is_near_the_truth(self, command: Command, shared_images: Path) -> None:
        """Within a factor here, where others compute as well; within 30 % on a machine at rest."""
        photos = sorted((shared_images / "test/BSD100/HR").glob("*.png"))[:3]
        model = ("--model", "srgan-photo-x4")
        [*_, total] = events(command("upscale", *photos, "-o", "out/", *model, "--dry-run", "--json"))
        [*_, truth] = events(command("upscale", *photos, "-o", "out/", *model, "--jobs", "1", "--json"))
        written = sum(path.stat().st_size for path in Path("out").iterdir())
        assert 1 / 3 < total["seconds"] / truth["seconds"] < 3
        assert 0.5 < total["disk_bytes"] / written < 2
