"""A checkpoint is whole and good, or the one before it stays."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest

from srgan_trt.errors import TrainingError
from srgan_trt.training.checkpoint import load_checkpoint, save_checkpoint


def test_what_is_saved_comes_back_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.npz"
    arrays = {"a/0": np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32), "b/0": np.int64(7) * np.ones(())}
    save_checkpoint(path, arrays, {"step": 12, "psnr": None})
    loaded, facts = load_checkpoint(path)
    assert facts == {"step": 12, "psnr": None}
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        assert loaded[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded[name], array)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_no_numbers_never_replace_good_ones(tmp_path: Path, bad: float) -> None:
    path = tmp_path / "checkpoint.npz"
    save_checkpoint(path, {"w": np.ones(3)}, {"step": 1})
    with pytest.raises(TrainingError, match="no longer finite: the last good checkpoint is kept"):
        save_checkpoint(path, {"w": np.array([1, bad])}, {"step": 2})
    assert load_checkpoint(path)[1] == {"step": 1}


def test_a_write_that_fails_keeps_the_checkpoint_before_and_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.npz"
    save_checkpoint(path, {"w": np.ones(3)}, {"step": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))  # as a full disk: a file cannot grow further
    try:
        with pytest.raises(OSError, match="too large") as caught:
            save_checkpoint(path, {"w": np.ones(30_000)}, {"step": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.filename == str(path)
    assert load_checkpoint(path)[1] == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("damage", [lambda data: data[:-50], lambda data: b"", lambda data: b"no zip at all"])
def test_damaged_checkpoints_are_said(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "checkpoint.npz"
    save_checkpoint(path, {"w": np.ones(300)}, {"step": 1})
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(TrainingError, match=r"checkpoint\.npz is damaged"):
        load_checkpoint(path)


def test_no_checkpoint_is_said(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no checkpoint in"):
        load_checkpoint(tmp_path / "checkpoint.npz")
