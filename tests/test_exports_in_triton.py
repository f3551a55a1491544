"""A real Triton Inference Server reads what is exported for it, and gives our picture.

The server comes with PyPI's nvidia-pytriton, which is installed by whoever wants to see this:
pip install --no-deps nvidia-pytriton==0.7.0. It has the backend python only, not onnxruntime: a backend of that name,
written here in Python, runs onnxruntime on the model's file. All else is Triton's own: what it reads of the repository
and of config.pbtxt, and which requests it takes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from numpy.typing import NDArray

from srgan_trt.exports import export
from srgan_trt.resolve import open_plan
from srgan_trt.upscaler import Upscaler

from .handmade import differences, noise
from .test_exports import from_values, to_values

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(find_spec("pytriton") is None, reason="pip install --no-deps nvidia-pytriton==0.7.0"),
]

BACKEND = """
import os
import sys

sys.path.insert(0, SITE_PACKAGES)  # Triton's Python looks at no environment
import numpy as np
import onnxruntime
import triton_python_backend_utils as utils


class TritonPythonModel:
    def initialize(self, args):
        path = os.path.join(args["model_repository"], args["model_version"], "model.onnx")
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def execute(self, requests):
        # by DLPack: this Triton's own arrays are of NumPy 1
        images = [np.from_dlpack(utils.get_input_tensor_by_name(request, "image")) for request in requests]
        results = [self.session.run(["result"], {"image": image})[0] for image in images]
        return [utils.InferenceResponse([utils.Tensor.from_dlpack("result", result)]) for result in results]
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a Triton that serves the models "floats" and "bytes"."""
    (place,) = find_spec("pytriton").submodule_search_locations  # type: ignore[union-attr]
    triton = Path(place) / "tritonserver"
    folder = tmp_path_factory.mktemp("triton")
    plan = open_plan("srresnet-fast-x4")
    export(plan, out=folder / "models/floats", to="triton")
    export(plan, out=folder / "models/bytes", to="triton", layout="nhwc-uint8")
    shutil.copytree(triton / "backends/python", folder / "backends/python")
    stub = (
        triton / "python_backend_stubs" / f"{sys.version_info[0]}.{sys.version_info[1]}" / "triton_python_backend_stub"
    )
    shutil.copy(stub, folder / "backends/python")
    (folder / "backends/python/triton_python_backend_stub").chmod(0o755)
    (folder / "backends/onnxruntime").mkdir()
    (folder / "backends/onnxruntime/model.py").write_text(
        BACKEND.replace("SITE_PACKAGES", repr(sysconfig.get_path("purelib")))
    )
    shutil.copy(triton / "bin/tritonserver", folder)
    (folder / "tritonserver").chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        folder / "tritonserver", "--model-repository", folder / "models", "--backend-directory", folder / "backends",
        "--http-address", "127.0.0.1", "--http-port", str(port), "--allow-grpc", "false", "--allow-metrics", "false",
        "--disable-auto-complete-config",
    ]  # fmt: skip
    libraries = {"LD_LIBRARY_PATH": str(Path(place).parent / "nvidia_pytriton.libs")}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=os.environ | libraries, stdout=log, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)
        print((folder / "log").read_text())


@pytest.fixture
def ready(address: str) -> str:
    """The address, when all models are ready."""
    for _ in range(240):
        with contextlib.suppress(requests.ConnectionError):  # it does not listen yet
            if requests.get(f"{address}/v2/health/ready", timeout=10).ok:
                return address
        time.sleep(0.25)
    pytest.fail("Triton is not ready after a minute: its log is below")


def asked(address: str, model: str, values: NDArray[Any]) -> NDArray[Any]:
    """What Triton answers, by its binary form of the open inference protocol. Raises ValueError with its refusal."""
    kind = {"uint8": "UINT8", "float32": "FP32"}[str(values.dtype)]
    given = {
        "name": "image",
        "shape": values.shape,
        "datatype": kind,
        "parameters": {"binary_data_size": values.nbytes},
    }
    head = json.dumps(
        {"inputs": [given], "outputs": [{"name": "result", "parameters": {"binary_data": True}}]}
    ).encode()
    answer = requests.post(
        f"{address}/v2/models/{model}/infer",
        head + values.tobytes(),
        headers={"Inference-Header-Content-Length": str(len(head))},
        timeout=60,
    )
    if not answer.ok:
        raise ValueError(answer.json()["error"])
    end = int(answer.headers["Inference-Header-Content-Length"])
    (result,) = json.loads(answer.content[:end])["outputs"]
    assert result["datatype"] == kind
    return np.frombuffer(answer.content[end:], values.dtype).reshape(result["shape"])


def test_its_picture_is_ours_to_one_level(ready: str) -> None:
    with Upscaler(dataclasses.replace(open_plan("srresnet-fast-x4"), int8=None), exact=True) as up:
        for height, width in ((8, 8), (33, 20)):
            image = noise(height, width)
            assert differences(asked(ready, "bytes", image[None])[0], up(image)).max() <= 1
            assert differences(from_values(asked(ready, "floats", to_values(image))), up(image)).max() <= 1


def test_it_refuses_what_the_configuration_does_not_name(ready: str) -> None:
    with pytest.raises(ValueError, match="unexpected shape for input 'image'"):
        asked(ready, "bytes", np.zeros((1, 8, 8, 4), np.uint8))
    with pytest.raises(ValueError, match="data-type"):
        asked(ready, "bytes", np.zeros((1, 8, 8, 3), np.float32))
