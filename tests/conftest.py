"""Fixtures every room's tests share: where the real models and pictures are, and a clean user cache. And on a machine
with a GPU, that they are tests of the CPU all the same."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

if os.environ.get("SRGAN_TRT_ON_GPU") != "1":
    # Before anything loads the driver, which looks once: or device "auto" were the GPU. `make gpu-check` is for GPUs.
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts its background jobs so, and they hand it on: the programs under test would not see Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)

_DEFAULT_SHARED = Path(__file__).resolve().parents[2] / "shared"


def _shared(folder: str) -> Path:
    path = Path(os.environ.get("SRGAN_TRT_SHARED", _DEFAULT_SHARED)) / folder
    if not path.is_dir():
        pytest.skip(f"no shared {folder} here: set SRGAN_TRT_SHARED to the folder that holds them")
    return path


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """Real generators made by other people; never copied into the repository."""
    return _shared("models")


@pytest.fixture(scope="session")
def shared_images() -> Path:
    """Test and training pictures; never copied into the repository."""
    return _shared("images")


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests never read or fill the user's cache."""
    os.environ["SRGAN_TRT_CACHE"] = str(tmp_path_factory.mktemp("cache"))


_FULL = (
    "benchmarks/", "compiler/int8/", "csrc/test_cuda", "cuda_driver/", "cuda_host/", "gpu/", "runtime/tensorrt/",
    "runtime/gpu/", "serve/test_clients.py", "serve/test_page.py", "serve/test_server.py",
    "tensorrt/", "tensorrt_double/", "training/", "cli/test_build.py", "cli/test_evaluate.py",
    "cli/test_train.py", "models/", "cli/test_upscale.py", "cli/test_upscale_gpu.py", "test_fidelity.py",
    "test_exports_in_node.py", "test_gpu_check", "test_keras.py", "test_ray.py", "test_readme.py",
    "video/test_work.py", "test_upscaler_on_gpu.py",
)  # fmt: skip
"""What `make check` leaves to `make test`: it needs TensorFlow, nvcc or TensorRT, or takes long."""
_CHECKED = (
    "models/test_card.py", "models/test_config_graph.py", "models/test_hdf5.py", "models/test_ncnn_file.py",
    "models/test_onnx_graph.py", "models/test_registry.py", "models/test_remote.py", "models/test_torch_file.py",
    "models/test_pickle_data.py",
    "training/test_degrade.py", "training/test_pictures.py", "training/test_recipe.py",
    "training/test_report.py", "training/test_crops.py", "training/test_learning_rate.py", "runtime/gpu/test_tiling.py",
)  # fmt: skip
"""But for these."""


_LONG = ("test_readme.py", "tensorrt/test_networks.py", "test_ray.py", "test_fidelity.py", "runtime/gpu/test_faults.py")
"""Run first, so that no process is left with a long test when the others are done."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    tests = Path(__file__).parent

    def name(item: pytest.Item) -> str:
        return item.path.relative_to(tests).as_posix() if item.path.is_relative_to(tests) else ""

    for item in items:
        if name(item).startswith(_FULL) and not name(item).startswith(_CHECKED):
            item.add_marker(pytest.mark.full)
    items.sort(key=lambda item: not name(item).startswith(_LONG))
