"""The generator's plain ONNX export, by the runtimes that take one: planes in, planes out."""

from __future__ import annotations

import dataclasses
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from baselines import Floats, Image, Ours, to_levels, to_network

if TYPE_CHECKING:
    import onnx
    from generators import Generator

_TILE = 64
_NNCF_TILES = 64


class Exported:
    """What they share: levels to planes and back."""

    def __init__(self, generator: Generator) -> None:
        self._ranges = generator.input_range, generator.output_range

    def __call__(self, image: Image) -> Image:
        planes = np.ascontiguousarray(to_network(image, self._ranges[0]).transpose(2, 0, 1)[None])
        levels = to_levels(self._infer(planes)[0], self._ranges[1])
        return np.ascontiguousarray(levels.transpose(1, 2, 0))

    def _infer(self, planes: Floats) -> Floats:
        """float32 (1, 3, H, W) to float32 (1, 3, 4H, 4W)."""
        raise NotImplementedError


class OnnxRuntime(Exported):
    def __init__(
        self, generator: Generator, export: onnx.ModelProto, *, provider: str = "CPUExecutionProvider"
    ) -> None:
        import onnxruntime

        super().__init__(generator)
        if provider not in onnxruntime.get_available_providers():
            raise RuntimeError(f"this onnxruntime has no {provider}: pip install onnxruntime-gpu")
        self._session = onnxruntime.InferenceSession(export.SerializeToString(), providers=[provider])

    def _infer(self, planes: Floats) -> Floats:
        result: Floats = self._session.run(None, {"input": planes})[0]
        return result


class OpenVino(Exported):
    def __init__(self, generator: Generator, export: onnx.ModelProto, *, precision: str) -> None:
        super().__init__(generator)
        self._network = compiled(export.SerializeToString(), precision)

    def _infer(self, planes: Floats) -> Floats:
        result: Floats = self._network(planes)[0]
        return result


class OpenVinoByNncf(Exported):
    """Post-training quantisation by NNCF with its defaults, on tiles that ours is calibrated with, too; done once."""

    def __init__(self, generator: Generator, *, height: int, width: int) -> None:
        import nncf
        import openvino

        super().__init__(generator)
        core, path = openvino.Core(), generator.folder / f"{generator.name}.nncf.xml"
        if not path.exists():
            tiles = _calibration_tiles(generator)
            exact = core.read_model(generator.export(_TILE, _TILE).SerializeToString())
            dataset = nncf.Dataset([tile[None] for tile in tiles])
            openvino.save_model(nncf.quantize(exact, dataset, subset_size=len(tiles)), path, compress_to_fp16=False)
        network = core.read_model(path)
        network.reshape([1, 3, height, width])
        self._network = core.compile_model(network, "CPU", {"PERFORMANCE_HINT": "LATENCY"})

    def _infer(self, planes: Floats) -> Floats:
        result: Floats = self._network(planes)[0]
        return result


def _calibration_tiles(generator: Generator) -> Floats:
    """Photographs and hard pictures alike, of those that ours has: (N, 3, 64, 64)."""
    from srgan_trt.compiler.int8 import calibration

    pictures = calibration.built_in(scale=4, shape=(_TILE, _TILE))
    half = _NNCF_TILES // 2
    return calibration.values(np.concatenate([pictures.tiles[:half], pictures.hard[:half]]), generator.input_range)


class Ncnn(Exported):
    """ncnn by way of pnnx, which converts the export; ncnn's own settings (fp16 storage where the CPU has it)."""

    def __init__(self, generator: Generator, export: onnx.ModelProto) -> None:
        import ncnn
        import onnx
        import pnnx

        super().__init__(generator)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            onnx.save(export, str(folder / "network.onnx"))
            shape = [dim.dim_value for dim in export.graph.input[0].type.tensor_type.shape.dim]
            command = [pnnx.EXEC_PATH, "network.onnx", f"inputshape={shape}".replace(" ", "")]
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
            param = folder / "network.ncnn.param"
            param.write_text(_with_pixel_shuffles(param.read_text()))
            self._net = ncnn.Net()
            self._net.opt.num_threads = ncnn.get_physical_big_cpu_count()
            if self._net.load_param(str(param)):
                raise RuntimeError("ncnn cannot read what pnnx made of the export")
            self._net.load_model(str(folder / "network.ncnn.bin"))

    def _infer(self, planes: Floats) -> Floats:
        import ncnn

        with self._net.create_extractor() as extractor:
            extractor.input("in0", ncnn.Mat(planes[0]))
            code, result = extractor.extract("out0")
            if code:
                raise RuntimeError(f"ncnn gives no picture of this size ({code}{', memory' if code == -100 else ''})")
            return np.array(result)[None]


def _with_pixel_shuffles(param: str) -> str:
    """ncnn's description of a network with its own layer for DepthToSpace, which pnnx leaves as it is: "type name
    inputs outputs ... key=value", where 0 is the block and mode 1 is DCR."""
    lines = []
    for line in param.splitlines():
        kind, *rest = line.split()
        lines.append(" ".join(["PixelShuffle", *rest, "0=2", "1=1"]) if kind == "DepthToSpace" else line)
    return "\n".join(lines) + "\n"


class TensorRt(Ours):
    """The export as it is, by TensorRT in fp16; pictures go in and out by our pipeline, which makes it no slower."""

    def __init__(self, generator: Generator, export: onnx.ModelProto, plan: Path) -> None:
        from srgan_trt import load_plan

        self._folder = tempfile.TemporaryDirectory()
        path = unmodified_plan(generator, export, plan=load_plan(plan), out=Path(self._folder.name) / "plain.plan.onnx")
        super().__init__(path, precision="fp16", device="cuda")


def unmodified_plan(generator: Generator, export: onnx.ModelProto, *, plan: Any, out: Path) -> Path:
    """A plan whose network is `export`, not rewritten: its size is fixed, its output the finished picture."""
    from srgan_trt.compiler.plan import save_plan

    height, width = (dim.dim_value for dim in export.graph.input[0].type.tensor_type.shape.dim[2:])
    spec = dataclasses.replace(
        plan.spec,
        shuffle=1,
        fixed_shape=(height, width),
        input_range=generator.input_range,
        output_range=generator.output_range,
    )
    return save_plan(export, spec, out).path


def compiled(network: bytes | Path, precision: str) -> Any:
    """An OpenVINO network on all cores, for one picture at a time."""
    import openvino

    core = openvino.Core()
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision]}
    return core.compile_model(core.read_model(network), "CPU", settings)
