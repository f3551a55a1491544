#!/usr/bin/env python3
"""Mutated models, pictures and plans, each opened by a worker that may hang or crash: all are read or refused in words.

Usage: python scripts/fuzz.py [--h5 60] [--keras 20] [--onnx 100] [--pth 100] [--safetensors 100] [--ncnn 100]
           [--picture 300] [--plan 60] (or: make fuzz ARGS=...)
       python scripts/fuzz.py --only onnx:17    one case again, with its traceback

Exit status 1 if anything took over 60 s or 4 GB, ended in a traceback, or ended its process. The Keras kinds are left
out where TensorFlow is not installed. A case is its kind and number: the same on every machine with the same libraries.
"""

from __future__ import annotations

import argparse
import collections
import io
import json
import os
import select
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from fuzz_cases import make_case, make_keras_seeds, make_seeds

DEFAULTS = {
    "h5": 60, "keras": 20, "onnx": 100, "pth": 100, "safetensors": 100, "ncnn": 100, "picture": 300, "plan": 60,
}  # fmt: skip
SECONDS, MEMORY = 60.0, 4096
"""Limits of one case, the second in MB."""


def open_case(path: Path, kind: str) -> bool:
    """Whether it was taken. Raises what the package lets through: SrganTrtError is a refusal."""
    import srgan_trt
    from srgan_trt.cli.main import main
    from srgan_trt.imaging.decode import decode

    if kind == "picture":
        decode(path)
    elif kind == "plan":
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            return main(["info", str(path)]) == 0
    else:
        out = path.with_name("out.plan.onnx")
        srgan_trt.build(path, out=out, input_range=(0, 1), output_range=(-1, 1))
    return True


def work(seeds: Path, *, whole: bool) -> None:
    """Does the jobs of standard input, one a line, and writes an outcome for each."""
    import resource

    from srgan_trt.errors import SrganTrtError

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory(prefix="srgan-fuzz-") as folder:
        for line in sys.stdin:
            job = line.strip()
            path = make_case(job, seeds, Path(folder))
            try:
                outcome = "taken" if open_case(path, job.partition(":")[0]) else "refused"
            except SrganTrtError as error:
                outcome = "refused" if "\n" not in str(error) else f"more than a line: {error}"
            except BaseException as error:
                frame = traceback.extract_tb(error.__traceback__)[-1]
                outcome = f"{type(error).__name__} in {Path(frame.filename).name}:{frame.name}"
                if whole:
                    traceback.print_exc()
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            print(json.dumps([outcome, memory]), file=answers, flush=True)


class Worker:
    """A process that does one job after another, until one of them ends it."""

    def __init__(self, seeds: Path, *, whole: bool) -> None:
        self._command = [sys.executable, __file__, "--work", str(seeds), *(["--whole"] if whole else [])]
        self._process: subprocess.Popen[str] | None = None

    def outcome(self, job: str) -> str:
        if self._process is None:
            quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CI": "true", "OMP_NUM_THREADS": "1"}
            errors = None if "--whole" in self._command else subprocess.DEVNULL
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
                env=os.environ | quiet,
            )  # fmt: skip
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        print(job, file=process.stdin, flush=True)
        if not select.select([process.stdout], [], [], SECONDS)[0]:
            return self._ended(f"over {SECONDS:.0f} s")
        line = process.stdout.readline()
        if not line:
            return self._ended("ended its process")
        outcome, memory = json.loads(line)
        return self._ended(f"{memory} MB") if memory > MEMORY else str(outcome)

    def _ended(self, outcome: str) -> str:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None
        return outcome

    def close(self) -> None:
        if self._process is not None:
            self._ended("")


def jobs(counts: dict[str, int], seeds: Path) -> Iterator[str]:
    for kind, count in counts.items():
        if any(seeds.glob(f"*.{kind}")):
            yield from (f"{kind}:{number}" for number in range(count))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for kind, count in DEFAULTS.items():
        parser.add_argument(f"--{kind}", type=int, default=count, metavar="N")
    parser.add_argument("--only", metavar="KIND:NUMBER")
    parser.add_argument("--work", metavar="SEEDS", help=argparse.SUPPRESS)
    parser.add_argument("--whole", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(Path(args.work), whole=args.whole)
        return 0
    found: dict[str, list[str]] = collections.defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="srgan-seeds-") as folder:
        seeds = Path(folder)
        make_seeds(seeds)
        if args.h5 or args.keras:
            make_keras_seeds(seeds)
        worker = Worker(seeds, whole=args.only is not None)
        start = time.monotonic()
        for job in [args.only] if args.only else jobs({kind: getattr(args, kind) for kind in DEFAULTS}, seeds):
            found[f"{job.partition(':')[0]:8} {worker.outcome(job)}"].append(job)
        worker.close()
    print(f"{sum(map(len, found.values()))} cases in {time.monotonic() - start:.0f} s")
    faults = 0
    for outcome, cases in sorted(found.items()):
        fine = outcome.endswith((" taken", " refused"))
        faults += 0 if fine else len(cases)
        print(f"{len(cases):6} {outcome}{'' if fine else ': ' + ', '.join(cases[:8])}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
