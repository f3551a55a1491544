"""`srgan-trt upscale`: every kind of input and output, and everything that can be wrong with them."""

from __future__ import annotations

import http.server
import io
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from srgan_trt.compiler.plan import Plan, save_plan
from srgan_trt.imaging import download

from ..command_line import Command, files, load, save_noise
from ..handmade import differences, expected, nearest_model, noise, small_model, small_plan, small_spec

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return small_plan(tmp_path_factory.mktemp("plan"))


class TestPictures:
    def test_a_photo_lies_beside_itself_four_times_as_large(self, command: Command, plan: Plan) -> None:
        image = save_noise(Path("photo.png"), 21, 34)
        done = command("upscale", "photo.png", "--model", plan.path, "--exact")
        assert (done.status, done.err) == (0, [])
        assert done.out.startswith("photo.png (34 x 21) -> photo_x4.png (136 x 84) in ")
        assert done.out.endswith(" s (model " + done.out.split("(model ")[1])
        assert done.out.rstrip().endswith(", cpu, fp32")
        assert done.out.count("\n") == 1
        apart = differences(load(Path("photo_x4.png")), expected(plan, image))
        assert apart.max() <= 1
        assert (apart == 0).mean() > 0.999

    def test_a_real_photo(self, command: Command, plan: Plan, shared_images: Path) -> None:
        photo = next(shared_images.glob("test/BSD100/LRx4/*.png"))
        done = command("upscale", photo, "-o", "large.webp", "--model", plan.path)
        assert done.status == 0
        with Image.open(photo) as before, Image.open("large.webp") as after:
            assert after.size == (4 * before.width, 4 * before.height)

    def test_tiles_and_precision_are_taken(self, command: Command, plan: Plan) -> None:
        image = save_noise(Path("photo.png"), 40, 30)
        done = command("upscale", "photo.png", "--model", plan.path, "--tile=14", "--halo=4", "--precision=fp32")
        assert done.status == 0
        np.testing.assert_array_equal(load(Path("photo_x4.png")), expected(plan, image))

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            (["--precision", "int8"], "cpu, int8 and "),
            (["--precision", "fp32"], "cpu, fp32"),
            (["--exact"], "cpu, fp32"),
        ],
    )
    def test_a_model_with_two_plans_runs_in_either(self, command: Command, options: list[str], told: str) -> None:
        save_noise(Path("photo.png"), 12, 9)
        done = command("upscale", "photo.png", "--model", "srresnet-photo-x4", *options)
        assert done.status == 0
        assert told in done.out

    def test_16_bits_stay_and_run_in_fp32(self, command: Command, plan: Plan) -> None:
        Image.fromarray(noise(9, 8, 1, dtype=np.uint16)[:, :, 0]).save("deep.png")
        done = command("upscale", "deep.png", "--model", plan.path)
        assert done.out.rstrip().endswith("cpu, fp32")
        assert load(Path("deep_x4.png")).dtype == np.uint16
        done = command("upscale", "deep.png", "--model", plan.path, "-o", "deep.jpg")
        assert done.err == ["deep.png: 16 bits were reduced to 8 (jpg holds no more; png and tiff do)"]

    def test_what_was_changed_is_said_once_a_picture(self, command: Command, plan: Plan) -> None:
        Image.fromarray(noise(9, 8, 4), "CMYK").save("ink.jpg")
        frames = [Image.fromarray(noise(9, 8, seed=i)) for i in range(3)]
        frames[0].save("moving.gif", save_all=True, append_images=frames[1:])
        done = command("upscale", "ink.jpg", "moving.gif", "--model", plan.path, "--first-frame")
        assert done.status == 0
        assert done.err == [
            "ink.jpg: CMYK was converted to RGB without a colour profile",
            "moving.gif: the first of 3 frames was taken",
        ]
        assert command("upscale", "ink.jpg", "--model", plan.path, "--overwrite", "--quiet")[:3] == (0, "", [])

    def test_a_folder_keeps_its_tree(self, command: Command, plan: Plan) -> None:
        for name in ("a.png", "sub/b.png", "sub/deep/c.png"):
            save_noise(Path("photos", name))
        done = command("upscale", "photos", "-o", "out", "--model", plan.path, "--format", "tiff", "--jobs", "2")
        assert done.status == 0
        assert files(Path("out")) == ["a_x4.tiff", "sub/b_x4.tiff", "sub/deep/c_x4.tiff"]
        assert done.out.startswith("3 pictures, 0.00 -> 0.01 megapixels in ")

    def test_a_pattern(self, command: Command, plan: Plan) -> None:
        for name in ("a.png", "b.png", "c.png"):
            save_noise(Path(name))
        assert command("upscale", "[ab].png", "--model", plan.path).status == 0
        assert files(Path()) == ["a.png", "a_x4.png", "b.png", "b_x4.png", "c.png"]

    def test_standard_input_and_output(self, command: Command, plan: Plan) -> None:
        image = save_noise(Path("photo.png"), 10, 11)
        data = Path("photo.png").read_bytes()
        done = command("upscale", "-", "-o", "-", "--model", plan.path, "--precision", "fp32", stdin=data)
        assert done.status == 0
        assert done.err[0].startswith("standard input (11 x 10) -> standard output (44 x 40)")
        with Image.open(io.BytesIO(done.raw)) as result:
            np.testing.assert_array_equal(np.asarray(result), expected(plan, image))
        assert command("upscale", "-", "--model", plan.path, stdin=data).status == 0
        assert files(Path()) == ["photo.png", "stdin_x4.png"]
        assert command("upscale", "-", "-o", "-", "--format", "tiff", "--model", plan.path, stdin=data).raw[:2] == b"II"

    def test_as_many_jobs_as_asked_for_give_the_same(self, command: Command, plan: Plan) -> None:
        for i in range(5):
            save_noise(Path(f"photos/{i}.png"), 20 + i, 30 - i, seed=i)
        for jobs in ("1", "2", "5"):
            assert command("upscale", "photos", "-o", jobs, "--model", plan.path, "--jobs", jobs).status == 0
        assert len(files(Path("1"))) == 5
        for name in files(Path("1")):
            for other in ("2", "5"):
                assert Path("1", name).read_bytes() == Path(other, name).read_bytes()


class TestSizes:
    @pytest.mark.parametrize(
        ("options", "name", "size"),
        [
            (["--scale", "2"], "photo_x2.png", (68, 42)),
            (["--scale", "2.5"], "photo_x2.5.png", (85, 53)),
            (["--scale", "9"], "photo_x9.png", (306, 189)),
            (["--width", "100"], "photo_w100.png", (100, 62)),
            (["--height", "100"], "photo_h100.png", (162, 100)),
            (["--max-side", "100"], "photo_max100.png", (100, 62)),
            (["--fit", "100x50"], "photo_fit100x50.png", (81, 50)),
        ],
    )
    def test_the_name_says_the_size(
        self, command: Command, plan: Plan, options: list[str], name: str, size: tuple[int, int]
    ) -> None:
        save_noise(Path("photo.png"), 21, 34)
        done = command("upscale", "photo.png", "--model", plan.path, *options)
        assert (done.status, done.err) == (0, [])
        assert done.out.startswith(f"photo.png (34 x 21) -> {name} ({size[0]} x {size[1]}) in ")
        with Image.open(name) as result:
            assert result.size == size

    def test_a_portrait_has_its_longer_side(self, command: Command, plan: Plan) -> None:
        save_noise(Path("photo.png"), 40, 20)
        assert command("upscale", "photo.png", "--model", plan.path, "--max-side", "120").status == 0
        assert load(Path("photo_max120.png")).shape == (120, 60, 3)

    def test_a_picture_that_is_large_enough_is_said(self, command: Command, plan: Plan) -> None:
        save_noise(Path("a.png"), 40, 20)
        save_noise(Path("b.png"), 10, 10)
        done = command("upscale", "a.png", "b.png", "--model", plan.path, "--max-side", "30")
        assert done.status == 0
        assert done.err == ["a.png: is as large as asked for, or larger: the network was left out"]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--scale", "2", "--width", "100"], "not allowed with argument --scale"),
            (["--width", "100", "--height", "100"], "not allowed with argument --width"),
            (["--scale", "17"], "'17' is not a number from 1 to 16"),
            (["--fit", "100"], "give WIDTHxHEIGHT"),
            (["--width", "0"], "'0' is less than 1"),
        ],
    )
    def test_sizes_that_are_none_are_wrong_usage(self, command: Command, options: list[str], message: str) -> None:
        save_noise(Path("photo.png"))
        done = command("upscale", "photo.png", *options)
        assert done.status == 2
        assert message in done.err[-1]

    def test_a_size_beyond_the_limit_does_not_keep_the_others(self, command: Command, plan: Plan) -> None:
        save_noise(Path("a.png"), 4, 4)
        save_noise(Path("b.png"), 4, 40)
        done = command("upscale", "a.png", "b.png", "--model", plan.path, "--width", "60", "--max-pixels", "1000")
        assert (done.status, len(done.err)) == (1, 1)
        assert "a.png: 60 x 60 = 0.0 million pixels were asked for, more than the limit" in done.err[0]
        assert files(Path()) == ["a.png", "b.png", "b_w60.png"]


class TestQuality:
    def test_it_trades_size(self, command: Command, plan: Plan) -> None:
        save_noise(Path("photo.png"), 30, 30)
        for quality in ("10", "100"):
            options = ["-o", f"{quality}.jpg", "--quality", quality]
            assert command("upscale", "photo.png", "--model", plan.path, *options).status == 0
        assert Path("10.jpg").stat().st_size < Path("100.jpg").stat().st_size / 3

    def test_lossless_is_what_was_computed(self, command: Command, plan: Plan) -> None:
        save_noise(Path("photo.png"), 30, 30)
        for name in ("one.png", "two.webp"):
            assert command("upscale", "photo.png", "-o", name, "--lossless", "--model", plan.path).status == 0
        np.testing.assert_array_equal(load(Path("one.png")), load(Path("two.webp")))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--quality", "80"], "a png file loses nothing: leave the quality out"),
            (["--quality", "101", "--format", "jpg"], "quality is from 1 to 100, not 101"),
            (["--lossless", "--format", "jpg"], "a jpg file loses something"),
        ],
    )
    def test_what_a_format_has_not_is_said_before_the_model(
        self, command: Command, options: list[str], message: str
    ) -> None:
        save_noise(Path("photo.png"))
        done = command("upscale", "photo.png", "--model", "none.h5", *options)
        assert (done.status, len(done.err)) == (1, 1)
        assert message in done.err[0]

    def test_what_no_file_of_a_format_holds_is_said_by_a_dry_run_too(self, command: Command, plan: Plan) -> None:
        save_noise(Path("wide.png"), 1, 4096)
        for more in ((), ("--dry-run",)):
            done = command("upscale", "wide.png", "--model", plan.path, "--format", "webp", "--json", *more)
            events = [json.loads(line) for line in done.out.splitlines()]
            assert done.status == 1
            [error] = [event["text"] for event in events if event["event"] == "error"]
            assert "a webp file holds at most 16,383 pixels a side, not 16,384 x 4: write png or tiff" in error


class TestGoingOn:
    def test_existing_results_are_skipped(self, command: Command, plan: Plan) -> None:
        for name in "abc":
            save_noise(Path(f"in/{name}.png"))
        Path("out").mkdir()
        Path("out/b_x4.png").write_bytes(b"precious")
        done = command("upscale", "in", "-o", "out", "--model", plan.path, "--skip-existing")
        assert (done.status, done.err) == (0, [])
        assert done.out.startswith("2 pictures, ")
        assert done.out.rstrip().endswith(", 1 was there already")
        assert Path("out/b_x4.png").read_bytes() == b"precious"
        done = command("upscale", "in", "-o", "out", "--model", plan.path, "--skip-existing")
        assert done[:3] == (0, "nothing to do: 3 pictures are there already\n", [])

    def test_an_interrupted_run_goes_on(self, command: Command, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
        from srgan_trt.upscaler import Upscaler

        for number in range(5):
            save_noise(Path(f"in/{number}.png"), 10 + number)
        run = ("upscale", "in", "-o", "out", "--model", plan.path, "--manifest", "run.jsonl")
        seen: list[int] = []
        real = Upscaler.upscale_picture

        def upscale_picture(self, picture, **options):  # type: ignore[no-untyped-def]
            if len(seen) == 3:
                seen.append(0)
                raise KeyboardInterrupt
            seen.append(picture.height)
            return real(self, picture, **options)

        monkeypatch.setattr(Upscaler, "upscale_picture", upscale_picture)
        assert command(*run).status == 130
        made = files(Path("out"))
        assert 0 < len(made) < 5
        done = command(*run)
        assert (done.status, done.err) == (0, [])
        assert "there already" in done.out
        assert files(Path("out")) == [f"{number}_x4.png" for number in range(5)]
        assert {10, 11, 12, 13, 14} <= set(seen)
        # Ctrl-C may give up the writing of one that was computed: that one alone is computed again.
        assert all(seen.count(10 + int(name[0])) == 1 for name in made)
        rows = [json.loads(line) for line in Path("run.jsonl").read_text().splitlines()]
        assert sorted(Path(row["input"]).name for row in rows) == [f"{number}.png" for number in range(5)]
        assert all(row["error"] is None and row["seconds"] > 0 for row in rows)
        done = command(*run)
        assert done[:3] == (0, "nothing to do: 5 pictures are there already\n", [])

    def test_only_the_same_is_done(self, command: Command, plan: Plan) -> None:
        save_noise(Path("photo.png"))
        run = ("upscale", "photo.png", "--model", plan.path, "--manifest", "run.jsonl")
        assert command(*run).status == 0
        assert "exists: give --overwrite" in command(*run, "--precision", "fp32").err[0]
        save_noise(Path("photo.png"), 13, seed=1)
        assert "exists: give --overwrite" in command(*run).err[0]
        assert command(*run, "--overwrite").status == 0
        assert command(*run, "--overwrite").out.startswith("nothing to do")
        Path("photo_x4.png").unlink()
        assert command(*run).status == 0
        assert load(Path("photo_x4.png")).shape == (52, 68, 3)

    def test_failures_are_rows_and_tried_again(self, command: Command, plan: Plan) -> None:
        Path("photo.png").write_bytes(b"no picture at all, but a text of some length")
        run = ("upscale", "photo.png", "--model", plan.path, "--manifest", "run.jsonl")
        assert command(*run).status == 1
        assert "text file" in json.loads(Path("run.jsonl").read_text())["error"]
        save_noise(Path("photo.png"))
        assert command(*run).status == 0

    def test_a_line_that_was_cut_off_is_taken_away(self, command: Command, plan: Plan) -> None:
        save_noise(Path("a.png"))
        save_noise(Path("b.png"))
        run = ("upscale", "a.png", "b.png", "--model", plan.path, "--manifest", "run.jsonl")
        assert command(*run).status == 0
        rows = Path("run.jsonl").read_bytes().splitlines(keepends=True)
        [first] = [row for row in rows if b"a.png" in row]  # they come in any order
        Path("run.jsonl").write_bytes(first + first[:20])
        Path("b_x4.png").unlink()
        assert command(*run).status == 0
        assert len([json.loads(line) for line in Path("run.jsonl").read_text().splitlines()]) == 2

    @pytest.mark.parametrize("content", [b"precious", b"precious\n", b'{"input": 3}\n'])
    def test_another_file_is_not_touched(self, command: Command, plan: Plan, content: bytes) -> None:
        save_noise(Path("photo.png"))
        Path("notes.txt").write_bytes(content)
        done = command("upscale", "photo.png", "--model", plan.path, "--manifest", "notes.txt")
        assert (done.status, len(done.err)) == (1, 1)
        assert "notes.txt is not a manifest of ours (line 1: " in done.err[0]
        assert Path("notes.txt").read_bytes() == content
        assert files(Path()) == ["notes.txt", "photo.png"]

    def test_skipping_and_overwriting_contradict(self, command: Command) -> None:
        assert command("upscale", "photo.png", "--skip-existing", "--overwrite").status == 2


class TestComparisons:
    def test_lie_beside_the_result_and_are_no_inputs(self, command: Command, plan: Plan) -> None:
        save_noise(Path("in/photo.png"), 30, 40)
        assert command("upscale", "in", "--model", plan.path, "--compare").status == 0
        names = ["in/photo.png", "in/photo_x4.compare.html", "in/photo_x4.compare.png", "in/photo_x4.png"]
        assert files(Path()) == names
        assert "data:image/jpeg;base64," in Path(names[1]).read_text()
        assert load(Path(names[2])).ndim == 3
        assert command("upscale", "in", "--model", plan.path, "--overwrite").out.startswith("in/photo.png (40 x 30)")

    def test_keep_the_tree_in_a_folder_of_their_own(self, command: Command, plan: Plan) -> None:
        save_noise(Path("in/deep/photo.png"))
        done = command("upscale", "in", "-o", "out", "--model", plan.path, "--scale", "2", "--compare", "look")
        assert done.status == 0
        assert files(Path("look")) == ["deep/photo_x2.compare.html", "deep/photo_x2.compare.png"]

    def test_that_exist_or_have_no_place_are_found_before_the_work(self, command: Command, plan: Plan) -> None:
        save_noise(Path("photo.png"))
        Path("photo_x4.compare.html").write_text("precious")
        done = command("upscale", "photo.png", "--model", plan.path, "--compare")
        assert (done.status, len(done.err)) == (1, 1)
        assert "photo_x4.compare.html exists" in done.err[0]
        assert files(Path()) == ["photo.png", "photo_x4.compare.html"]
        for options, message in [
            (["photo.png", "photo.png", "--compare", "photo.png"], "write --compare=DIR, or --compare last"),
            (["photo.png", "-o", "-", "--compare"], "name one with --compare=DIR"),
        ]:
            done = command("upscale", *options, "--model", plan.path)
            assert (done.status, len(done.err)) == (1, 1)
            assert message in done.err[0]


class TestModels:
    def test_a_model_file_is_built_once_and_that_is_said(
        self, command: Command, here: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SRGAN_TRT_CACHE", str(here / "cache"))
        onnx.save(nearest_model(), "nearest.onnx")
        save_noise(Path("photo.png"))
        first = command("upscale", "photo.png", "--model", "nearest.onnx")
        assert first.status == 0
        assert first.err == ["building a plan of nearest.onnx: this takes a while"]
        again = command("upscale", "photo.png", "--model", "nearest.onnx", "--overwrite")
        assert (again.status, again.err) == (0, [])
        assert len(files(here / "cache" / "plans")) <= 2

    def test_settings_of_the_build_make_a_plan_of_their_own(self, command: Command) -> None:
        onnx.save(nearest_model(), "nearest.onnx")
        image = save_noise(Path("photo.png"))
        ranges = ["--input-range", "-1,1", "--output-range", "-1,1"]
        done = command("upscale", "photo.png", "--model", "nearest.onnx", "--precision", "fp32", *ranges)
        assert done.status == 0
        np.testing.assert_array_equal(load(Path("photo_x2.png")), image.repeat(2, axis=0).repeat(2, axis=1))

    def test_settings_of_the_build_do_not_fit_a_plan(self, command: Command, plan: Plan) -> None:
        save_noise(Path("photo.png"))
        done = command("upscale", "photo.png", "--model", plan.path, "--trust-model", "--arch", "paper")
        assert done.status == 1
        assert "is a plan, built already: leave arch out" in done.err[0]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--model", "none.h5"], "there is no model none.h5"),
            (["--device", "cuda"], "no NVIDIA driver|there is no GPU 0"),
            (["--device", "abacus"], "there is no device 'abacus'"),
            (["--precision", "int4"], "fp32 or bf16"),
            (["--precision", "int8"], "int8 what a plan has in int8, which this one has not: build one"),
            (["--exact", "--halo", "2"], "leave halo and precision out"),
            (["--tile", "4"], "keeps nothing between two halos"),
        ],
    )
    def test_what_cannot_run_is_said_and_nothing_written(
        self, command: Command, plan: Plan, options: list[str], message: str
    ) -> None:
        save_noise(Path("photo.png"))
        done = command("upscale", "photo.png", "--model", plan.path, *options)
        assert (done.status, done.out, len(done.err)) == (1, "", 1)
        assert done.err[0].startswith("srgan-trt: ")
        assert any(each in done.err[0] for each in message.split("|"))
        assert files(Path()) == ["photo.png"]


def bomb() -> bytes:
    """A whole PNG of 20,000 x 20,000 white pixels, in some 50 KB."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    pack = zlib.compressobj(9)
    rows = b"".join(pack.compress((b"\0" + b"\xff" * 2500) * 1000) for _ in range(20)) + pack.flush()
    header = struct.pack(">IIBB3x", 20_000, 20_000, 1, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


class TestBadInput:
    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("photo.png", b"not a picture at all, but thirty-two letters", "it is a text file"),
            ("photo.png", b"<!DOCTYPE html><html></html>", "it is a web page or XML"),
            ("photo.jpg", b"", "is empty (0 bytes)"),
            ("photo.jpg", b"\xff\xd8\xff\xe0 and nothing more", "is damaged or cut off"),
            ("photo.png", b"\x89PNG\r\n\x1a\n", "is damaged or cut off"),
            ("none.png", None, "none.png does not exist"),
            ("n*.png", None, "matches no file"),
            ("two\nlines.png", None, "lines.png does not exist"),
            ("empty/", None, "does not exist"),
            ("s3://gs://photo.png", None, "mixes schemes"),
        ],
    )
    def test_one_line_says_what(
        self, command: Command, plan: Plan, name: str, content: bytes | None, message: str
    ) -> None:
        if content is not None:
            Path(name).write_bytes(content)
        before = files(Path())
        done = command("upscale", name, "--model", plan.path)
        assert (done.status, done.out, len(done.err)) == (1, "", 1)
        assert done.err[0].startswith("srgan-trt: ")
        assert name.replace("\n", " ") in done.err[0]
        assert message in done.err[0]
        assert files(Path()) == before

    def test_a_name_of_two_lines_is_said_in_one(self, command: Command, plan: Plan) -> None:
        Image.new("RGB", (8, 8)).save("two\nlines.png")
        done = command("upscale", "two\nlines.png", "--model", plan.path)
        assert (done.status, done.out.count("\n")) == (0, 1)
        assert "two lines.png (8 x 8)" in done.out

    def test_a_bomb_takes_no_memory(self, command: Command, plan: Plan) -> None:
        Path("bomb.png").write_bytes(bomb())
        done = command("upscale", "bomb.png", "--model", plan.path)
        assert done.status == 1
        assert "20,000 x 20,000 = 400.0 million pixels" in done.err[0]
        assert "--max-pixels" in done.err[0]

    def test_the_pixel_limit_can_be_moved(self, command: Command, plan: Plan) -> None:
        save_noise(Path("photo.png"), 20, 30)
        done = command("upscale", "photo.png", "--model", plan.path, "--max-pixels", "599")
        assert done.status == 1
        assert "more than the limit" in done.err[0]
        assert command("upscale", "photo.png", "--model", plan.path, "--max-pixels", "600").status == 0

    @pytest.mark.parametrize("jobs", ["1", "3"])
    def test_the_others_are_done(self, command: Command, plan: Plan, shared_images: Path, jobs: str) -> None:
        photo = next(shared_images.glob("train/**/*.jpg")).read_bytes()
        Path("in").mkdir()
        Path("in/a_cut.jpg").write_bytes(photo[: len(photo) // 2])
        Path("in/b_whole.jpg").write_bytes(photo)
        Path("in/c_text.png").write_text("text in a file that says it is a picture")
        Path("in/d_empty.webp").touch()
        save_noise(Path("in/e_exists.png"))
        save_noise(Path("out/e_exists_x4.png"), seed=1)
        save_noise(Path("in/f_small.png"))
        kept = Path("out/e_exists_x4.png").read_bytes()
        done = command("upscale", "in", "none.png", "-o", "out", "--model", plan.path, "--jobs", jobs)
        assert done.status == 1
        assert len(done.err) == 5
        assert all(line.startswith("srgan-trt: ") for line in done.err)
        for name in ("a_cut.jpg", "c_text.png", "d_empty.webp", "e_exists_x4.png exists", "none.png"):
            assert sum(name in line for line in done.err) == 1
        assert done.out.startswith("2 of 7 pictures, ")
        assert files(Path("out")) == ["b_whole_x4.png", "e_exists_x4.png", "f_small_x4.png"]
        assert Path("out/e_exists_x4.png").read_bytes() == kept
        assert load(Path("out/f_small_x4.png")).shape == (48, 68, 3)

    def test_a_name_that_exists(self, command: Command, plan: Plan) -> None:
        save_noise(Path("photo.png"))
        Path("large.png").write_bytes(b"precious")
        done = command("upscale", "photo.png", "-o", "large.png", "--model", plan.path)
        assert done.status == 1
        assert "large.png exists: give --overwrite" in done.err[0]
        assert Path("large.png").read_bytes() == b"precious"
        assert command("upscale", "photo.png", "-o", "large.png", "--model", plan.path, "--overwrite").status == 0
        assert load(Path("large.png")).shape == (48, 68, 3)

    def test_outputs_that_cannot_serve_are_found_before_the_model(self, command: Command) -> None:
        save_noise(Path("a.png"))
        save_noise(Path("b.png"))
        for inputs, output, message in [
            (["a.png"], "large.gif", "does not end in a format that can be written"),
            (["a.png", "b.png"], "large.png", "names one picture, and there are 2 inputs"),
            (["a.png", "b.png"], "-", "takes one picture, not 2"),
        ]:
            done = command("upscale", *inputs, "-o", output, "--model", "none.h5")
            assert (done.status, len(done.err)) == (1, 1)
            assert message in done.err[0]

    def test_a_full_disk(self, command: Command, plan: Plan) -> None:
        if not Path("/dev/full").exists():
            pytest.skip("no /dev/full here")
        save_noise(Path("photo.png"))
        done = command("upscale", "photo.png", "-o", "/dev/full", "--format", "png", "--model", plan.path)
        assert (done.status, len(done.err)) == (1, 1)
        assert "the disk of /dev is full" in done.err[0]

    def test_a_file_larger_than_allowed_leaves_nothing(self, plan: Plan) -> None:
        save_noise(Path("photo.png"), 60, 60)
        program = (
            "import resource, sys; from srgan_trt.cli.main import main;"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (9999, 9999)); sys.exit(main(sys.argv[1:]))"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, "upscale", "photo.png", "--model", plan.path],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "srgan-trt: photo.png: cannot write photo_x4.png: . takes no file so large" in done.stderr
        assert "Traceback" not in done.stderr
        assert files(Path()) == ["photo.png"]

    @pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
    def test_an_unreadable_folder(self, command: Command, plan: Plan) -> None:
        save_noise(Path("in/a.png"))
        Path("in/locked").mkdir(mode=0)
        done = command("upscale", "in", "-o", "out", "--model", plan.path)
        Path("in/locked").chmod(0o755)
        assert done.status == 1
        assert "the folder in/locked cannot be read" in done.err[0]
        assert files(Path("out")) == ["a_x4.png"]

    def test_closed_standard_input(self, plan: Plan) -> None:
        program = "import os, sys; sys.stdin = None; from srgan_trt.cli.main import main; sys.exit(main(sys.argv[1:]))"
        done = subprocess.run(
            [sys.executable, "-c", program, "upscale", "-", "--model", plan.path],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert done.stderr == "srgan-trt: standard input is closed: give a file, or pipe a picture into it\n"

    def test_memory_that_runs_out_is_said(self, command: Command, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
        from srgan_trt.upscaler import Upscaler

        save_noise(Path("a.png"))
        save_noise(Path("b.png"))
        real = Upscaler.upscale_picture

        def upscale_picture(self, picture, **options):  # type: ignore[no-untyped-def]
            if monkeypatch is not None and not Path("a_failed").exists():
                Path("a_failed").touch()
                raise MemoryError
            return real(self, picture, **options)

        monkeypatch.setattr(Upscaler, "upscale_picture", upscale_picture)
        done = command("upscale", "a.png", "b.png", "--model", plan.path)
        assert done.status == 1
        assert done.err == [
            "srgan-trt: a.png needs more memory than there is: try --jobs 1 and a smaller --tile, or give parts of it"
        ]
        assert "b_x4.png" in files(Path())


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/silent":
            time.sleep(2)
            return
        if self.path == "/loop":
            self.send_response(302)
            self.send_header("Location", "/loop")
            self.end_headers()
            return
        if self.path == "/none.png":
            self.send_error(404)
            return
        buffer = io.BytesIO()
        Image.fromarray(noise(12, 17)).save(buffer, "PNG")
        kind, body = ("text/html", b"<html></html>") if self.path == "/page" else ("image/png", buffer.getvalue())
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(10**10 if self.path == "/huge.png" else len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class TestAddresses:
    def test_a_picture_from_the_web(self, command: Command, plan: Plan, server: str) -> None:
        done = command("upscale", f"{server}/photo.png?size=small", "--model", plan.path, "--precision", "fp32")
        assert done.status == 0
        assert done.out.startswith(f"{server}/photo.png (17 x 12) -> photo_x4.png")
        np.testing.assert_array_equal(load(Path("photo_x4.png")), expected(plan, noise(12, 17)))

    @pytest.mark.parametrize(
        ("path", "message"),
        [
            ("/none.png", "answered 404 Not Found: check the address"),
            ("/silent", "did not answer for 0.3 seconds: try again later"),
            ("/loop", "redirects endlessly"),
            ("/page", "web page"),
            ("/huge.png", "is 10,000 MB, more than"),
        ],
    )
    def test_what_is_wrong_is_said(
        self, command: Command, plan: Plan, server: str, path: str, message: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(download.download.__kwdefaults__, "idle_timeout", 0.3)
        save_noise(Path("photo.png"))
        done = command("upscale", f"{server}{path}", "photo.png", "--model", plan.path)
        assert (done.status, len(done.err)) == (1, 1)
        assert done.err[0].startswith(f"srgan-trt: {server}{path} ")
        assert message in done.err[0]
        assert done.out.startswith("1 of 2 pictures")
        assert files(Path()) == ["photo.png", "photo_x4.png"]

    def test_nobody_at_home(self, command: Command, plan: Plan) -> None:
        done = command("upscale", "http://127.0.0.1:9/photo.png", "--model", plan.path)
        assert (done.status, len(done.err)) == (1, 1)
        assert "cannot be fetched (Connection refused)" in done.err[0]


class TestTerminal:
    """With a terminal as standard error, and work that takes its time."""

    def start(self, plan: Plan, *options: str) -> tuple[subprocess.Popen[str], int]:
        import pty

        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "srgan_trt", "upscale", "in", "-o", "out", "--model", plan.path, *options],
            stdout=subprocess.PIPE,
            stderr=theirs,
            text=True,
        )
        os.close(theirs)
        return process, ours

    def read(self, terminal: int, until: str | None = None) -> str:
        """What the terminal shows, to the end or until `until`."""
        shown = b""
        while until is None or until.encode() not in shown:
            try:
                block = os.read(terminal, 4096)
            except OSError:
                break  # Linux says EIO when the other side has closed
            if not block:
                break
            shown += block
        return shown.decode()

    @pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_a_bar_is_shown_and_stopping_leaves_nothing_unfinished(
        self, plan: Plan, number: signal.Signals, status: int
    ) -> None:
        save_noise(Path("in/a.png"))
        save_noise(Path("in/b.png"), 1500, 1500)
        process, terminal = self.start(plan, "--tile=10", "--exact")
        assert "in/b.png:" in self.read(terminal, until="in/b.png:")
        process.send_signal(number)
        rest = self.read(terminal)
        os.close(terminal)
        assert process.wait(timeout=20) == status
        assert ("srgan-trt: interrupted" in rest) == (number == signal.SIGINT)
        assert "Traceback" not in rest
        assert files(Path("out")) == ["a_x4.png"]
        assert process.stdout is not None
        process.stdout.close()

    def test_short_work_and_quiet_work_show_no_bar(self, plan: Plan) -> None:
        save_noise(Path("in/a.png"))
        process, terminal = self.start(plan, "--quiet")
        shown = self.read(terminal)
        os.close(terminal)
        out, _ = process.communicate(timeout=20)
        assert (process.returncode, shown, out) == (0, "", "")

    def test_a_picture_does_not_go_to_a_terminal(self, plan: Plan) -> None:
        import pty

        save_noise(Path("photo.png"))
        ours, theirs = pty.openpty()
        done = subprocess.run(
            [sys.executable, "-m", "srgan_trt", "upscale", "photo.png", "-o", "-", "--model", plan.path],
            stdout=theirs,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        os.close(theirs)
        os.close(ours)
        assert done.returncode == 2
        assert "standard output is a terminal" in done.stderr


def test_a_photo_from_a_plan_needs_nothing_that_compiles_plans(plan: Plan, here: Path) -> None:
    """They take longer to import than a small photo takes in all (benchmarks/start_up.py measures that)."""
    save_noise(Path("photo.png"))
    program = (
        "import sys; from srgan_trt.cli.main import main; status = main(sys.argv[1:]);"
        "print(*sys.modules, file=sys.stderr); sys.exit(status)"
    )
    command = [sys.executable, "-c", program, "upscale", "photo.png", "-o", "large.png", "--model", plan.path]
    done = subprocess.run([*command, "--device", "cpu"], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert "openvino" in loaded
    assert not loaded & {"onnx_ir", "onnxscript", "onnxruntime", "tensorflow", "keras", "tensorrt", "tensorrt_rtx"}


def test_a_network_that_gives_no_numbers_is_told(command: Command, here: Path) -> None:
    plan = save_plan(small_model(last="Log"), small_spec(), here / "log.onnx")
    save_noise(Path("photo.png"))
    done = command("upscale", "photo.png", "--model", plan.path)
    assert done.status == 0
    assert done.err[0].startswith("srgan-trt: warning: small: ")
    assert "were not finite" in done.err[1]
