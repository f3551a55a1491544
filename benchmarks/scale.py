"""What Ray costs and gains: pictures a second, a million rows, and a bucket whose actors are killed all the time.

    python benchmarks/scale.py rates [--pictures 500]     # the plain command, then Ray with 1 and 2 actors
    python benchmarks/scale.py rows [--rows 1000000]      # seconds and memory of the driver; actors that do nothing
    python benchmarks/scale.py kills [--pictures 500] [--every 8]    # moto as the bucket, an actor killed each time
    python benchmarks/scale.py nodes [--pictures 500] [--every 20]   # the same with a node of a cluster

Prints a table in Markdown, and JSON with --out FILE. Start-up (Ray's, the model's) is told apart from the rates.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import machine
import numpy as np
from PIL import Image

from srgan_trt import Upscaler
from srgan_trt import ray as on_ray
from srgan_trt.imaging.addresses import Address
from srgan_trt.imaging.sources import Source, stream_jobs
from srgan_trt.machine import memory_peak
from srgan_trt.ray import Pool, upscale_dataset

PHOTO = Path(__file__).resolve().parents[1] / "examples/coffee.jpg"
_MODEL = "srresnet-photo-x4"


def pictures(count: int, *, size: tuple[int, int]) -> Iterator[tuple[str, bytes]]:
    """(name, PNG) of parts of a photo."""
    with Image.open(PHOTO) as photo:
        rng = np.random.default_rng(0)
        for number in range(count):
            left, top = (int(rng.integers(0, whole - part)) for whole, part in zip(photo.size, size, strict=True))
            file = io.BytesIO()
            photo.crop((left, top, left + size[0], top + size[1])).save(file, "png")
            yield f"{number:06}.png", file.getvalue()


def rates(count: int, size: tuple[int, int]) -> dict[str, Any]:
    """Pictures a second of the plain command and of Ray, start-up left out."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "in").mkdir()
        for name, content in pictures(count, size=size):
            (Path(folder) / "in" / name).write_bytes(content)
        plain = [plain_rate(folder, 2, "a")]
        for actors, cpus in ((1, 2), (1, 1), (2, 1)):
            found[f"Ray, actors {actors}, threads {cpus}"] = ray_rate(folder, actors, cpus, f"ray{actors}{cpus}")
        plain.append(plain_rate(folder, 2, "b"))
        found["plain command, 1 thread"] = plain_rate(folder, 1, "c")
        found["plain command, 2 threads, before and after"] = plain
    beside = found["Ray, actors 1, threads 2"] / (sum(plain) / 2)
    return {"pictures": count, "size": size, "a second": found, "Ray beside the plain command": round(beside, 3)}


def plain_rate(folder: str, threads: int, out: str) -> float:
    command = [sys.executable, "-m", "srgan_trt", "upscale", f"{folder}/in", "-o", f"{folder}/{out}/"]
    command += ["--model", _MODEL, "--threads", str(threads), "--denoise", "off"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"^(\d+) .* in ([\d.]+) s \(model ([\d.]+)", said)
    assert found is not None, said
    return round(int(found[1]) / (float(found[2]) - float(found[3])), 2)


def ray_rate(folder: str, actors: int, cpus: int, out: str) -> float:
    """From the first task's end to the last's; of several actors, from the moment when each has ended one."""
    times = []
    pool = Pool(actors=actors, cpus=cpus)
    for outcome in upscale_dataset(
        [f"{folder}/in"], output=f"{folder}/{out}", model=_MODEL, pool=pool, denoise="off", address="local"
    ):
        assert outcome.error is None, outcome.error
        times.append(time.perf_counter())
    begin = actors * pool.batch - 1
    return round((len(times) - 1 - begin) / (times[-1] - times[begin]), 2)


class Idle:
    """An actor that does nothing."""

    def __init__(self, **_: Any) -> None: ...

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {"number": batch["number"], "facts": np.array(["{}"] * len(batch["number"]), object)}


def rows(count: int, batch: int) -> dict[str, Any]:
    """Seconds and bytes of a driver with so many pictures in folders of 10,000."""
    root = "s3://bucket-with-a-name/photos/"

    def simulated(_: Any) -> Iterator[Source]:
        for number in range(count):
            path = f"{number // 10_000:05}/picture-{number:010}.jpg"
            facts: dict[str, Any] = {"relative": Path(path), "state": [204_800, f"{number:032x}"]}
            yield Source(name=root + path, kind="object", address=Address(root, path), found=True, **facts)

    before = memory_peak()
    begin = time.perf_counter()
    jobs = stream_jobs(simulated(None), folder=Address("memory://out"), format="png", label="x4")
    table = on_ray._Rows(batch)
    for job in jobs:
        table.add(job)
    planned = time.perf_counter() - begin
    at_plan = memory_peak()
    del table, jobs  # upscale_dataset makes its own
    on_ray._Worker = Idle  # type: ignore[assignment,misc]
    begin = time.perf_counter()
    on_ray.find = simulated  # type: ignore[assignment,attr-defined]
    done = 0
    pool = Pool(actors=2, cpus=1, batch=batch)
    for outcome in upscale_dataset([], output="memory://out", model=_MODEL, pool=pool, address="local"):
        done += outcome.error is None
    through = time.perf_counter() - begin
    return {
        "rows": count,
        "of a task": batch,
        "through": done,
        "seconds to plan": round(planned, 1),
        "seconds to plan again and to pass through idle actors": round(through, 1),
        "MB before, after planning, at most": [round(each / 1e6) for each in (before, at_plan, memory_peak())],
    }


def kills(count: int, size: tuple[int, int], every: float) -> dict[str, Any]:
    """A bucket of pictures, through two actors of which one that works is killed every so many seconds."""
    killed: list[int] = []

    def kill() -> None:
        if working := [pid for pid in descendants() if title(pid).endswith(".submit")]:
            killed.append(random.choice(working))
            os.kill(killed[-1], signal.SIGKILL)

    with bucket() as client:
        pool = Pool(actors=2, cpus=1, batch=8)
        found = through(client, count, size, kill, every, pool=pool, address="local")
    return {"actors killed": len(killed), **found}


def nodes(count: int, size: tuple[int, int], every: float) -> dict[str, Any]:
    """The same with a cluster of six nodes, each of processes of its own: the head, which has the driver and no actor,
    and five with room for an actor, of which three are killed one after the other with all their processes."""
    import ray
    from ray.cluster_utils import Cluster

    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
    os.environ["PYTHONPATH"] = str(PHOTO.parents[1])
    room: dict[str, Any] = {"object_store_memory": 100 << 20}
    killed: list[float] = []
    begin = time.perf_counter()
    with bucket() as client:
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **room})
        workers = [cluster.add_node(num_cpus=1, **room) for _ in range(5)]
        ray.init(address=cluster.address, log_to_driver=False)

        def kill() -> None:
            if len(workers) > 2:
                cluster.remove_node(workers.pop(random.randrange(len(workers))), allow_graceful=False)
                killed.append(round(time.perf_counter() - begin, 1))

        try:
            pool = Pool(actors=3, cpus=1, batch=8)
            found = through(client, count, size, kill, every, pool=pool, address=None)
        finally:
            ray.shutdown()
            cluster.shutdown()  # type: ignore[no-untyped-call]
    return {"nodes killed after, s": killed, **found}


@contextmanager
def bucket() -> Iterator[Any]:
    """A client of moto's S3, which has a bucket `pictures`; processes that are started now find it, too."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    endpoint = f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    os.environ |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ["AWS_ENDPOINT_URL"] = endpoint
    client = boto3.client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket="pictures")
    yield client
    server.stop()


def through(
    client: Any,
    count: int,
    size: tuple[int, int],
    kill: Callable[[], None],
    every: float,
    *,
    pool: Pool,
    address: str | None,
) -> dict[str, Any]:
    """What becomes of a bucket's pictures while `kill` is called every so many seconds."""
    originals = dict(pictures(count, size=size))
    for name, content in originals.items():
        client.put_object(Bucket="pictures", Key=f"in/{name}", Body=content)
    over = threading.Event()

    def again_and_again() -> None:
        while not over.wait(every):
            kill()

    thread = threading.Thread(target=again_and_again, daemon=True)
    thread.start()
    begin = time.perf_counter()
    names, errors, again = [], [], 0
    where: dict[str, Any] = {"output": "s3://pictures/out", "address": address, "pool": pool}
    for outcome in upscale_dataset(["s3://pictures/in"], model=_MODEL, denoise="off", **where):
        names.append(outcome.job.source.name)
        errors += [outcome.error] if outcome.error is not None else []
        again += bool(outcome.notes)
    seconds = time.perf_counter() - begin
    over.set()
    thread.join()
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="pictures", Prefix="out/")
    keys = sorted(entry["Key"] for page in pages for entry in page.get("Contents", []))
    wanted = sorted(f"out/{Path(name).stem}_x4.png" for name in originals)
    farthest = 0
    with Upscaler(_MODEL, denoise="off", threads=1) as up:
        for name, content in originals.items():
            if f"out/{Path(name).stem}_x4.png" not in keys:
                continue
            with Image.open(io.BytesIO(content)) as small:
                right = np.asarray(up(small)).astype(int)
            found = client.get_object(Bucket="pictures", Key=f"out/{Path(name).stem}_x4.png")["Body"].read()
            with Image.open(io.BytesIO(found)) as large:
                farthest = max(farthest, int(np.abs(np.asarray(large) - right).max()))
    return {
        "pictures": count,
        "seconds": round(seconds, 1),
        "said once each": len(names) == len(set(names)) == count,
        "errors": len(errors),
        "of which": errors[:3],
        "there after a kill": again,
        "the objects are those wanted": keys == wanted,
        "levels from the plain Upscaler, at most": farthest,
    }


def descendants() -> list[int]:
    """Processes below this one."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has ended
    found = {os.getpid()}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found - {os.getpid()})


def title(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_text().strip("\0 ")
    except OSError:
        return ""


def main() -> None:
    parser = argparse.ArgumentParser(description="What Ray costs and gains.")
    parser.add_argument("what", choices=("rates", "rows", "kills", "nodes"))
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--size", type=int, nargs=2, default=(120, 80), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=16, help="rows of a task, for rows")
    parser.add_argument("--every", type=float, default=8.0, help="seconds between two kills")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    facts = machine.facts()
    size = (args.size[0], args.size[1])
    if args.what == "rates":
        found = rates(args.pictures, size)
    elif args.what == "rows":
        found = rows(args.rows, args.batch)
    else:
        found = (kills if args.what == "kills" else nodes)(args.pictures, size, args.every)
    print("| what | measured |\n|---|---|")
    for name, value in found.items():
        print(f"| {name} | {value} |")
    if args.out is not None:
        held = json.loads(args.out.read_text()) if args.out.exists() else {}
        args.out.write_text(json.dumps({**held, args.what: {"machine": facts, **found}}, indent=1) + "\n")


if __name__ == "__main__":
    main()
