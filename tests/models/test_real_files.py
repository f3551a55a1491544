"""Every generator in the shared folder opens, exports, and computes what its own framework computes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srgan_trt.models.loader import open_network

from .conftest import noise, run_onnx


@dataclass(frozen=True)
class Row:
    file: str
    kind: str
    fixed: tuple[int, int] | None
    scale: int
    levels: float = 1.0  # network value of the highest level
    replaced: int = 0  # Lambdas and custom shuffles


ROWS = [
    Row("krasserm_srresnet_x4.h5", "Keras 2 .h5", None, 4, replaced=4),
    Row("krasserm_srgan_x4_savedmodel", "SavedModel", None, 4, levels=255),
    Row("fastsrgan_r2.h5", "Keras 2 .h5", (96, 96), 4),
    Row("fastsrgan_r0.h5", "Keras 2 .h5", (96, 96), 4),
    Row("duong_x4.h5", "Keras 2 .h5", (90, 160), 4),
    Row("rdn_slim_x4.h5", "Keras 2 .h5", None, 4, levels=255),
    Row("pheonix_x2.h5", "Keras 3 .h5", (64, 64), 2, replaced=1),
    Row("honeyrocky_x4.h5", "Keras 2 .h5", None, 4),
    Row("vee_x2.h5", "Keras 2 .h5", (128, 128), 2),
    Row("ned_x4.keras", "Keras 3 .keras", None, 4, levels=255, replaced=2),
    Row("liuchen_x2.h5", "Keras 2 .h5", (32, 32), 2),
    Row("vietanh_srcnn.keras", "Keras 2 .keras", (256, 256), 1),
    Row("pardo_enhance.keras", "Keras 3 .keras", None, 1),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.file)
def test_a_real_file_opens_and_exports_what_it_computes(row: Row, shared_models: Path, tf: Any) -> None:
    network = open_network(shared_models / row.file)
    assert (network.name, network.kind, network.fixed_shape) == (row.file, row.kind, row.fixed)
    assert len(network.source_hash) == 64
    assert sum("its code was not run" in note for note in network.notes) == row.replaced

    height, width = row.fixed or (17, 22)
    model = network.export(17, 22)
    batch = noise(height, width, high=row.levels)
    expected = network.predict(batch)
    assert expected is not None
    assert expected.shape == (1, height * row.scale, width * row.scale, 3)
    np.testing.assert_allclose(run_onnx(model, batch), expected, rtol=0, atol=1e-4 * max(1.0, np.ptp(expected)))


def test_an_exported_graph_is_static_and_has_the_names_the_compiler_expects(shared_models: Path, tf: Any) -> None:
    import onnx

    model = open_network(shared_models / "honeyrocky_x4.h5").export(17, 22)
    onnx.checker.check_model(model, full_check=True)
    ends = [*model.graph.input, *model.graph.output]
    shapes = [[d.dim_value for d in end.type.tensor_type.shape.dim] for end in ends]
    assert [end.name for end in ends] == ["input", "output"]
    assert shapes == [[1, 3, 17, 22], [1, 3, 68, 88]]
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [18]


def test_the_hash_is_of_the_file(shared_models: Path, tf: Any) -> None:
    import hashlib

    path = shared_models / "honeyrocky_x4.h5"
    assert open_network(path).source_hash == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_replaced_lambdas_compute_what_the_original_did(shared_models: Path, tf: Any) -> None:
    """The SavedModel holds the GAN weights with the ranges inside; the weights file of the package, without."""
    from srgan_trt.errors import MissingPackageError
    from srgan_trt.models.registry import packaged

    try:
        bare = open_network(packaged("srgan-x4"))
    except MissingPackageError:
        pytest.skip("the [weights] extra is not installed")
    whole = open_network(shared_models / "krasserm_srgan_x4_savedmodel")
    batch = noise(16, 16, high=255)
    expected = whole.predict(batch)
    assert expected is not None
    found = np.asarray(bare.rebuild()(batch / 255, training=False))  # type: ignore[attr-defined]
    np.testing.assert_allclose((found + 1) * 127.5, expected, rtol=0, atol=0.02)
