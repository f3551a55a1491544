#!/usr/bin/env python3
"""Mutated models, pictures and plans, each opened by a worker that may hang or crash: all are read or refused in words.

Usage: python scripts/fuzz.py [--h5 60] [--keras 20] [--onnx 100] [--picture 300] [--plan 60] (or: make fuzz ARGS=...)
       python scripts/fuzz.py --only onnx:17    one case again, with its traceback

Exit status 1 if anything took over 60 s or 4 GB, ended in a traceback, or ended its process. The Keras kinds are left
out where TensorFlow is not installed. A case is its kind and number: the same on every machine with the same libraries.
"""

from __future__ import annotations

import argparse
import collections
import importlib.util
import io
import json
import os
import random
import select
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

DEFAULTS = {"h5": 60, "keras": 20, "onnx": 100, "picture": 300, "plan": 60}
SECONDS, MEMORY = 60.0, 4096
"""Limits of one case, the second in MB."""
_ODD = (
    None, -1, 0, 1, 3, 1e308, -1e-9, float("nan"), "", "x", [], {}, [0], [-1, 2], 2**31, 2**63, True, "é\0", 65536,
    {"class_name": "x", "config": {}}, [[["in", 0, 0, {}]]],
)  # fmt: skip
_OPERATORS = "Conv Relu Resize If Loop Transpose Reshape Custom DepthToSpace Gather Concat".split()


def make_seeds(folder: Path) -> None:
    """The whole files that cases are mutated from."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from PIL import Image

    import srgan_trt

    dice = np.random.default_rng(0)
    values = {"w": dice.normal(0, 0.1, (12, 3, 3, 3)), "s": dice.uniform(0.1, 0.3, (12, 1, 1))}
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["a"], pads=[1] * 4),
            helper.make_node("PRelu", ["a", "s"], ["b"]),
            helper.make_node("DepthToSpace", ["b"], ["c"], blocksize=2),
            helper.make_node("Tanh", ["c"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3, "H", "W"])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in values.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), folder / "net.onnx")
    srgan_trt.build(folder / "net.onnx", out=folder / "net.plan", input_range=(0, 1), output_range=(-1, 1))
    photo = Image.fromarray(dice.integers(0, 256, (12, 16, 3), np.uint8))
    for suffix in ("png", "jpg", "tif", "webp", "gif", "bmp"):
        photo.save(folder / f"photo.{suffix}.picture", format={"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix))


def make_keras_seeds(folder: Path) -> None:
    """Those that need TensorFlow, where it is."""
    if importlib.util.find_spec("tf_keras") is None or importlib.util.find_spec("keras") is None:
        return
    import keras
    import tf_keras

    for library, name in ((tf_keras, "two"), (keras, "three")):
        model = _generator(library)
        model.save(folder / f"{name}.h5")
        if library is keras:
            model.save(folder / f"{name}.keras")


def _generator(keras: Any) -> Any:
    layers = keras.layers
    x = start = layers.Input((None, None, 3))
    x = layers.PReLU(shared_axes=[1, 2])(layers.Conv2D(4, 3, padding="same")(x))
    y = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(x))
    x = layers.UpSampling2D(2)(layers.Add()([x, y]))
    return keras.Model(start, layers.Conv2D(3, 3, padding="same", activation="tanh")(x))


def mutated_bytes(dice: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    at, length = dice.randrange(len(out)), dice.choice([1, 4, 16, 256])
    match dice.randrange(6):
        case 0 | 1 | 2:
            for _ in range(length):
                out[dice.randrange(len(out))] = dice.choice([0, 127, 128, 255, dice.randrange(256)])
        case 3:
            del out[at:]
        case 4:
            out[at : at + length] = bytes(len(out[at : at + length]))
        case _:
            out[at:at] = dice.randbytes(length)
    return bytes(out)


def mutated_json(dice: random.Random, text: str | bytes) -> str:
    tree = json.loads(text)
    places: list[tuple[Any, Any]] = []
    pending = [tree]
    while pending:
        part = pending.pop()
        keys = list(part) if isinstance(part, dict) else range(len(part))
        places += [(part, key) for key in keys]
        pending += [part[key] for key in keys if isinstance(part[key], dict | list)]
    for _ in range(dice.choice([1, 1, 2, 4])):
        part, key = dice.choice(places)
        try:
            match dice.randrange(4):
                case 0:
                    del part[key]
                case 1:
                    part[key] = [part[key]] * 3
                case _:
                    part[key] = dice.choice(_ODD)
        except (IndexError, KeyError):
            continue
    return json.dumps(tree)


def mutated_h5(dice: random.Random, data: bytes) -> bytes:
    import h5py
    import numpy as np

    if dice.random() < 0.5:
        return mutated_bytes(dice, data)
    stream = io.BytesIO(data)
    with h5py.File(stream, "r+") as file:
        if dice.random() < 0.6 and "model_config" in file.attrs:
            config = mutated_json(dice, file.attrs["model_config"])
            del file.attrs["model_config"]
            file.attrs["model_config"] = config
            return _closed(file, stream)
        items: list[Any] = []
        file.visititems(lambda _, item: items.append(item))
        item = dice.choice(items)
        name, shape = item.name, getattr(item, "shape", (1,))
        if dice.random() < 0.3 and len(item.attrs):
            item.attrs[dice.choice(list(item.attrs))] = dice.choice(
                ["x", 3, np.zeros(0), np.zeros((2, 2)), b"\xff", ""]
            )
            return _closed(file, stream)
        del file[name]
        match dice.randrange(6):
            case 0:
                file[name] = np.zeros((*shape, 2), np.float32)
            case 1:
                file[name] = np.full(shape, np.nan)
            case 2:
                file[name] = h5py.SoftLink("/")
            case 3:
                file[name] = file["/"]
            case 4:
                file.create_dataset(name, shape=(2**20, 2**20, 2**10), chunks=(64, 64, 1), dtype="f4")
            case _:
                file.create_group(name)
    return stream.getvalue()


def _closed(file: Any, stream: io.BytesIO) -> bytes:
    file.close()
    return stream.getvalue()


def mutated_keras(dice: random.Random, data: bytes) -> bytes:
    if dice.random() < 0.3:
        return mutated_bytes(dice, data)
    source, out = zipfile.ZipFile(io.BytesIO(data)), io.BytesIO()
    victim = dice.choice([*source.namelist(), "config.json", "config.json"])
    with zipfile.ZipFile(out, "w") as target:
        for member in source.namelist():
            content = source.read(member)
            if member == victim:
                change = mutated_h5 if member.endswith(".h5") else lambda d, c: mutated_json(d, c).encode()
                content = change(dice, content)
            target.writestr(member, content)
    return out.getvalue()


def mutated_onnx(dice: random.Random, data: bytes) -> bytes:
    import onnx

    if dice.random() < 0.4:
        return mutated_bytes(dice, data)
    model = onnx.ModelProto.FromString(data)
    graph = model.graph
    node, tensor = dice.choice(graph.node), dice.choice(graph.initializer)
    sides = dice.choice([graph.input[0], graph.output[0]]).type.tensor_type.shape.dim
    number = dice.choice([-1, 0, 1, 3, 2**31, 2**62])
    match dice.randrange(9):
        case 0:
            node.op_type = dice.choice(_OPERATORS)
        case 1:
            node.input[0] = dice.choice([name for other in graph.node for name in other.output] + [""])
        case 2 if node.attribute:
            attribute = dice.choice(node.attribute)
            attribute.i = number
            if attribute.ints:
                attribute.ints[0] = number
        case 3:
            tensor.dims[dice.randrange(len(tensor.dims))] = number
        case 4:
            tensor.data_type = dice.choice([0, 2, 6, 7, 8, 10, 16, 99])
        case 5:
            tensor.raw_data = dice.choice([tensor.raw_data[:7], b"\xff" * len(tensor.raw_data)])
        case 6:
            graph.node.remove(node)
        case 7:
            model.opset_import[0].version = dice.choice([-1, 0, 1, 7, 13, 22, 1000])
        case _:
            dice.choice(sides).dim_value = number
    return model.SerializeToString()


def mutated_plan(dice: random.Random, data: bytes) -> bytes:
    """Bytes, or the metadata sealed again: as whoever makes a plan by hand would."""
    import onnx

    from srgan_trt.compiler.plan import _seal

    if dice.random() < 0.3:
        return mutated_bytes(dice, data)
    model = onnx.ModelProto.FromString(data)
    entries = {entry.key.removeprefix("srgan_trt."): entry.value for entry in model.metadata_props}
    del entries["seal"]
    key = dice.choice([*entries, "spec", "report", "report", "self_test"])
    text = entries.get(key, '{"picture": {"shape": [2, 2, 3], "zlib": "eJw="}, "fidelity": 50}')
    if key in ("spec", "report", "self_test"):
        entries[key] = mutated_json(dice, text)
    else:
        entries[key] = str(dice.choice(_ODD))
    seal = onnx.ModelProto()
    for name, value in (entries | {"seal": _seal(entries)}).items():
        seal.metadata_props.add(key=f"srgan_trt.{name}", value=value.replace("\0", ""))
    del model.metadata_props[:]
    return model.SerializeToString() + seal.SerializeToString()


MUTATE: dict[str, Callable[[random.Random, bytes], bytes]] = {
    "h5": mutated_h5, "keras": mutated_keras, "onnx": mutated_onnx, "picture": mutated_bytes, "plan": mutated_plan,
}  # fmt: skip


def make_case(job: str, seeds: Path, folder: Path) -> Path:
    kind = job.partition(":")[0]
    dice = random.Random(job)
    data = dice.choice(sorted(seeds.glob(f"*.{kind}"))).read_bytes()
    for _ in range(20):
        try:
            case = MUTATE[kind](dice, data)
            break
        except Exception:  # a mutation that its own library refuses is not a case: another
            continue
    path = folder / f"case.{'onnx' if kind == 'plan' else kind}"
    path.write_bytes(case)
    return path


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
