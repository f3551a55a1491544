"""The journal: read back by csv, TensorFlow's own reader of records, and Pillow."""

from __future__ import annotations

import csv
import io
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from srgan_trt.errors import TrainingError
from srgan_trt.models.tensorflow_export import import_tensorflow
from srgan_trt.training.curves import BICUBIC_COLOUR
from srgan_trt.training.training_log import TrainingLog

pytestmark = pytest.mark.skipif(find_spec("tensorflow") is None, reason="the [keras] extra is not installed")
needs_matplotlib = pytest.mark.skipif(find_spec("matplotlib") is None, reason="the [plot] extra is not installed")


def losses(step: int, *, seconds: float = 0.25) -> dict[str, float]:
    return {
        "loss": 1.0 / (step + 1),
        "content": float(np.float32(0.3) / (step + 1)),
        "learning_rate": 2e-4,
        "seconds_per_step": seconds,
        "data_loading_share": 0.01,
    }


def scores(step: int) -> dict[str, float]:
    return {"psnr": 27.0 + step / 100, "ssim": 0.75 + step / 10_000, "bicubic_psnr": 28.43}


def train(folder: Path, first: int, last: int, *, resume_at: int | None = None, seconds: float = 0.25) -> None:
    """What a trainer writes from one step to another: rows every 10 steps, validations every 50."""
    with TrainingLog(folder, resume_at=resume_at) as journal:
        for step in range(first, last + 1, 10):
            journal.step(step, losses(step, seconds=seconds))
            if step % 50 == 0:
                journal.validation(step, scores(step))


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def events(folder: Path) -> list[Any]:
    """All events, in the order in which TensorBoard reads them."""
    tf = import_tensorflow()
    found = []
    for path in sorted((folder / "tensorboard").iterdir()):
        assert "tfevents" in path.name
        for record in tf.data.TFRecordDataset(str(path)):
            found.append(tf.compat.v1.Event.FromString(record.numpy()))
    return found


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """Values by tag and step, after what TensorBoard does at a START (event_accumulator.py of tensorboard 2.21)."""
    start = import_tensorflow().compat.v1.SessionLog.START
    kept: dict[str, dict[int, float]] = {}
    for event in events(folder):
        if event.session_log.status == start:
            kept = {tag: {at: v for at, v in values.items() if at < event.step} for tag, values in kept.items()}
        for value in event.summary.value:
            kept.setdefault(value.tag, {})[event.step] = value.simple_value
    return kept


@contextmanager
def room_for_files_of(size: int) -> Iterator[None]:
    """Every write beyond ``size`` bytes of a file fails, in the middle of what is written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def picture(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path).convert("RGB"))


# Tables


def test_rows_are_read_back_by_csv(tmp_path: Path) -> None:
    train(tmp_path / "new" / "run", 10, 100)
    rows = table(tmp_path / "new" / "run" / "training.csv")
    assert list(rows[0]) == ["step", "loss", "content", "learning_rate", "seconds_per_step", "data_loading_share"]
    assert [int(row["step"]) for row in rows] == list(range(10, 101, 10))
    for row in rows:
        expected = losses(int(row["step"]))
        for name, value in expected.items():
            assert np.float32(row[name]) == np.float32(value)
    assert table(tmp_path / "new" / "run" / "validation.csv") == [
        {"step": "50", "psnr": "27.5", "ssim": "0.755", "bicubic_psnr": "28.43"},
        {"step": "100", "psnr": "28", "ssim": "0.76", "bicubic_psnr": "28.43"},
    ]


def test_values_of_any_number_type_and_in_any_order_are_taken(tmp_path: Path) -> None:
    rate = import_tensorflow().constant(1e-4)
    with TrainingLog(tmp_path) as journal:
        journal.step(1, {"loss": np.float32(0.1), "rate": rate})
        journal.step(2, {"rate": 1, "loss": float("nan")})
    assert table(tmp_path / "training.csv") == [
        {"step": "1", "loss": "0.100000001", "rate": "9.99999975e-05"},
        {"step": "2", "loss": "nan", "rate": "1"},
    ]


def test_a_row_is_on_disk_when_the_call_returns(tmp_path: Path) -> None:
    journal = TrainingLog(tmp_path)
    journal.step(1, losses(1))
    assert len(table(tmp_path / "training.csv")) == 1
    assert scalars(tmp_path)["training/learning_rate"] == {1: np.float32(2e-4)}
    journal.close()
    journal.close()


def test_other_names_are_refused_and_named(tmp_path: Path) -> None:
    with TrainingLog(tmp_path) as journal:
        journal.step(1, {"loss": 1.0, "pixel": 1.0})
        with pytest.raises(
            TrainingError, match=r"training\.csv has the columns loss, pixel, this row no pixel and a x b"
        ):
            journal.step(2, {"loss": 1.0, "x": 1.0})
        journal.step(3, {"loss": 1.0, "pixel": 1.0})
    with TrainingLog(tmp_path, resume_at=3) as journal, pytest.raises(TrainingError, match="a adversarial beside"):
        journal.step(4, {"loss": 1.0, "pixel": 1.0, "adversarial": 1.0})
    assert [row["step"] for row in table(tmp_path / "training.csv")] == ["1", "3"]


def test_steps_only_go_up(tmp_path: Path) -> None:
    with TrainingLog(tmp_path) as journal:
        journal.validation(0, scores(0))
        with pytest.raises(ValueError, match="has step 0 already"):
            journal.validation(0, scores(0))
        with pytest.raises(ValueError, match="names other than 'step'"):
            journal.step(1, {"step": 1.0})


# Resuming


def test_a_resumed_training_leaves_the_tables_of_an_unbroken_one(tmp_path: Path) -> None:
    train(tmp_path / "unbroken", 10, 200)
    train(tmp_path / "resumed", 10, 130)
    train(tmp_path / "resumed", 90, 200, resume_at=80)
    for name in ("training.csv", "validation.csv"):
        assert (tmp_path / "resumed" / name).read_bytes() == (tmp_path / "unbroken" / name).read_bytes()


def test_a_checkpoint_between_two_rows_drops_the_later_one(tmp_path: Path) -> None:
    train(tmp_path, 10, 50)
    train(tmp_path, 40, 40, resume_at=37)
    assert [row["step"] for row in table(tmp_path / "training.csv")] == ["10", "20", "30", "40"]
    assert table(tmp_path / "validation.csv") == []


@pytest.mark.parametrize("torn", [b"60,0.016", b"60,0.0164,0.3,0.0002,0.25,0.01", b"\0\0\0\xff"])
def test_a_torn_last_line_is_dropped(torn: bytes, tmp_path: Path) -> None:
    train(tmp_path / "whole", 10, 70)
    train(tmp_path / "torn", 10, 50)
    with (tmp_path / "torn" / "training.csv").open("ab") as file:
        file.write(torn)
    train(tmp_path / "torn", 60, 70, resume_at=500)
    assert (tmp_path / "torn" / "training.csv").read_bytes() == (tmp_path / "whole" / "training.csv").read_bytes()


def test_a_torn_header_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "training.csv").write_bytes(b"step,lo")
    train(tmp_path, 10, 10, resume_at=0)
    assert len(table(tmp_path / "training.csv")) == 1


@pytest.mark.parametrize("content", [b"step,loss\n1,0.5\n2\n3,0.1\n", b"step,loss\n1,no\n2,1\n", b"a,b\n1,2\n"])
def test_a_damaged_table_is_refused_and_kept(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "training.csv").write_bytes(content)
    said = r"training\.csv is (damaged in row [12] \('|not a training's table).*: remove it"
    with pytest.raises(TrainingError, match=said):
        TrainingLog(tmp_path, resume_at=9)
    assert (tmp_path / "training.csv").read_bytes() == content


def test_a_new_training_begins_new_tables(tmp_path: Path) -> None:
    train(tmp_path, 10, 50)
    with TrainingLog(tmp_path) as journal:
        journal.step(1, {"other": 1.0})
    assert table(tmp_path / "training.csv") == [{"step": "1", "other": "1"}]
    assert table(tmp_path / "validation.csv") == []
    assert scalars(tmp_path)["training/loss"] == {}
    assert scalars(tmp_path)["training/other"] == {1: 1.0}


# TensorBoard


def test_tensorboard_gets_the_rows_of_both_tables(tmp_path: Path) -> None:
    train(tmp_path, 10, 100)
    assert events(tmp_path)[0].file_version == "brain.Event:2"
    found = scalars(tmp_path)
    for name, kind in (("training.csv", "training"), ("validation.csv", "validation")):
        for row in table(tmp_path / name):
            for column in row.keys() - {"step"}:
                assert found[f"{kind}/{column}"][int(row["step"])] == np.float32(row[column])
    assert len(found) == 5 + 3


def test_tensorboard_forgets_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    train(tmp_path, 10, 130, seconds=0.5)
    train(tmp_path, 90, 100, resume_at=80, seconds=0.75)
    train(tmp_path, 110, 110, resume_at=100, seconds=1)
    found = scalars(tmp_path)
    assert found["training/seconds_per_step"] == {
        **dict.fromkeys(range(10, 81, 10), 0.5),
        **dict.fromkeys((90, 100), 0.75),
        110: 1.0,
    }
    assert list(found["validation/psnr"]) == [50, 100]
    assert len(list((tmp_path / "tensorboard").iterdir())) == 3


def test_tensorboard_itself_reads_it(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(tmp_path, 10, 130, seconds=0.5)
    train(tmp_path, 90, 100, resume_at=80, seconds=0.75)
    read = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    read.Reload()
    expected = scalars(tmp_path)
    assert set(read.Tags()["scalars"]) == set(expected)
    for tag, values in expected.items():
        assert {event.step: event.value for event in read.Scalars(tag)} == values


# Curves


@needs_matplotlib
def test_curves_show_losses_and_scores_beside_bicubic(tmp_path: Path) -> None:
    train(tmp_path, 10, 2000)
    with TrainingLog(tmp_path, resume_at=2000) as journal:
        path = journal.draw_curves()
    assert path == tmp_path / "curves.png"
    shown = picture(path)
    height, width, _ = shown.shape
    assert min(height, width) >= 800
    third = height // 3
    for top in (0, third, 2 * third):
        assert len(np.unique(shown[top : top + third].reshape(-1, 3), axis=0)) > 50
    # A dashed line across the diagram of PSNR, and none in the others.
    colour = np.array([int(BICUBIC_COLOUR[at : at + 2], 16) for at in (1, 3, 5)])
    rows, _ = np.nonzero((shown == colour).all(axis=2))
    assert third <= rows.min() <= rows.max() < 2 * third
    assert np.bincount(rows).max() > 0.4 * width


@needs_matplotlib
def test_curves_smooth_the_losses_over_the_raw_ones(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(0.5, 1.5, 1000)
    with TrainingLog(tmp_path) as journal:
        for step, value in enumerate(noise):
            journal.step(step, {"loss": value})
        shown = picture(journal.draw_curves()).astype(int)
    shown = shown[:, shown.shape[1] // 4 :]  # right of the legend
    strong = np.abs(shown - (31, 119, 180)).max(axis=2) < 20
    faint = (np.abs(shown - (31, 119, 180)).max(axis=2) < 180) & (shown[..., 2] - shown[..., 0] > 15) & ~strong
    rows = np.nonzero(strong)[0]
    assert np.ptp(rows) < 0.3 * np.ptp(np.nonzero(faint)[0])


@needs_matplotlib
def test_curves_of_a_training_without_validation_or_rows_are_drawn(tmp_path: Path) -> None:
    with TrainingLog(tmp_path) as journal:
        assert picture(journal.draw_curves()).shape[0] < 400
        journal.step(1, {"loss": -1.0, "adversarial": float("nan")})
        assert picture(journal.draw_curves()).shape[0] < 400
        journal.validation(1, {"psnr": 28.0, "ssim": 0.8, "bicubic_psnr": float("nan")})
        journal.validation(2, {"psnr": float("inf"), "ssim": 1.0, "bicubic_psnr": 28.43})
        assert picture(journal.draw_curves()).shape[0] > 800


@needs_matplotlib
def test_curves_are_scaled_to_what_a_trained_network_scores(tmp_path: Path) -> None:
    for folder, first in ((tmp_path / "new", 7.0), (tmp_path / "trained", 27.0)):
        with TrainingLog(folder) as journal:
            journal.validation(0, {"psnr": first})
            for step in range(10, 1001, 10):
                journal.validation(step, {"psnr": 27.0 + step / 1000})
            journal.draw_curves()
    later = [picture(tmp_path / name / "curves.png")[:, 250:] for name in ("new", "trained")]
    np.testing.assert_array_equal(*later)


@needs_matplotlib
def test_drawing_curves_leaves_pyplot_and_other_files_alone(tmp_path: Path) -> None:
    from matplotlib import pyplot

    with TrainingLog(tmp_path) as journal:
        journal.step(1, {"loss": 1.0})
        journal.draw_curves()
        journal.draw_curves()
    assert pyplot.get_fignums() == []
    assert sorted(os.listdir(tmp_path)) == ["curves.png", "tensorboard", "training.csv", "validation.csv"]


# A disk without room


def test_a_row_without_room_leaves_whole_rows_and_names_the_file(tmp_path: Path) -> None:
    train(tmp_path, 10, 400)
    path = tmp_path / "training.csv"
    whole = path.read_bytes()
    with TrainingLog(tmp_path, resume_at=400) as journal:
        with room_for_files_of(len(whole) + 10), pytest.raises(OSError, match="too large") as raised:
            journal.step(410, losses(410))
        assert raised.value.filename == str(path)
        assert path.read_bytes() == whole
        journal.step(420, losses(420))
    assert table(path)[-1]["step"] == "420"
    assert path.read_bytes().startswith(whole)


def test_a_first_row_without_room_leaves_the_header_for_the_next(tmp_path: Path) -> None:
    with TrainingLog(tmp_path) as journal:
        with room_for_files_of(30), pytest.raises(OSError, match="too large"):
            journal.step(1, losses(1))
        journal.step(2, losses(2))
    assert [row["step"] for row in table(tmp_path / "training.csv")] == ["2"]


def test_events_without_room_name_their_file(tmp_path: Path) -> None:
    with TrainingLog(tmp_path) as journal, room_for_files_of(200), pytest.raises(OSError, match="too large") as raised:
        journal.step(1, losses(1))
    assert raised.value.filename == str(tmp_path / "tensorboard" / "events.out.tfevents.0000000001")


@needs_matplotlib
def test_curves_without_room_leave_those_before(tmp_path: Path) -> None:
    with TrainingLog(tmp_path) as journal:
        journal.step(1, losses(1))
        before = journal.draw_curves().read_bytes()
        journal.step(2, losses(2))
        with room_for_files_of(5000), pytest.raises(OSError, match="too large") as raised:
            journal.draw_curves()
    assert raised.value.filename == str(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["curves.png", "tensorboard", "training.csv", "validation.csv"]
    assert Image.open(io.BytesIO(before)).format == "PNG"
