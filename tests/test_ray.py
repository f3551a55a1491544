"""A Ray of two processes: every picture is there once, whatever becomes of those who make them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

from srgan_trt.compiler.plan import Plan
from srgan_trt.errors import SrganTrtError
from srgan_trt.imaging.sources import Job, Source
from srgan_trt.ray import Pool, _Rows, _Worker, upscale_dataset
from srgan_trt.scheduler import Outcome

from .cli.conftest import command as command
from .command_line import Command, files, load, save_noise
from .deadly import arm
from .handmade import differences, expected, noise, small_plan

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(find_spec("ray") is None, reason='pip install ".[ray]"'),
]
ROOT = Path(__file__).resolve().parents[1]
_POOL = Pool(actors=2, cpus=1, batch=4)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return small_plan(tmp_path_factory.mktemp("plan"))


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
    import ray

    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=100 << 20,
        log_to_driver=False,
        # Its processes do not look for modules where this one was started.
        runtime_env={"worker_process_setup_hook": arm, "env_vars": {"PYTHONPATH": str(ROOT)}},
    )
    yield
    ray.shutdown()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """in/ has nine good pictures, a broken one, one that kills its actor each time and one that does so once."""
    for number in range(8):
        save_noise(tmp_path / f"in/sub{number % 2}/{number}.png", seed=number)
    save_noise(tmp_path / "in/once.png", seed=8)
    save_noise(tmp_path / "in/poison.png", seed=9)
    (tmp_path / "in/broken.png").write_bytes(b"no picture at all, but a text of some length")
    return tmp_path


def run(folder: Path, plan: Plan) -> dict[str, Outcome]:
    outcomes = list(upscale_dataset([folder / "in"], output=folder / "out", model=plan, pool=_POOL, exact=True))
    named = {Path(outcome.job.source.name).name: outcome for outcome in outcomes}
    assert len(named) == len(outcomes), "each is said once"
    return named


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "status", "message"),
        [
            (["--ray", "auto"], 2, "a cluster needs a folder that all its machines reach: give one with -o"),
            (["--ray", "auto", "-o", "out", "--jobs", "2"], 2, "--jobs is for one machine: leave it out, or --ray"),
            (["--actors", "2"], 2, "--actors goes with --ray only: give that, too"),
            (["--ray", "127.0.0.1:1", "-o", "out"], 1, "no Ray cluster answers at 127.0.0.1:1 ("),
        ],
    )
    def test_is_said_in_one_line(
        self, command: Command, plan: Plan, tmp_path: Path, options: list[str], status: int, message: str
    ) -> None:
        save_noise(tmp_path / "photo.png")
        done = command("upscale", tmp_path / "photo.png", "--model", plan.path, *options)
        assert (done.status, done.out, len(done.err)) == (status, "", 1)
        assert done.err[0].startswith(f"srgan-trt: {message}")

    def test_another_version(self, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import ray

        monkeypatch.setattr(ray, "__version__", "3.1.0")
        with pytest.raises(SrganTrtError, match=r"Ray 3.1.0 is here, and 2.55 or later, before 2.64, is needed"):
            next(upscale_dataset([tmp_path], output=tmp_path / "out", model=plan))

    def test_none(self, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "ray", None)
        with pytest.raises(SrganTrtError, match=r"ray is needed to use a cluster: pip install"):
            next(upscale_dataset([tmp_path], output=tmp_path / "out", model=plan))


@pytest.mark.usefixtures("cluster")
def test_whatever_dies_every_picture_is_there_once_and_right(folder: Path, plan: Plan, command: Command) -> None:
    said = run(folder, plan)
    assert sorted(name for name, outcome in said.items() if outcome.error is not None) == ["broken.png", "poison.png"]
    assert "is not a readable picture" in str(said["broken.png"].error)
    assert "poison.png: its actor died 2 times over it alone, so it is set aside" in str(said["poison.png"].error)
    assert (folder / "in/poison.killed").read_text() in ("xxx", "xxxx"), "with others, and twice alone"
    assert (folder / "in/once.killed").read_text() == "x"
    assert files(folder / "out") == sorted(
        ["once_x4.png", *(f"sub{number % 2}/{number}_x4.png" for number in range(8))]
    )
    for number in range(9):
        name = "once" if number == 8 else f"sub{number % 2}/{number}"
        assert differences(load(folder / f"out/{name}_x4.png"), expected(plan, noise(12, 17, seed=number))).max() <= 1

    # Again, by the command and with what is broken mended: nothing is done twice.
    times = {path: path.stat().st_mtime_ns for path in (folder / "out").rglob("*.png")}
    (folder / "in/poison.png").unlink()
    save_noise(folder / "in/broken.png", seed=10)
    done = command(
        "upscale", folder / "in", "-o", folder / "out", "--model", plan.path, "--exact", "--skip-existing",
        "--ray", "auto", "--actors", "1", "--cpus-per-actor", "1", "--manifest", folder / "run.jsonl",
    )  # fmt: skip
    assert (done.status, done.err) == (0, [])
    assert done.out.startswith("1 picture, 9 there already, in ")
    assert {path: path.stat().st_mtime_ns for path in times} == times
    [row] = [json.loads(line) for line in (folder / "run.jsonl").read_text().splitlines()]
    assert (row["input"], row["size"], row["error"]) == (str(folder / "in/broken.png"), [68, 48], None)


@pytest.mark.usefixtures("cluster")
def test_machines_without_the_package(tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a cluster where only the machine that asks has it: an actor's class is of a module that others lack."""
    here_only = ModuleType("srgan_trt.here_only")
    here_only.Actor = type("Actor", (_Worker,), {"__module__": here_only.__name__})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, here_only.__name__, here_only)
    monkeypatch.setattr("srgan_trt.ray._Worker", here_only.Actor)
    save_noise(tmp_path / "photo.png")
    [outcome] = upscale_dataset([tmp_path / "photo.png"], output=tmp_path / "out", model=plan, pool=_POOL)
    assert str(outcome.error).endswith(
        "photo.png: srgan-trt is not installed on the cluster's machines, or is another version there"
    )


def test_tasks_grow_with_the_number_of_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a million there would be 62,500 tables otherwise, which weigh more than their rows."""
    monkeypatch.setattr("srgan_trt.ray._MOST_TABLES", 4)
    rows, jobs = _Rows(2), []
    for number in range(23):
        source = Source(name=f"/in/{number}.png", location=f"/in/{number}.png", relative=Path(f"{number}.png"))
        jobs.append(Job(source=source, target=Path(f"/out/{number}.png"), format="png"))
        rows.add(jobs[-1])
    assert [len(table) for table in rows.finish()] == [8, 8, 7]
    assert rows.batch == 8
    assert [rows.job(number, Path("/out")) for number in range(23)] == jobs
