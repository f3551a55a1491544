"""Pictures by many machines: Ray Data hands addresses to actors, each of which holds an Upscaler. No pixels travel.

What a run has done is where the results are, and in the manifest. What an actor that died had in work is done again,
what was there already is left: so nothing is lost, and nothing is there twice.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .cache import key_of
from .errors import SrganTrtError, one_line
from .files import atomic_write
from .imaging.addresses import Address, address_of, is_address
from .imaging.sources import Job, Source, Target, find, stream_jobs
from .plan_cache import plan_built_once
from .ray_cluster import connected, silent
from .resolve import open_plan
from .scheduler import Outcome, run_jobs
from .upscaler import Upscaler

if TYPE_CHECKING:
    from .compiler.plan import Plan

_BATCH = 16
"""Pictures of a task: what an actor that dies has in work. Each task costs the driver some milliseconds."""
_TRIES = 2
"""Of a task whose actor dies: then its pictures are tried one by one, as often."""
_MOST_TABLES = 4096
"""Tasks of a run, before they are made larger: each takes two kilobytes of this process, and some of Ray's time."""
_LOCAL = -1
"""As the number of a root: a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """The actors that run an Upscaler each."""

    actors: int | None = None
    """None: as many as the cluster has cores for."""
    cpus: int | None = None
    """Cores, and threads, of each; None: 4, or what the smallest machine has."""
    gpus: float = 0
    batch: int = _BATCH
    """Pictures of a task; more where there are so many pictures that their tasks alone would fill the memory."""


def upscale_dataset(
    inputs: Iterable[str | os.PathLike[str]],
    *,
    output: str | os.PathLike[str],
    model: str | os.PathLike[str] | Plan | None = None,
    address: str | None = None,
    pool: Pool | None = None,
    format: str = "png",
    label: str | None = None,
    overwrite: bool = False,
    done: Callable[[Source, Target], bool] | None = None,
    writing: dict[str, Any] | None = None,
    **options: Any,
) -> Iterator[Outcome]:
    """Upscales pictures on a Ray cluster; gives what became of each, as it comes: those left out have a job that is
    `skipped`, others a result or an `error`.

    Args:
        inputs: Addresses and folders of objects (s3://bucket/in), files and folders that all machines have.
        output: The folder of the results: an address, or a folder that all machines have. It keeps the inputs' trees.
        model: As `Upscaler` takes it. Its plan is built once, here, and handed to the actors.
        address: Of the cluster, as `ray.init` takes it; None is the one this machine belongs to, else a Ray of
            processes on this machine. A Ray that is connected already is used.
        pool: The actors; None is as many as there are cores for.
        format: Of the results.
        label: What their names end in; None is that of the network: x4.
        overwrite: Whether results may exist.
        done: Tells of a picture whose result exists whether it is left out.
        writing: Further options of `scheduler.run_jobs`: quality, size, max_pixels.
        options: Of `Upscaler`.

    Raises:
        MissingPackageError: Ray is not installed.
        SrganTrtError: Ray is of another version, the cluster is not there, or the model or the output cannot be used.

    A picture that kills its actor twice among others and twice alone is an error that says so.
    """
    plan = open_plan(model)
    with connected(address):
        writing = {"overwrite": overwrite, **(writing or {})}
        chosen = pool or Pool()
        rows = _Rows(chosen.batch)
        folder = _folder(os.fspath(output))
        named: dict[str, Any] = {"format": format, "label": label or f"x{plan.spec.scale}"}
        for job in stream_jobs(find(inputs), folder=folder, overwrite=overwrite, done=done, **named):
            if job.error is not None or job.skipped:
                yield Outcome(job=job, error=job.error)
            elif job.source.kind == "object" or (job.source.kind == "file" and not job.source.film):
                rows.add(job)
            else:
                text = f"{job.source.name}: only pictures in stores and files go to a cluster: leave it out"
                yield Outcome(job=job, error=text)
        if not rows:
            return
        run = _Run(plan, rows, folder, chosen, writing, options)
        for alone in (False, True):
            yield from run.round(alone=alone)
        for number in run.left():
            job = rows.job(number, folder)
            text = run.broke_off or (
                f"its actor died {_TRIES} times over it alone, so it is set aside: try it by 'srgan-trt upscale' "
                "on a machine of its own, with a smaller --tile"
            )
            yield Outcome(job=job, error=f"{job.source.name}: {text}")


class _Rows:
    """The pictures of a run, in tables of as many as a task has."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self._roots: dict[str, int] = {}
        self._columns: dict[str, list[Any]] = {}
        self.tables: list[Any] = []
        self._count = 0
        self._clear()

    def __len__(self) -> int:
        return self._count

    @property
    def roots(self) -> list[str]:
        """What the inputs' addresses begin with. They may hold passwords, so they are in no row."""
        return list(self._roots)

    def add(self, job: Job) -> None:
        source = job.source
        if source.address is None:
            root, path = _LOCAL, os.path.abspath(source.location)
        else:
            root = self._roots.setdefault(source.address.root, len(self._roots))
            path = source.address.path
        target = job.target
        assert isinstance(target, Path | Address)
        facts = (self._count, root, path, source.relative.as_posix(), json.dumps(source.state), job.format, str(target))
        facts = (*facts[:-1], target.path if isinstance(target, Address) else os.path.abspath(target))
        for column, value in zip(self._columns.values(), facts, strict=True):
            column.append(value)
        self._count += 1
        if len(self._columns["number"]) == self.batch:
            self._flush()

    def finish(self) -> list[Any]:
        if self._columns["number"]:
            self._flush()
        return self.tables

    def job(self, number: int, folder: Target) -> Job:
        table, row = divmod(number, self.batch)
        return _job(self.tables[table].slice(row, 1).to_pylist()[0], self.roots, folder)

    def _flush(self) -> None:
        import pyarrow

        self.tables.append(pyarrow.table(self._columns))
        self._clear()
        if len(self.tables) == _MOST_TABLES:
            pairs = zip(self.tables[::2], self.tables[1::2], strict=True)
            self.tables = [pyarrow.concat_tables(pair).combine_chunks() for pair in pairs]
            self.batch *= 2

    def _clear(self) -> None:
        self._columns = {name: [] for name in ("number", "root", "path", "relative", "state", "format", "target")}


def _job(row: dict[str, Any], roots: Sequence[str], folder: Target) -> Job:
    """What a row of `_Rows` was made of."""
    relative, state = Path(row["relative"]), json.loads(row["state"])
    if row["root"] == _LOCAL:
        source = Source(name=row["path"], location=row["path"], relative=relative)
    else:
        address = Address(roots[row["root"]], row["path"])
        source = Source(name=str(address), kind="object", address=address, relative=relative, state=state)
    target = Address(folder.root, row["target"]) if isinstance(folder, Address) else Path(row["target"])
    return Job(source=source, target=target, format=row["format"])


class _Run:
    """The rounds of a run."""

    def __init__(
        self, plan: Plan, rows: _Rows, folder: Target, pool: Pool, writing: dict[str, Any], options: dict[str, Any]
    ) -> None:
        import ray

        self._rows = rows
        self._folder = folder
        self._seen = bytearray(len(rows))
        self.broke_off: str | None = None
        """Why the last round ended before its time."""
        self._pool = _sized(pool)
        plans = [part.path.read_bytes() for part in (plan, plan.int8) if part is not None]
        options = {"threads": self._pool.cpus, **{name: value for name, value in options.items() if value is not None}}
        # References only: what an actor is made of is kept for when it is made again.
        self._told: dict[str, Any] = {"plans": [ray.put(content) for content in plans], "of": plan.spec.name}
        self._told |= {"options": options, "roots": rows.roots, "folder": folder, "writing": writing}

    def left(self) -> Iterator[int]:
        """Numbers of the rows of which nothing came."""
        return (number for number, seen in enumerate(self._seen) if not seen)

    def round(self, *, alone: bool) -> Iterator[Outcome]:
        """Does what is left: in tasks of many, or each picture alone on its actor."""
        import ray.data
        import ray.exceptions
        from ray.data import ActorPoolStrategy, DataContext

        tables = self._rows.finish()
        if alone:
            batch = self._rows.batch
            tables = [tables[number // batch].slice(number % batch, 1) for number in self.left()]
        if not tables:
            return
        size = min(self._pool.actors or 1, len(tables))
        strategy = ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=1 if alone else 2)
        context = DataContext.get_current().copy()
        context.max_errored_blocks = -1  # tasks whose actors died: their rows are left
        context.enable_progress_bars = False
        with DataContext.current(context), silent():
            # Of its parameters only those without a name of their own are deprecated: there is none for retries.
            results = ray.data.from_arrow(tables).map_batches(
                _Worker,
                batch_size=None,
                fn_constructor_kwargs={**self._told, "again": alone},
                compute=strategy,
                num_cpus=self._pool.cpus,
                num_gpus=self._pool.gpus or None,
                max_restarts=-1,
                max_task_retries=_TRIES - 1,
            )
            try:
                for row in results.iter_rows():
                    number = int(row["number"])
                    if not self._seen[number]:
                        self._seen[number] = 1
                        yield _outcome(self._rows.job(number, self._folder), json.loads(row["facts"]))
                self.broke_off = None
            except ray.exceptions.RayError as error:  # with a machine its results may be lost, too
                self.broke_off = f"the cluster broke off before it was done ({one_line(error)}): run it again"
                if "No module named 'srgan_trt" in str(error):
                    self.broke_off = "srgan-trt is not installed on the cluster's machines, or is another version there"


class _Worker:
    """An actor: rows in, what became of them out."""

    def __init__(
        self,
        *,
        plans: Sequence[Any],
        of: str,
        options: dict[str, Any],
        roots: Sequence[str],
        folder: Target,
        writing: dict[str, Any],
        again: bool,
    ) -> None:
        import ray

        self._roots = roots
        self._folder = folder
        self._writing = writing
        restarted = ray.get_runtime_context().was_current_actor_reconstructed
        self._looks_first = (again or restarted) and not writing["overwrite"]
        self._error: str | None = None
        try:
            plan, *int8 = [_stored_plan(content, of) for content in ray.get(list(plans))]
            self._up = Upscaler(plan.with_int8(int8[0]) if int8 else plan, **options)
        except SrganTrtError as error:
            self._error = str(error)  # raised, it would make Ray try for ever

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        numbers = [int(number) for number in batch["number"]]
        rows = [{name: column[at] for name, column in batch.items()} for at in range(len(numbers))]
        jobs = [_job(row, self._roots, self._folder) for row in rows]
        facts: dict[int, dict[str, Any]] = {}
        waiting = {}
        for number, job in zip(numbers, jobs, strict=True):
            if self._error is not None:
                facts[number] = {"error": self._error}
            elif self._looks_first and _is_there(job.target):
                facts[number] = {"notes": ["was there when it was tried again"]}
            else:
                waiting[id(job)] = number
        todo = [job for job in jobs if id(job) in waiting]
        for outcome in run_jobs(todo, self._up, **self._writing) if todo else ():
            facts[waiting[id(outcome.job)]] = _facts(outcome)
        said = [json.dumps(facts[number]) for number in numbers]
        return {"number": np.array(numbers), "facts": np.array(said, object)}


def _facts(outcome: Outcome) -> dict[str, Any]:
    if outcome.exists:
        return {"notes": ["was there already when its result was to be written"]}
    names = ("error", "notes", "size", "enlarged", "denoised", "precision", "reading", "network", "writing")
    return {name: getattr(outcome, name) for name in names}


def _outcome(job: Job, facts: dict[str, Any]) -> Outcome:
    pairs: dict[str, Any] = {name: tuple(facts[name]) for name in ("notes", "size", "enlarged") if name in facts}
    return Outcome(job=job, **{**facts, **pairs})


def _is_there(target: Any) -> bool:
    try:
        found: bool = target.exists()
        return found
    except SrganTrtError:
        return False  # what is wrong is said when it is written


def _stored_plan(content: bytes, of: str) -> Plan:
    """A plan that came as bytes, by way of this machine's cache."""
    from .compiler.plan import load_plan

    def build(place: Path) -> Plan:
        atomic_write(place, content)
        return load_plan(place)

    return plan_built_once(key_of({"plan": hashlib.sha256(content).hexdigest()}), build, of=of)


def _folder(output: str) -> Target:
    return address_of(output) if is_address(output) else Path(os.path.abspath(output))


def _sized(pool: Pool) -> Pool:
    """With numbers for what is left open, by what the cluster has now."""
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    cores = [node["Resources"]["CPU"] for node in nodes if node["Alive"] and node["Resources"].get("CPU")]
    cpus = pool.cpus or max(1, int(min([4, *cores])))
    actors = pool.actors or max(1, sum(int(count // cpus) for count in cores))
    return Pool(actors=actors, cpus=cpus, gpus=pool.gpus, batch=pool.batch)
