"""A network as OpenVINO's own pair of files, its intermediate representation (IR)."""

from __future__ import annotations

import tempfile
from pathlib import Path

from .library import load_openvino


def openvino_ir(network: bytes, *, fp16: bool) -> tuple[bytes, bytes]:
    """What the .xml and the .bin of a network hold.

    Args:
        network: Serialised ONNX.
        fp16: Keep its weights in float16; what it computes in is the device's choice.

    Raises DeviceError if OpenVINO cannot be loaded.
    """
    openvino = load_openvino()
    model = openvino.Core().read_model(network)
    with tempfile.TemporaryDirectory(prefix="srgan-trt-") as folder:
        xml = Path(folder) / "network.xml"
        openvino.save_model(model, xml, compress_to_fp16=fp16)
        return xml.read_bytes(), xml.with_suffix(".bin").read_bytes()
