"""The service under load: many clients, clients that hang up, dawdle or do nothing, and its throughput beside the
command line's.

    python benchmarks/serve_load.py [--seconds 60] [--clients 50] [--queue 8]

Starts `srgan-trt serve` on a free port of this machine, sends it requests from one process, and prints a table in
Markdown. The client takes a part of the same cores.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

PHOTO = Path(__file__).resolve().parents[1] / "examples/coffee.jpg"
COMMAND = [sys.executable, "-m", "srgan_trt"]
TARGET = "/v1/upscale?denoise=off&format=jpg"
_COPIES = 24
"""Pictures of a run of the command line."""
_LONGEST_WAIT = 2.0
"""Seconds that a client waits at most where it is told to come again."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


async def ask(port: int, method: str, target: str, body: bytes = b"") -> Answer:
    """One request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = (
            f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await writer.drain()
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
        content = await reader.readexactly(int(headers["content-length"]))
        return Answer(int(lines[0].split()[1]), headers, content)
    finally:
        writer.close()


async def metric(port: int, name: str) -> float:
    text = (await ask(port, "GET", "/metrics")).body.decode()
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))


@contextlib.asynccontextmanager
async def serving(*options: str) -> AsyncIterator[tuple[int, asyncio.subprocess.Process]]:
    """(port, process) of a service."""
    command = [*COMMAND, "serve", "--port", "0", "--model", "srgan-photo-x4", *options]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        line = (await process.stdout.readline()).decode()
        found = re.search(r":(\d+)/", line)
        assert found, line
        yield int(found[1]), process
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


@dataclass
class Load:
    """What became of the requests of many clients."""

    seconds: float = 0.0
    answers: Counter[int] = field(default_factory=Counter)
    lost: int = 0
    waits: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    """Bytes, each second."""


async def many_clients(port: int, picture: bytes, *, clients: int, seconds: float) -> Load:
    load = Load()
    begin = time.perf_counter()
    end = begin + seconds

    async def client() -> None:
        while time.perf_counter() < end:
            sent = time.perf_counter()
            try:
                async with asyncio.timeout(120):
                    answer = await ask(port, "POST", TARGET, picture)
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                load.lost += 1
                continue
            load.answers[answer.status] += 1
            if answer.status == 503:
                await asyncio.sleep(min(_LONGEST_WAIT, float(answer.headers["retry-after"])))
            else:
                load.waits.append(time.perf_counter() - sent)

    async def watch() -> None:
        while True:
            load.memory.append(await metric(port, "srgan_trt_resident_bytes"))
            await asyncio.sleep(1)

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(client() for _ in range(clients)))
    load.seconds = time.perf_counter() - begin
    watching.cancel()
    return load


def command_line(picture: bytes, copies: int = _COPIES) -> tuple[float, float]:
    """(pictures per second, opening the model left out; processor seconds in all) of `srgan-trt upscale` on copies of
    the picture."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(copies):
            Path(folder, f"{number}.png").write_bytes(picture)
        command = [*COMMAND, "upscale", folder, "-o", f"{folder}/out/", "--format", "jpg", "--denoise", "off"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    whole, opening = re.search(r"in ([\d.]+) s \(model ([\d.]+)", said).groups()  # type: ignore[union-attr]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return copies / max(0.01, float(whole) - float(opening)), used


def processor_seconds(process: int) -> float:
    """That a running process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def hang_ups(port: int, picture: bytes, *, times: int) -> list[float]:
    """Seconds from hanging up to a free network."""
    found = []
    for _ in range(times):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST {TARGET} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(picture)}\r\n\r\n"
        writer.write(head.encode() + picture)
        await writer.drain()
        while not await metric(port, "srgan_trt_running"):
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.5)
        writer.close()
        begin = time.perf_counter()
        while await metric(port, "srgan_trt_running"):
            await asyncio.sleep(0.005)
        found.append(time.perf_counter() - begin)
    return found


async def served_beside(port: int, picture: bytes, *, connections: int, head: bytes) -> tuple[float, float]:
    """(seconds of a request, bytes of the service) while so many connections are open that have sent `head`."""
    writers = []
    for _ in range(connections):
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head)
            writers.append(writer)
    begin = time.perf_counter()
    answer = await ask(port, "POST", TARGET, picture)
    seconds = time.perf_counter() - begin
    assert answer.status == 200, answer
    memory = await metric(port, "srgan_trt_resident_bytes")
    for writer in writers:
        writer.close()
    return seconds, memory


def pictures() -> tuple[bytes, bytes]:
    """A small photo, and one that takes the network seconds."""
    with tempfile.TemporaryDirectory() as folder, Image.open(PHOTO) as photo:
        for name, size in (("small", (240, 160)), ("large", (1440, 960))):
            photo.resize(size).save(f"{folder}/{name}.png")
        return Path(folder, "small.png").read_bytes(), Path(folder, "large.png").read_bytes()


async def measure(args: argparse.Namespace) -> None:
    small, large = pictures()
    rows: list[tuple[str, str]] = []
    _, opening = command_line(small, 1)
    first = command_line(small)
    async with serving("--queue", str(args.queue), "--max-pixels", "25M") as (port, process):
        await many_clients(port, small, clients=4, seconds=5)  # warm
        begin = processor_seconds(process.pid)
        load = await many_clients(port, small, clients=args.clients, seconds=args.seconds)
        used = (processor_seconds(process.pid) - begin) / load.answers[200]
        second = command_line(small)
        rate, reference = load.answers[200] / load.seconds, (first[0] + second[0]) / 2
        # Of the pictures after the first: what another program on the machine does counts little here.
        usual = ((first[1] + second[1]) / 2 - opening) / (_COPIES - 1)
        waits, memory = sorted(load.waits), load.memory
        rows += [
            (f"{args.clients} clients, {args.seconds:g} s, queue of {args.queue}", f"{load.answers[200]} pictures"),
            ("answered 503 with Retry-After", str(load.answers[503])),
            (
                "other answers; lost or hung",
                f"{load.answers.total() - load.answers[200] - load.answers[503]}; {load.lost}",
            ),
            ("pictures a second", f"{rate:.2f}"),
            (
                "the command line's, before and after",
                f"{first[0]:.2f} and {second[0]:.2f}: the service has {rate / reference:.0%} of their mean",
            ),
            ("processor seconds of a picture", f"{used:.3f}; of the command line {usual:.3f}"),
            ("seconds of a picture that was taken", f"median {waits[len(waits) // 2]:.2f}, longest {waits[-1]:.2f}"),
            (
                "memory after a quarter, a half, the end",
                ", ".join(f"{memory[int((len(memory) - 1) * part)] / 1e6:.0f} MB" for part in (0.25, 0.5, 1)),
            ),
        ]
        freed = await hang_ups(port, large, times=10)
        rows.append(
            ("hung up to free network, 10 times", f"median {sorted(freed)[5]:.2f} s, longest {max(freed):.2f} s")
        )
        slow = f"POST {TARGET} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nx".encode()
        for what, count, head in (
            ("200 uploads that stall", 200, slow),
            ("10,000 idle connections", 10_000, b""),
            ("2,000 half heads", 2_000, b"POST /v1/upscale HTTP/1.1\r\nHost: lo"),
        ):
            seconds, held = await served_beside(port, small, connections=count, head=head)
            rows.append((f"a picture beside {what}", f"{seconds:.2f} s; the service has {held / 1e6:.0f} MB"))
        running = asyncio.create_task(ask(port, "POST", TARGET, large))
        await asyncio.sleep(1)
        process.send_signal(signal.SIGTERM)
        answer, status = await asyncio.gather(running, process.wait())
        rows.append(("SIGTERM while a picture runs", f"the picture: {answer.status}; exit status {status}"))
    print("\n".join(itertools.chain(["| what | measured |", "|---|---|"], (f"| {a} | {b} |" for a, b in rows))))


def main() -> None:
    parser = argparse.ArgumentParser(description="The service under load.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--queue", type=int, default=8)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
