"""`srgan-trt upscale` with films: named, in folders with pictures, wrong, and without PyAV."""

from __future__ import annotations

import builtins
import json
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from srgan_trt.cli.main import parse
from srgan_trt.compiler.plan import Plan

from ..command_line import Command, files, save_noise
from ..handmade import noise
from ..shipped import ship
from ..video.films import av, film, moving, times

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return ship(tmp_path_factory.mktemp("plan"))


def test_a_film_lies_beside_itself_four_times_as_large(command: Command, plan: Plan) -> None:
    film(Path("movie.mp4"))
    done = command("upscale", "movie.mp4", "--model", plan.path, "--preset", "ultrafast")
    assert (done.status, done.err) == (0, [])
    assert done.out.startswith("movie.mp4 (64 x 48) -> movie_x4.mp4 (256 x 192), 8 frames in ")
    assert " a second, network " in done.out
    assert done.out.rstrip().endswith(("% of the time), cpu, fp32", "% of the time), cpu, bf16"))
    assert times(Path("movie_x4.mp4")) == times(Path("movie.mp4"))
    assert files(Path()) == ["movie.mp4", "movie_x4.mp4"]


def test_a_folder_of_films_and_pictures(command: Command, plan: Plan) -> None:
    save_noise(Path("in/photo.png"))
    film(Path("in/one.mkv"))
    Path("in/old").mkdir()
    film(Path("in/old/two.avi"), codec="mpeg4", base=Fraction(1, 25), pts=list(range(8)))
    done = command("upscale", "in", "-o", "out", "--model", plan.path, "--preset", "ultrafast")
    assert done.status == 0
    assert files(Path("out")) == ["old/two_x4.mkv", "one_x4.mkv", "photo_x4.png"]
    again = command("upscale", "in", "-o", "out", "--model", plan.path)
    assert again.status == 1
    assert sum("exists: give --overwrite" in line for line in again.err) == 3


def test_a_folder_goes_on_by_its_manifest(command: Command, plan: Plan) -> None:
    """A film that is done is not done again, but with other options, or if it was changed."""
    save_noise(Path("in/photo.png"))
    film(Path("in/one.mkv"))
    film(Path("in/two.mkv"))
    arguments = ("upscale", "in", "-o", "out", "--model", plan.path, "--preset", "ultrafast", "--manifest", "run.jsonl")
    assert command(*arguments).status == 0
    Path("out/two_x4.mkv").unlink()
    made = Path("out/one_x4.mkv").stat().st_mtime_ns
    done = command(*arguments, "--json")
    events = [json.loads(line) for line in done.out.splitlines()]
    assert done.status == 0
    assert [event["input"] for event in events if event["event"] == "done" and not event["skipped"]] == ["in/two.mkv"]
    assert [event["skipped"] for event in events if event["event"] == "summary"] == [1, 1]
    assert Path("out/one_x4.mkv").stat().st_mtime_ns == made
    rows = [json.loads(line) for line in Path("run.jsonl").read_text().splitlines()]
    assert [Path(row["output"]).name for row in rows] == ["photo_x4.png", "one_x4.mkv", "two_x4.mkv", "two_x4.mkv"]
    assert all(row["error"] is None and row["size"] == [256, 192] for row in rows[1:])
    again = command(*arguments, "--crf", "30")
    assert again.status == 1
    assert "out/one_x4.mkv exists: give --overwrite" in again.err[0]
    film(Path("in/one.mkv"), moving(5))
    assert command(*arguments, "--overwrite").status == 0
    assert len(times(Path("out/one_x4.mkv"))) == 5


def test_films_that_are_there_are_left_out(command: Command, plan: Plan) -> None:
    film(Path("movie.mkv"))
    Path("movie_x4.mkv").write_bytes(b"somebody's own")
    done = command("upscale", "movie.mkv", "--model", plan.path, "--skip-existing")
    assert (done.status, done.err, done.out) == (0, [], "movie_x4.mkv is there already\n")
    assert Path("movie_x4.mkv").read_bytes() == b"somebody's own"


def test_a_film_that_fails_is_a_row(command: Command, plan: Plan) -> None:
    Path("cut.mkv").write_bytes(b"no film")
    done = command("upscale", "cut.mkv", "--model", plan.path, "--manifest", "run.jsonl")
    assert done.status == 1
    (row,) = map(json.loads, Path("run.jsonl").read_text().splitlines())
    assert done.err == [f"srgan-trt: {row['error']}"]


def test_what_is_for_pictures_only_is_refused_for_films(command: Command, plan: Plan) -> None:
    film(Path("movie.mkv"))
    done = command("upscale", "movie.mkv", "--model", plan.path, "--quality", "90", "--compare")
    assert done.status == 2
    assert "--quality, --compare: for pictures only, and movie.mkv is a film" in done.err[0]
    assert files(Path()) == ["movie.mkv"]


@pytest.mark.parametrize(
    ("options", "label", "size"),
    [
        (["--scale", "2"], "x2", (128, 96)),
        (["--scale", "1.6"], "x1.6", (102, 76)),
        (["--width", "150"], "w150", (150, 112)),
        (["--height", "75"], "h75", (100, 75)),
        (["--fit", "900x600"], "fit900x600", (800, 600)),
        (["--scale", "1"], "x1", (64, 48)),
    ],
)
def test_a_film_has_the_size_that_is_asked_for(
    command: Command, plan: Plan, options: list[str], label: str, size: tuple[int, int]
) -> None:
    """Sides are even, as 4:2:0 needs, but for one that is named."""
    film(Path("movie.mkv"))
    done = command("upscale", "movie.mkv", "--model", plan.path, *options, "--preset", "ultrafast")
    assert (done.status, done.err) == (0, [])
    assert done.out.startswith(f"movie.mkv (64 x 48) -> movie_{label}.mkv ({size[0]} x {size[1]}), 8 frames in ")
    with av.open(f"movie_{label}.mkv") as container:
        video = container.streams.video[0]
        assert (video.width, video.height) == size
        assert video.codec_context.pix_fmt == ("yuv420p" if size[1] % 2 == 0 else "yuv422p")
    assert times(Path(f"movie_{label}.mkv")) == times(Path("movie.mkv"))


def test_a_size_that_cannot_be_had_is_said_before_the_work(command: Command, plan: Plan) -> None:
    film(Path("movie.mkv"))
    done = command("upscale", "movie.mkv", "--model", plan.path, "--width", "1025")
    assert (done.status, len(done.err)) == (1, 1)
    assert "the network makes x4 and, run twice, x16" in done.err[0]
    assert files(Path()) == ["movie.mkv"]


def test_programs_are_told_as_events(command: Command, plan: Plan) -> None:
    film(Path("good.mkv"))
    Path("bad.mkv").write_bytes(b"nothing" * 100)
    done = command("upscale", "bad.mkv", "good.mkv", "--model", plan.path, "--json", "--preset", "ultrafast")
    assert (done.status, done.err) == (1, [])
    events = [json.loads(line) for line in done.out.splitlines()]
    told = {event["event"]: event for event in events}
    assert (events[0]["event"], events[0]["films"], events[0]["scale"]) == ("start", 2, 4)
    assert (told["error"]["input"], "cannot be read as a video" in told["error"]["text"]) == ("bad.mkv", True)
    assert (told["progress"]["work"], told["progress"]["input"], told["progress"]["of"]) == ("film", "good.mkv", 8)
    made = told["done"]
    assert (made["input"], made["output"], made["frames"]) == ("good.mkv", str(Path("good_x4.mkv")), 8)
    assert (made["size"], made["enlarged"], made["resumed"]) == ([64, 48], [256, 192], 0)
    last = events[-1]
    assert (last["event"], last["done"], last["failed"], last["device"]) == ("summary", 1, 1, "cpu")


def test_a_dry_run_reckons_films_and_pictures(command: Command, plan: Plan) -> None:
    save_noise(Path("in/photo.png"))
    film(Path("in/movie.mp4"), codec="libx264")
    done = command("upscale", "in", "-o", "out", "--model", plan.path, "--dry-run")
    assert (done.status, done.err) == (0, [])
    picture, movie, total = done.out.splitlines()
    assert picture.startswith("in/photo.png (17 x 12) -> out/photo_x4.png (68 x 48): 1 tile, ")
    rest = r"[\d.]+ s, [\d.]+ MB of memory, [\d.]+ MB on the disk"
    assert re.fullmatch(
        rf"in/movie.mp4 \(64 x 48\) -> out/movie_x4.mp4 \(256 x 192\): 8 frames, {rest}, [\d.]+ MB free for it", movie
    )
    assert re.fullmatch(rf"1 picture, 1 film, one after the other: 1 tile, 8 frames, {rest}; nothing was done", total)
    assert files(Path()) == ["in/movie.mp4", "in/photo.png"]


def test_a_dry_run_names_films_that_come_to_nothing(command: Command, plan: Plan) -> None:
    for name in ("a/movie.mkv", "b/movie.mkv"):
        Path(name).parent.mkdir()
        film(Path(name))
    inputs = ("a/movie.mkv", "b/movie.mkv", "-o", "out", "--model", plan.path)
    dry = command("upscale", *inputs, "--dry-run")
    done = command("upscale", *inputs, "--preset", "ultrafast")
    assert (dry.status, len(dry.err)) == (1, 1)
    assert dry.err == done.err


def test_programs_are_told_what_a_film_would_take(command: Command, plan: Plan) -> None:
    film(Path("good.mkv"))
    Path("bad.mkv").write_bytes(b"nothing" * 100)
    Path("there_x4.mkv").write_text("mine")
    film(Path("there.mkv"))
    run = ("upscale", "bad.mkv", "good.mkv", "there.mkv", "--model", plan.path, "--json", "--dry-run", "--end", "0.2")
    done = command(*run)
    assert (done.status, done.err) == (1, [])
    events = [json.loads(line) for line in done.out.splitlines()]
    assert [event["event"] for event in events] == ["start", "error", "estimate", "error", "summary"]
    assert "exists: give --overwrite" in events[3]["text"]
    told = events[2]
    page = (Path(__file__).resolve().parents[2] / "docs/video.md").read_text("utf-8")
    promised = re.findall(r"`(\w+)`", page.split("`estimate` (")[1].split(")")[0])
    assert set(told) == {"event", *promised}
    assert (told["frames"], told["counted"], told["enlarged"]) == (5, False, [256, 192])
    total = events[-1]
    assert (total["films"], total["pictures"], total["failed"], total["frames"]) == (1, 0, 2, 5)
    assert total["disk_bytes"] == told["disk_bytes"]


def test_a_moving_picture_has_the_size_and_the_quality_that_are_asked_for(command: Command, plan: Plan) -> None:
    frames = [Image.fromarray(noise(20, 24, 3, seed=seed)) for seed in (1, 2)]
    frames[0].save("moving.png", save_all=True, append_images=frames[1:])
    options = ("--scale", "2", "--lossless", "--manifest", "done.jsonl")
    for said in ("moving.png (24 x 20) -> out.webp (48 x 40)", "nothing to do: 1 picture is there already"):
        done = command("upscale", "moving.png", "-o", "out.webp", "--model", plan.path, *options)
        assert done.status == 0
        assert done.out.startswith(said)
    with Image.open("out.webp") as image:
        assert (image.size, image.n_frames) == ((48, 40), 2)  # type: ignore[attr-defined]
    assert b"VP8L" in Path("out.webp").read_bytes()


def test_results_beside_films_are_not_enlarged_again(command: Command, plan: Plan) -> None:
    film(Path("in.mkv")).rename("movie.mkv")
    Path("folder").mkdir()
    Path("movie.mkv").rename("folder/movie.mkv")
    for _ in range(2):
        command("upscale", "folder", "--model", plan.path, "--preset", "ultrafast", "--overwrite")
    assert files(Path("folder")) == ["movie.mkv", "movie_x4.mkv"]


def test_a_film_that_fails_does_not_stop_the_others(command: Command, plan: Plan) -> None:
    film(Path("good.mkv"))
    Path("bad.mkv").write_bytes(b"nothing" * 100)
    done = command("upscale", "bad.mkv", "good.mkv", "absent.png", "--model", plan.path, "-o", "out/")
    assert done.status == 1
    assert done.err == [
        "srgan-trt: absent.png does not exist: check the name",
        "srgan-trt: bad.mkv cannot be read as a video: Invalid data found when processing input: check the file",
    ]
    assert files(Path("out")) == ["good_x4.mkv"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["movie.mkv", "-o", "-"], "standard output takes a picture, no film: name a file with -o"),
        (["movie.mkv", "-o", "big.avi"], "does not end as a film that is written"),
        (["movie.mkv", "other.mkv", "-o", "big.mkv"], "big.mkv names one film, and there are 2 inputs"),
        (["movie.mkv", "--end", "0"], "the end after the start"),
        (["movie.mkv", "--start", "1:75"], "'1:75' is not a time: give seconds, 1:30 or 0:01:30.5"),
    ],
)
def test_what_is_wrong_is_said(command: Command, plan: Plan, arguments: list[str], message: str) -> None:
    film(Path("movie.mkv"))
    film(Path("other.mkv"))
    done = command("upscale", *arguments, "--model", plan.path)
    assert done.status in (1, 2)
    assert message in done.err[-1]


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("1:30", 90), ("1:00:00.5", 3600.5), ("0.25", 0.25)])
def test_times(text: str, seconds: float) -> None:
    assert parse(["upscale", "a.mkv", "--start", text]).start == seconds


def test_without_pyav_the_command_that_installs_it_is_said(
    command: Command, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    film(Path("movie.mkv"))
    real = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name.split(".")[0] == "av":
            raise ImportError("no av")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    save_noise(Path("photo.png"))
    done = command("upscale", "movie.mkv", "photo.png", "--model", plan.path)
    assert Path("photo_x4.png").exists()
    assert (done.status, done.err) == (1, ['srgan-trt: av is needed to read a video: pip install ".[video]"'])


def test_a_film_from_python(plan: Plan) -> None:
    import srgan_trt

    film(Path("movie.mkv"))
    assert srgan_trt.upscale_video("movie.mkv", model=plan.path, size=100) == Path("movie_max100.mkv").absolute()
    done: list[tuple[int, int | None]] = []
    target = srgan_trt.upscale_video(
        "movie.mkv", model=plan.path, codec="ffv1", progress=lambda n, total: done.append((n, total))
    )
    assert target == Path("movie_x4.mkv").absolute()
    assert done == [(n, 8) for n in range(1, 9)]
    with av.open(str(target)) as container:
        assert container.streams.video[0].codec_context.name == "ffv1"


def test_moving_pictures_keep_moving(command: Command, plan: Plan) -> None:
    frames = [Image.fromarray(noise(9, 8, seed=i)) for i in range(3)]
    frames[0].save("moving.gif", save_all=True, append_images=frames[1:], duration=40)
    save_noise(Path("still.png"))
    done = command("upscale", "moving.gif", "still.png", "--model", plan.path)
    assert (done.status, done.err) == (0, ["moving.gif: 3 frames, 0 of them repeats"])
    with Image.open("moving_x4.png") as image:
        assert (image.n_frames, image.size, image.info["duration"]) == (3, (32, 36), 40)
    assert files(Path()) == ["moving.gif", "moving_x4.png", "still.png", "still_x4.png"]
    done = command("upscale", "moving.gif", "-o", "one.jpg", "--model", plan.path)
    assert done.err == ["moving.gif: the first of 3 frames was taken"]
