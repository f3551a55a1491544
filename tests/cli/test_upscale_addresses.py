"""`srgan-trt upscale s3://...`: buckets as inputs and outputs, runs that go on, secrets that nobody sees."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from srgan_trt.compiler.plan import Plan

from ..command_line import Command
from ..handmade import expected, noise, small_plan

fsspec = pytest.importorskip("fsspec", reason='pip install ".[cloud]"')
pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return small_plan(tmp_path_factory.mktemp("plan"))


def png(seed: int = 0) -> bytes:
    file = io.BytesIO()
    Image.fromarray(noise(12, 17, seed=seed)).save(file, "png")
    return file.getvalue()


@pytest.fixture
def memory() -> Iterator[Any]:
    """A store with three pictures, of which one is broken."""
    store = fsspec.filesystem("memory")
    for name, content in (("a.png", png(1)), ("sub/b.png", png(2)), ("c.png", b"no picture")):
        store.pipe_file(f"/in/{name}", content)
    yield store
    store.store.clear()


def objects(store: Any, folder: str = "/out") -> list[str]:
    return sorted(store.find(folder)) if store.exists(folder) else []


def pixels(content: bytes) -> Any:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image)


def rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path("run.jsonl").read_text().splitlines()]


def test_a_tree_goes_from_store_to_store_and_a_broken_picture_keeps_nobody(
    command: Command, plan: Plan, memory: Any
) -> None:
    run = ("upscale", "memory://in", "-o", "memory://out", "--exact", "--model", plan.path, "--manifest", "run.jsonl")
    done = command(*run)
    assert (done.status, len(done.err)) == (1, 1)
    assert done.err[0].startswith("srgan-trt: memory://in/c.png ")
    assert objects(memory) == ["/out/a_x4.png", "/out/sub/b_x4.png"]
    for seed, name in ((1, "a"), (2, "sub/b")):
        large = pixels(memory.cat_file(f"/out/{name}_x4.png"))
        assert np.abs(large.astype(int) - expected(plan, noise(12, 17, seed=seed))).max() <= 1
    said = {row["input"]: (row["output"], row["error"] is None) for row in rows()}
    assert said == {
        "memory://in/a.png": ("memory://out/a_x4.png", True),
        "memory://in/sub/b.png": ("memory://out/sub/b_x4.png", True),
        "memory://in/c.png": ("memory://out/c_x4.png", False),
    }
    memory.pipe_file("/in/c.png", png(3))
    done = command(*run)
    assert (done.status, done.err) == (0, [])
    assert done.out.rstrip().endswith("2 were there already")
    assert command(*run).out == "nothing to do: 3 pictures are there already\n"


def test_what_exists_is_kept_skipped_or_replaced(command: Command, plan: Plan, memory: Any) -> None:
    memory.rm_file("/in/c.png")
    memory.pipe_file("/out/a_x4.png", b"precious")
    run = ("upscale", "memory://in", "-o", "memory://out/", "--model", plan.path)
    assert command(*run).err == [
        "srgan-trt: memory://out/a_x4.png exists: give --overwrite (overwrite=True) to replace it, --skip-existing to "
        "keep it, or another name"
    ]
    assert command(*run, "--skip-existing").out == "nothing to do: 2 pictures are there already\n"
    assert memory.cat_file("/out/a_x4.png") == b"precious"
    assert command(*run, "--overwrite").status == 0
    assert pixels(memory.cat_file("/out/a_x4.png")).shape == (48, 68, 3)


def test_a_picture_that_changed_is_done_again(command: Command, plan: Plan, memory: Any) -> None:
    memory.rm_file("/in/c.png")
    run = ("upscale", "memory://in", "-o", "memory://out", "--model", plan.path, "--manifest", "run.jsonl")
    assert command(*run).status == 0
    memory.pipe_file("/in/a.png", png(9) + b" ")
    assert "memory://out/a_x4.png exists" in command(*run).err[0]
    assert command(*run, "--overwrite").status == 0
    assert rows()[-1]["input"] == "memory://in/a.png"


def test_stores_and_files_go_together(command: Command, plan: Plan, memory: Any) -> None:
    Path("photo.png").write_bytes(png(4))
    done = command("upscale", "photo.png", "memory://in/a.png", "-o", "memory://out", "--model", plan.path)
    assert (done.status, objects(memory)) == (0, ["/out/a_x4.png", "/out/photo_x4.png"])
    assert command("upscale", "memory://in/a.png", "-o", "here/", "--model", plan.path).status == 0
    assert Path("here/a_x4.png").read_bytes() == memory.cat_file("/out/a_x4.png")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["memory://nowhere", "-o", "memory://out"], "memory://nowhere is not there: check the name, and that"),
        (["s3://a/s3://b", "-o", "memory://out"], "s3://a/s3://b mixes schemes: give one address"),
        (["memory://in", "-o", "s3://a?X-Amz-Signature=geheim"], "s3://a has a query: leave it out"),
        (["memory://in/a.png", "-o", "memory://out/", "--compare"], "comparisons are files of this machine: name"),
    ],
)
def test_bad_input_is_said_in_one_line(
    command: Command, plan: Plan, memory: Any, arguments: list[str], message: str
) -> None:
    done = command("upscale", *arguments, "--model", plan.path)
    assert (done.status, done.out, len(done.err)) == (1, "", 1)
    assert done.err[0].startswith(f"srgan-trt: {message}")
    assert "geheim" not in done.err[0]


def test_a_manifest_of_another_plan_is_told(command: Command, plan: Plan, memory: Any, tmp_path: Path) -> None:
    run = ("upscale", "memory://in/a.png", "-o", "memory://out/", "--manifest", "run.jsonl", "--model")
    assert command(*run, plan.path).status == 0
    other = small_plan(tmp_path / "other", name="other")
    done = command(*run, other.path)
    assert done.err[0] == "run.jsonl has 1 picture of another plan than other: they count for nothing"
    assert "exists: give --overwrite" in done.err[1]


class TestABucket:
    def test_two_runs_at_once_and_a_refusal(self, command: Command, plan: Plan, tmp_path: Path) -> None:
        pytest.importorskip("moto", reason='pip install ".[dev]"')
        from ..imaging.stores import bucket

        with bucket("runs") as (store, client):
            for number in range(4):
                client.put_object(Bucket="runs", Key=f"in/{number}.png", Body=png(number))
            lost: list[str] = []

            def another_was_first(method: str, path: str) -> int | None:
                if method == "PUT" and not lost:
                    lost.append(path)
                    client.put_object(Bucket="runs", Key=path.partition("runs/")[2], Body=b"other")
                return 403 if path.endswith("/in/3.png") else None

            store.fails = another_was_first
            run = ("upscale", "s3://runs/in", "-o", "s3://runs/out", "--model", plan.path, "--jobs", "1")
            done = command(*run, "--manifest", "run.jsonl")
            assert done.status == 1
            assert sorted(line.partition(": ")[2].partition(" (")[0] for line in done.err) == [
                "s3://runs/in/0.png: s3://runs/out/0_x4.png exists: give --overwrite",
                "s3://runs/in/3.png may not be read by you",
            ]
            assert "hunter2" not in Path("run.jsonl").read_text() + "".join(done.err)
            keys = [entry["Key"] for entry in client.list_objects_v2(Bucket="runs", Prefix="out")["Contents"]]
            assert keys == ["out/0_x4.png", "out/1_x4.png", "out/2_x4.png"]
            assert client.get_object(Bucket="runs", Key="out/0_x4.png")["Body"].read() == b"other"
