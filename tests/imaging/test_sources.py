"""What users name, what is read for it, and where results go."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from srgan_trt.errors import PictureError
from srgan_trt.imaging.decode import READABLE
from srgan_trt.imaging.sources import Job, expand, plan_outputs


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("photos/b.jpg", "photos/a.PNG", "photos/notes.txt", "photos/.hidden.png", "photos/sub/c.webp",
                 "photos/sub/.cache/d.png", "photos/empty/readme.md", "one.tiff", "odd[1].png"):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path


def found(*inputs: str) -> list[tuple[str, str]]:
    return [(source.location, str(source.relative)) for source in expand(inputs) if source.error is None]


def errors(*inputs: str) -> list[str]:
    return [source.error for source in expand(inputs) if source.error is not None]


def targets(*inputs: str, output: str | None = None, format: str | None = None, scale: int = 4) -> list[str]:
    return [str(job.target) for job in plan_outputs(expand(inputs), output=output, format=format, label=f"x{scale}")]


def planned(*inputs: str, output: str | None = None, overwrite: bool = False) -> list[Job]:
    return plan_outputs(expand(inputs), output=output, format=None, label="x4", overwrite=overwrite)


def test_a_folder_is_searched_in_order_without_hidden_and_other_files(tree: Path) -> None:
    expected = [("photos/a.PNG", "a.PNG"), ("photos/b.jpg", "b.jpg"), ("photos/sub/c.webp", "sub/c.webp")]
    assert found("photos") == expected
    assert [relative for _, relative in found("photos/")] == [relative for _, relative in expected]


def test_patterns_are_expanded_here_too(tree: Path) -> None:
    assert found("photos/*") == [("photos/a.PNG", "a.PNG"), ("photos/b.jpg", "b.jpg")]
    assert found("photos/**/*.webp") == [("photos/sub/c.webp", "sub/c.webp")]
    assert found("**/[bc].*") == [("photos/b.jpg", "photos/b.jpg"), ("photos/sub/c.webp", "photos/sub/c.webp")]
    assert found(f"{tree}/photos/s*/c.*") == [(f"{tree}/photos/sub/c.webp", "sub/c.webp")]


def test_a_file_may_look_like_a_pattern_and_have_any_suffix(tree: Path) -> None:
    assert found("odd[1].png", "photos/notes.txt") == [("odd[1].png", "odd[1].png"), ("photos/notes.txt", "notes.txt")]


def test_a_file_named_twice_is_taken_once(tree: Path) -> None:
    assert len(found("one.tiff", "./one.tiff", "*.tiff", f"{tree}/one.tiff")) == 1


def test_what_names_nothing_is_an_error_of_its_own(tree: Path) -> None:
    assert errors("absent.png", "photos/empty", "*.gif", "photos/*.txt", "s3://gs://a.png", "", "one.tiff") == [
        "absent.png does not exist: check the name",
        f"the folder photos/empty holds no pictures ({READABLE}): name another",
        "the pattern *.gif matches no file: check it, or name the files",
        f"the pattern photos/*.txt matches no picture ({READABLE}), but other files: check it, or name the files",
        "s3://gs://a.png mixes schemes: give one address, like s3://bucket/folder",
        "an input has an empty name: give a file, a folder, a pattern or an address",
    ]
    assert found("absent.png", "one.tiff") == [("one.tiff", "one.tiff")]
    (tree / "dangling.png").symlink_to("nowhere")
    assert found("dangling.png") == [("dangling.png", "dangling.png")]


def test_an_unreadable_folder_is_an_error_and_the_rest_is_found() -> None:
    # Root reads every folder: the search runs as somebody else, in a folder that everybody may enter.
    script = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from srgan_trt.imaging.sources import expand
if os.getuid() == 0:
    os.setuid(65534)
for source in expand(["photos"]):
    print(source.error or source.location)
"""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        for name in ("photos/a.png", "photos/shut/b.png"):
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        path.parent.chmod(0)
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=folder, check=False)
        path.parent.chmod(0o755)
    assert done.stdout.splitlines() == [
        "photos/a.png",
        "the folder photos/shut cannot be read: Permission denied: change its permissions",
    ], done.stderr


def test_results_lie_beside_their_inputs(tree: Path) -> None:
    assert targets("photos", "one.tiff") == [
        "photos/a_x4.png",
        "photos/b_x4.png",
        "photos/sub/c_x4.png",
        "one_x4.png",
    ]
    assert targets("one.tiff", format="webp", scale=2) == ["one_x2.webp"]
    assert targets("photos/notes.txt") == ["photos/notes.txt_x4.png"]


def test_results_of_addresses_and_standard_input_lie_in_the_current_folder(tree: Path) -> None:
    url = "https://user:secret@host/path/My%20photo%2F..%2F1.jpeg?token=secret"
    assert targets(url, "-", "http://host/", "http://host/a/b.c") == [
        "1_x4.png",
        "stdin_x4.png",
        "download_x4.png",
        "b.c_x4.png",
    ]
    assert expand([url])[0].name == "https://host/path/My%20photo%2F..%2F1.jpeg"
    assert expand([url])[0].location == url
    assert expand(["-"])[0].name == "standard input"


def test_an_output_folder_keeps_the_tree(tree: Path) -> None:
    expected = ["out/a_x4.png", "out/b_x4.png", "out/sub/c_x4.png"]
    assert targets("photos", output="out") == expected
    assert targets("photos/**", output="out/") == expected
    assert targets("one.tiff", output="photos") == ["photos/one_x4.png"]
    assert targets("one.tiff", output="new/") == ["new/one_x4.png"]
    assert targets("one.tiff", "photos/b.jpg", output="new") == ["new/one_x4.png", "new/b_x4.png"]


def test_an_output_file_names_its_format(tree: Path) -> None:
    [job] = planned("one.tiff", output="result.jpg")
    assert (job.target, job.format, job.error) == (Path("result.jpg"), "jpg", None)
    [job] = plan_outputs(expand(["one.tiff"]), output="result", format="webp", label="x4")
    assert (job.target, job.format) == (Path("result"), "webp")
    [job] = planned("photos/*.jpg", output="result.tif")
    assert (job.target, job.format) == (Path("result.tif"), "tiff")
    [job] = planned("one.tiff", output="-")
    assert (job.target, job.format) == ("-", "png")


@pytest.mark.parametrize(
    ("inputs", "output", "format", "message"),
    [
        (["one.tiff"], "result", None, "does not end in a format that can be written"),
        (["one.tiff"], "result.png", "jpg", "result.png does not end as a jpg file does"),
        (["one.tiff"], "result.gif", None, "does not end in a format"),
        (["one.tiff"], None, "gif", "'gif' cannot be written"),
        (["one.tiff", "photos"], "-", None, "standard output takes one picture, not 4"),
        (["one.tiff", "photos"], "out.png", None, "out.png names one picture, and there are 4 inputs"),
        (["photos"], "one.tiff", None, "one.tiff is a file, and there are 3 inputs"),
    ],
)
def test_outputs_that_cannot_serve(tree: Path, inputs: list[str], output: str, format: str, message: str) -> None:
    with pytest.raises(PictureError, match=message):
        plan_outputs(expand(inputs), output=output, format=format, label="x4")


def test_names_that_exist_are_errors_before_any_work(tree: Path) -> None:
    (tree / "one_x4.png").write_bytes(b"")
    assert [job.error for job in planned("one.tiff")] == [
        "one_x4.png exists: give --overwrite (overwrite=True) to replace it, --skip-existing to keep it, or another "
        "name"
    ]
    assert [job.error for job in planned("one.tiff", overwrite=True)] == [None]


def test_names_that_differ_in_their_suffix_give_two_results(tree: Path) -> None:
    (tree / "photos/b.png").write_bytes(b"")
    assert targets("photos") == [
        "photos/a_x4.png",
        "photos/b_x4.png",
        "photos/b_png_x4.png",
        "photos/sub/c_x4.png",
    ]
    (tree / "photos/b_png_x4.png").write_bytes(b"")  # of an earlier run
    assert len(planned("photos", overwrite=True)) == 4


def test_the_second_of_two_inputs_with_one_result_is_an_error(tree: Path) -> None:
    (tree / "other").mkdir()
    (tree / "other/b.jpg").write_bytes(b"")
    jobs = planned("photos/b.jpg", "other/b.jpg", "absent.png", output="out/")
    assert [job.target is not None for job in jobs] == [True, False, False]
    assert (
        jobs[1].error == "other/b.jpg would become out/b_x4.png, as photos/b.jpg does: give them apart, or rename one"
    )


def test_results_of_an_earlier_run_are_not_enlarged_again(tree: Path) -> None:
    (tree / "photos/b_x4.png").write_bytes(b"")
    assert [job.source.name for job in planned("photos", overwrite=True)] == [
        "photos/a.PNG",
        "photos/b.jpg",
        "photos/sub/c.webp",
    ]
    assert [job.source.name for job in planned("photos/b_x4.png")] == ["photos/b_x4.png"]
    (tree / "photos/out").mkdir()
    (tree / "photos/out/b_x4.png").write_bytes(b"")
    names = [job.source.name for job in planned("photos", output="photos/out", overwrite=True)]
    assert "photos/out/b_x4.png" not in names


def test_reading_gives_what_decode_takes(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert expand(["one.tiff"])[0].read() == Path("one.tiff")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"bytes")))
    assert expand(["-"])[0].read() == b"bytes"
    with pytest.raises(PictureError, match=r"absent\.png does not exist"):
        expand(["absent.png"])[0].read()


def test_folders_are_searched_for_films_where_they_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("in/a.png", "in/b.MKV", "in/c.vob", "in/program.ts", "in/.hidden.mp4"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    assert [source.name for source in expand(["in"])] == ["in/a.png"]
    sources = expand(["in", "in/program.ts"], films=True)
    assert [(source.name, source.film) for source in sources] == [
        ("in/a.png", False), ("in/b.MKV", True), ("in/c.vob", True), ("in/program.ts", True),
    ]  # fmt: skip
    jobs = plan_outputs(sources, output="out/", format=None, label="x4")
    assert [str(job.target) for job in jobs] == ["out/a_x4.png", "out/b_x4.mkv", "out/c_x4.mkv", "out/program_x4.mkv"]
