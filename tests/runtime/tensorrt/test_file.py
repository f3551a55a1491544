"""Engine files: what is in them, and that nothing of a wrong one reaches TensorRT."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from srgan_trt.codec import encode
from srgan_trt.compiler.fp16 import Float32Layer
from srgan_trt.compiler.plan import Plan
from srgan_trt.errors import DeviceError, PlanError, pip_command
from srgan_trt.runtime.gpu.device import Gpu
from srgan_trt.runtime.gpu.interfaces import EngineSettings
from srgan_trt.runtime.tensorrt.file import (
    MAGIC,
    EngineHeader,
    check_fit,
    describe_engine,
    is_engine,
    layer_table,
    other_driver,
    read_engine,
    read_header,
    write_engine,
)
from srgan_trt.runtime.tensorrt.layers import BuiltLayer
from srgan_trt.runtime.tensorrt.library import Library
from srgan_trt.self_test import SelfTest

from ...handmade import noise, small_plan, small_spec
from ...mutated import mutations

DATA = bytes(range(256)) * 40
ADA = Gpu(0, "NVIDIA GeForce RTX 4090", (8, 9), "13.0", 24 << 30, 128)
RTX = Library("tensorrt-rtx", "1.7.1", None)
LAYERS = (
    BuiltLayer("__cast", "kgen", "fp16", "fp16", None, ()),
    BuiltLayer("conv_myl0_1", "correlation", "fp16", "fp16", "fp16", ("conv", "relu")),
    BuiltLayer("last_myl0_2", "correlation", "fp32", "fp32", "fp32", ("last",)),
)


def header(**changes: Any) -> EngineHeader:
    facts: dict[str, Any] = {
        "spec": small_spec(),
        "plan_hash": "ab" * 32,
        "flavour": "tensorrt-rtx",
        "library": "1.7.1",
        "compute_capabilities": ((8, 6), (8, 9)),
        "gpu": None,
        "cuda": None,
        "driver": None,
        "settings": EngineSettings(precision="fp16", tile=(256, 192), batch=4),
        "element": "float16",
        "layers": LAYERS,
        "unreported": 0,
        "float32": (Float32Layer("last", "Conv", "values reach 7e+04, float16 ends at 65504"),),
        "engine_bytes": len(DATA),
        "engine_sha256": hashlib.sha256(DATA).hexdigest(),
    }
    return EngineHeader(**facts | changes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "small.engine"
    write_engine(path, header(), DATA)
    return path


class TestContent:
    def test_what_is_written_is_read(self, path: Path) -> None:
        assert read_engine(path) == (header(), DATA)
        assert read_header(path) == header()
        assert is_engine(path)

    def test_the_picture_of_the_plan_travels_along(self, tmp_path: Path) -> None:
        picture = noise(8, 8)
        self_test = SelfTest.of(picture, exact=picture.repeat(4, 0).repeat(4, 1), plan=noise(32, 32, seed=1))
        write_engine(tmp_path / "a.engine", header(self_test=self_test), DATA)
        read = read_header(tmp_path / "a.engine").self_test
        assert read is not None
        assert encode(read) == encode(self_test)

    def test_a_gpu_and_a_driver_are_told(self, tmp_path: Path) -> None:
        built_here = header(gpu=ADA.name, cuda=ADA.driver, driver="580.65.06", settings=EngineSettings(
            precision="fp32", tile=(64, 64), batch=1, compute_capability=(8, 9),
        ))  # fmt: skip
        write_engine(tmp_path / "here.engine", built_here, DATA)
        assert read_header(tmp_path / "here.engine") == built_here

    def test_nvidias_bytes_are_the_files_last(self, path: Path) -> None:
        content = path.read_bytes()
        assert content.startswith(MAGIC)
        assert content.endswith(DATA)

    def test_nothing_half_written_stays(self, tmp_path: Path) -> None:
        folder = tmp_path / "folder.engine"
        folder.mkdir()
        (folder / "file").touch()
        with pytest.raises(PlanError, match=r"cannot write the engine .*folder\.engine"):
            write_engine(folder, header(), DATA)
        assert [each.name for each in tmp_path.iterdir()] == ["folder.engine"]


class TestDamage:
    """Every byte of the file is behind a hash."""

    @pytest.mark.parametrize("where", ["header", "seal", "length", "engine", "last byte"])
    def test_a_changed_byte(self, where: str, path: Path) -> None:
        content = bytearray(path.read_bytes())
        start = len(content) - len(DATA)
        position = {"header": 100, "seal": 30, "length": 17, "engine": start + 5, "last byte": -1}[where]
        content[position] ^= 0x10
        path.write_bytes(content)
        with pytest.raises(PlanError, match=r"small\.engine .*(damaged|cut off)"):
            read_engine(path)

    @pytest.mark.parametrize("kept", [0, 10, 20, 40, 300, -len(DATA), -1])
    def test_a_cut_off_file(self, kept: int, path: Path) -> None:
        path.write_bytes(path.read_bytes()[:kept])
        with pytest.raises(PlanError, match=r"small\.engine (is not an engine|is cut off)"):
            read_engine(path)

    def test_something_after_the_end(self, path: Path) -> None:
        path.write_bytes(path.read_bytes() + b"more")
        with pytest.raises(PlanError, match="changed or damaged"):
            read_engine(path)

    @pytest.mark.parametrize("content", [b"", b"ONNX", DATA])
    def test_a_foreign_file(self, content: bytes, tmp_path: Path) -> None:
        path = tmp_path / "trtexec.engine"
        path.write_bytes(content)
        assert not is_engine(path)
        with pytest.raises(PlanError, match=r"trtexec\.engine is not an engine of srgan-trt"):
            read_header(path)

    def test_no_file(self, tmp_path: Path) -> None:
        for read in (read_header, read_engine):
            with pytest.raises(PlanError, match=r"cannot read the engine .*none\.engine: No such file"):
                read(tmp_path / "none.engine")

    @pytest.mark.parametrize(
        "change",
        [
            lambda text: text.replace(b'"format":"5"', b'"format":"4"'),
            lambda text: text.replace(b'"flavour"', b'"flavor"'),
            lambda text: text.replace(b'"batch"', b'"count"'),
            lambda text: text.replace(b'"made_of"', b'"nodes"'),
            lambda text: b"[]",
            lambda text: b"{",
            lambda text: b"\xff",
        ],
    )
    def test_a_header_of_another_version(self, change: Callable[[bytes], bytes], tmp_path: Path) -> None:
        path = tmp_path / "old.engine"
        write_sealed_header(path, change(encode(header())))
        with pytest.raises(PlanError, match=r"old\.engine was written by another version of srgan-trt.*again"):
            read_engine(path)

    @pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(EngineHeader)])
    def test_no_value_of_a_header_gives_another_error(self, name: str, tmp_path: Path) -> None:
        """The hashes tell of damage, not of whoever writes a file with hashes of its own."""
        path = tmp_path / "own.engine"
        picture = noise(4, 4)
        self_test = SelfTest.of(picture, exact=noise(16, 16), plan=noise(16, 16, seed=1))
        fields = json.loads(encode(header(self_test=self_test)))
        for mutated in mutations(fields, name):
            write_sealed_header(path, mutated)
            with contextlib.suppress(PlanError):
                read = read_header(path)
                list(describe_engine(read, path))
                layer_table(read)


def write_sealed_header(path: Path, text: bytes) -> None:
    path.write_bytes(MAGIC + len(text).to_bytes(8, "little") + hashlib.sha256(text).digest() + text + DATA)


class TestFit:
    def test_any_gpu_that_it_was_built_for(self, path: Path) -> None:
        check_fit(header(), path, library=RTX, gpu=ADA)
        check_fit(header(), path, library=RTX, gpu=dataclasses.replace(ADA, compute_capability=(8, 6)))

    def test_another_gpu(self, path: Path) -> None:
        turing = dataclasses.replace(ADA, name="Tesla T4", compute_capability=(7, 5))
        with pytest.raises(DeviceError, match=r"capability 8\.6, 8\.9, this Tesla T4 has 7\.5: build it again"):
            check_fit(header(), path, library=RTX, gpu=turing)

    def test_the_other_tensorrt(self, path: Path) -> None:
        other = Library("tensorrt", "1.7.1", None)
        with pytest.raises(
            DeviceError, match="for tensorrt-rtx, tensorrt is .*" + re.escape(pip_command("tensorrt-rtx"))
        ):
            check_fit(header(), path, library=other, gpu=ADA)

    def test_another_version(self, path: Path) -> None:
        newer = dataclasses.replace(RTX, version="1.8.0")
        with pytest.raises(DeviceError, match=r"tensorrt-rtx 1\.7\.1, 1\.8\.0 is installed.*pip install .*==1\.7\.1"):
            check_fit(header(), path, library=newer, gpu=ADA)

    def test_another_plan(self, path: Path, tmp_path: Path) -> None:
        plan = small_plan(tmp_path)
        with pytest.raises(PlanError, match=r"another plan than .*small\.onnx"):
            check_fit(header(), path, library=RTX, gpu=ADA, plan=plan)
        check_fit(header(plan_hash=plan.body_hash), path, library=RTX, gpu=ADA, plan=plan)
        assert isinstance(plan, Plan)

    def test_another_driver_is_a_matter_of_tensorrt_alone(self, path: Path) -> None:
        """TensorRT's kernels are the engine's own; TensorRT-RTX compiles its own where it runs."""
        trt = Library("tensorrt", "11.4.0", None)
        built = header(flavour="tensorrt", library="11.4.0", gpu=ADA.name, cuda="13.0", driver="580.65.06")
        assert other_driver(built, "590.10") == "was built with the driver 580.65.06, 590.10 is installed"
        assert other_driver(built, "580.65.06") is None
        assert other_driver(built, "") is None
        assert other_driver(dataclasses.replace(built, driver=""), "590.10") is None
        assert other_driver(header(driver="580.65.06"), "590.10") is None
        check_fit(built, path, library=trt, gpu=ADA)

    def test_other_settings(self, path: Path) -> None:
        own = header().settings
        check_fit(header(), path, library=RTX, gpu=ADA, settings=own)
        for change in ({"precision": "fp32"}, {"tile": (64, 64)}, {"batch": 1}):
            with pytest.raises(PlanError, match=r"small\.engine was built for other settings: .*build it again"):
                check_fit(header(), path, library=RTX, gpu=ADA, settings=dataclasses.replace(own, **change))


class TestDescription:
    def test_what_info_says(self, path: Path) -> None:
        rows = dict(describe_engine(read_header(path), path))
        assert rows["engine"].endswith("small, x4, for tensorrt-rtx 1.7.1")
        assert "8.6, 8.9" in rows["for"]
        assert rows["built"].startswith("without a GPU")
        here = header(gpu=ADA.name, cuda="13.0", driver="580.65.06")
        for each, said in (
            (here, "driver 580.65.06 for CUDA 13.0,"),
            (dataclasses.replace(here, driver=""), "driver for CUDA"),
        ):
            assert dict(describe_engine(each, path))["built"].startswith(f"on NVIDIA GeForce RTX 4090, {said}")
        assert rows["precision"] == "fp16 was asked for; convolutions as built: 1 in fp16, 1 in fp32"
        assert rows["fp32"] == "last (Conv): values reach 7e+04, float16 ends at 65504"
        assert rows["tiles"] == "at most 192 x 256 pixels, at most 4 at once"

    def test_what_tensorrt_did_not_tell_is_said(self, path: Path) -> None:
        said = dict(describe_engine(header(unreported=2), path))["precision"]
        assert said.endswith("1 in fp16, 1 in fp32, 2 not told")

    def test_the_layers_with_the_precision_really_built(self, path: Path) -> None:
        lines = layer_table(read_header(path)).splitlines()
        assert [line.split()[:5] for line in lines[1:]] == [
            ["1", "kgen", "fp16", "-", "fp16"],
            ["2", "correlation", "fp16", "fp16", "fp16"],
            ["3", "correlation", "fp32", "fp32", "fp32"],
        ]
        assert lines[2].endswith("conv, relu")
        assert lines[1].endswith("__cast")
