"""The generators: as published, in parts that Keras can save, and taken up again from their files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from srgan_trt.errors import ModelError
from srgan_trt.models.generator import ARCHITECTURES, compact_generator, paper_generator, superresolution_gans_generator
from srgan_trt.models.weights_only import known_generator


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_pictures_of_any_size_in_pictures_in_its_range_out(arch: str, precision: str) -> None:
    model = ARCHITECTURES[arch].make(blocks=1, filters=8, scale=2, precision=precision)
    output = model(np.random.default_rng(0).random((2, 7, 10, 3), np.float32))
    assert output.shape == (2, 14, 20, 3)
    assert output.dtype == "float32"
    if arch != "compact":  # which ends without tanh: drawn weights give any values
        assert np.abs(output).max() <= 1
    assert all(variable.dtype == "float32" for variable in model.variables)


def test_bf16_computes_the_same_function_less_finely() -> None:
    fine, coarse = (paper_generator(blocks=2, filters=16, precision=precision) for precision in ("fp32", "bf16"))
    coarse.set_weights(fine.get_weights())
    batch = np.random.default_rng(0).random((1, 12, 12, 3), np.float32)
    difference = np.abs(np.asarray(fine(batch)) - np.asarray(coarse(batch)))
    assert 0 < difference.max() < 0.03


def test_the_papers_network_layer_by_layer() -> None:
    kinds = [type(layer).__name__ for layer in paper_generator().layers]
    assert kinds.count("Conv2D") == 1 + 2 * 16 + 1 + 2 + 1
    assert kinds.count("BatchNormalization") == 2 * 16 + 1
    assert kinds.count("PReLU") == 1 + 16 + 2
    assert kinds.count("DepthToSpace") == 2
    assert "Lambda" not in kinds
    assert paper_generator(tail_kernel=3).layers[-1].kernel_size == (3, 3)


def test_the_seeds_network_layer_by_layer() -> None:
    model = superresolution_gans_generator()
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds.count("Conv2D") == 1 + 2 * 16 + 1 + 2 + 1
    assert kinds.count("UpSampling2D") == 2
    assert [layer.filters for layer in model.layers if type(layer).__name__ == "Conv2D"][-3:] == [256, 256, 3]
    assert "PReLU" not in kinds


def test_the_compact_network_has_all_its_convolutions_in_the_small_size() -> None:
    model = compact_generator()
    layers = [layer for layer in model.layers if type(layer).__name__ == "Conv2D"]
    assert len(layers) == 1 + 2 * 15 + 1 + 1
    assert type(model.layers[-1]).__name__ == "DepthToSpace"
    work = sum(int(np.prod(layer.kernel.shape)) for layer in layers)
    assert work <= 0.7e6  # multiply-adds for a pixel of the small picture


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_saved_generator_is_taken_up_with_its_sizes(arch: str, batch_norm: bool, tmp_path: Path) -> None:
    sizes = {"blocks": 3, "filters": 8, "tail_kernel": 5, "batch_norm": batch_norm, "scale": 2}
    sizes = {name: value for name, value in sizes.items() if name in ARCHITECTURES[arch].sizes}
    if arch == "superresolution-gans":
        sizes["upsampling_filters"] = 12
    model = ARCHITECTURES[arch].make(**sizes)
    rng = np.random.default_rng(1)
    model.set_weights([rng.random(array.shape, np.float32) * 0.1 for array in model.get_weights()])
    for name in ("whole.h5", "only.weights.h5"):
        (model.save if name == "whole.h5" else model.save_weights)(tmp_path / name)
        known = known_generator(tmp_path / name)
        assert known.arch == arch
        assert known.sizes == sizes
        for theirs, ours in zip(model.get_weights(), known.build().get_weights(), strict=True):
            np.testing.assert_array_equal(theirs, ours)


def test_other_networks_are_not_taken_for_one(tmp_path: Path, shared_models: Path) -> None:
    for name in ("fastsrgan_r0.h5", "rdn_slim_x4.h5"):
        with pytest.raises(ModelError, match=name):
            known_generator(shared_models / name).build()
    (tmp_path / "no.h5").write_bytes(b"no HDF5")
    with pytest.raises(ModelError, match="damaged"):
        known_generator(tmp_path / "no.h5")
