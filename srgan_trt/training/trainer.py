"""The trainer: turns a stage step by step, writes down how it goes, and can go on where it stopped."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TrainingError
from ..files import atomic_path
from ..models.generator import ARCHITECTURES
from ..models.tensorflow_export import quiet_logger
from ..models.weights_only import known_generator
from ..quality.bicubic import enlarge
from ..quality.metrics import psnr, ssim
from .checkpoint import load_checkpoint, save_checkpoint
from .crops import batches, open_sampler
from .degrade import degrade
from .learning_rate import learning_rate
from .pictures import PictureSet
from .recipe import Recipe
from .sample_grid import GridRow, draw_sample_grid
from .stages import open_stage
from .training_log import TrainingLog

_log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.npz"
GENERATOR = "generator.h5"
RECIPE = "recipe.json"
_ROW_EVERY = 100
_MINUTES_BETWEEN_CHECKPOINTS = 3.0
_PANELS = 4


@dataclass(slots=True, kw_only=True)
class Progress:
    """How a training goes."""

    step: int
    """Steps done."""
    steps: int
    loss: float
    seconds_left: float
    waiting: float
    """Share of the time since the last row that went into waiting for pictures, 0..1."""
    psnr: float | None
    """dB of the last validation."""


@dataclass(slots=True)
class _Interval:
    """Sums since the last row of the training log."""

    losses: dict[str, float] = field(default_factory=dict)
    steps: int = 0
    seconds: float = 0.0
    waited: float = 0.0

    def add(self, losses: dict[str, float], seconds: float, waited: float) -> None:
        for name, value in losses.items():
            self.losses[name] = self.losses.get(name, 0.0) + value
        self.steps += 1
        self.seconds += seconds
        self.waited += waited

    @property
    def waiting(self) -> float:
        return self.waited / self.seconds if self.seconds else 0.0

    def row(self, rate: float) -> dict[str, float]:
        means = {name: total / self.steps for name, total in self.losses.items()}
        return {
            **means,
            "learning_rate": rate,
            "seconds_per_step": self.seconds / self.steps,
            "data_loading_share": self.waiting,
        }


class Trainer:
    """A training in the folder `out`: recipe.json, checkpoint.npz, generator.h5, the log, panels.png.

    generator.h5 is the running average of the generator as a whole Keras 3 model, written with every checkpoint.
    """

    def __init__(
        self, recipe: Recipe, pictures: PictureSet, validation: PictureSet, *, out: Path, resume: bool = False
    ) -> None:
        """resume: go on from the checkpoint in `out`, made with the same recipe but for its number of steps.

        Raises TrainingError if there is no good one or a setting differs, ModelError if ``recipe.init`` is no
        generator, MissingPackageError without Keras.
        """
        self.recipe = recipe
        self._pictures, self._validation, self._out = pictures, validation, out
        architecture = ARCHITECTURES[recipe.arch]
        self._input_range, self._output_range = architecture.input_range, architecture.output_range
        begins_with = None if resume or recipe.init is None else known_generator(Path(recipe.init)).build()
        self._stage = open_stage(recipe, weights=None if begins_with is None else begins_with.get_weights())
        self._step = 0
        self._interval = _Interval()
        self._last_psnr: float | None = None
        self._bicubic: dict[str, list[tuple[float, float]]] = {}
        self._degraded: list[NDArray[np.uint8]] | None = None
        if resume:
            self._restore()
        self._predict = _predictor(self._stage.average)

    def run(
        self,
        *,
        validate_every: int,
        progress: Callable[[Progress], None] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> bool:
        """Trains to the last step, or until `stop` says so; saves either way. Returns whether it is complete.

        Raises TrainingError when a loss is no longer finite, OSError when the disk is full: the checkpoint before
        stays.
        """
        recipe = self.recipe
        sampler = open_sampler(
            self._pictures, batch=recipe.batch, crop=recipe.crop, seed=recipe.seed, degrade=recipe.degrade
        )
        saved = time.monotonic()
        with TrainingLog(self._out, resume_at=self._step if self._step else None) as log:
            if self._step == 0:
                self._validate(log)
            for batch, waited in _timed(batches(sampler, first_step=self._step, steps=recipe.steps)):
                begin = time.perf_counter()
                rate = learning_rate(self._step, peak=recipe.peak_rate, steps=recipe.steps)
                losses = self._stage.step(*batch, rate=rate)
                self._check(losses)
                self._step += 1
                self._interval.add(losses, time.perf_counter() - begin + waited, waited)
                if progress is not None:
                    progress(self._progress(losses["loss"]))
                complete = self._step == recipe.steps
                stopping = stop is not None and stop()
                if self._step % _ROW_EVERY == 0 or complete:
                    log.step(self._step, self._interval.row(rate))
                    self._interval = _Interval()
                if self._step % validate_every == 0 or complete:
                    self._validate(log)
                due = time.monotonic() - saved > 60 * _MINUTES_BETWEEN_CHECKPOINTS
                if complete or stopping or due:
                    self._save()
                    log.draw_curves()
                    saved = time.monotonic()
                if stopping and not complete:
                    return False
        return True

    def _progress(self, loss: float) -> Progress:
        per_step = self._interval.seconds / self._interval.steps
        return Progress(
            step=self._step,
            steps=self.recipe.steps,
            loss=loss,
            seconds_left=per_step * (self.recipe.steps - self._step),
            waiting=self._interval.waiting,
            psnr=self._last_psnr,
        )

    def _check(self, losses: dict[str, float]) -> None:
        for name, value in losses.items():
            if not math.isfinite(value):
                raise TrainingError(self._lost(f"the loss {name} is"))

    def _lost(self, what: str) -> str:
        return (
            f"{what} no longer finite at step {self._step}: the last good checkpoint is kept, go on from it with "
            "--resume and a smaller --learning-rate"
        )

    def _validate(self, log: TrainingLog) -> None:
        """PSNR and SSIM on the validation pictures, by the field's protocol (``metrics``), and a panel of some.

        Where the recipe degrades, on degraded ones, and on those made small by bicubic in columns that begin with
        "clean_".
        """
        row: dict[str, float] = {}
        for prefix, lows in self._validation_sets().items():
            own, bicubic, rows_shown = [], [], []
            known = self._bicubic.get(prefix, [])
            for index, (entry, small, large) in enumerate(
                zip(self._validation.entries, lows, self._validation.hr, strict=True)
            ):
                lr, hr = np.asarray(small), np.asarray(large)
                sr = self.upscale(lr)
                own.append(self._scores(sr, hr))
                shown = index < _PANELS and not prefix
                interpolated = enlarge(lr, self.recipe.scale) if shown or not known else sr
                bicubic.append(known[index] if known else self._scores(interpolated, hr))
                if shown:
                    rows_shown.append(
                        GridRow(
                            name=entry.name, lr=lr, bicubic=interpolated, sr=sr, hr=hr, psnr=own[-1][0],
                            ssim=own[-1][1], bicubic_psnr=bicubic[-1][0], bicubic_ssim=bicubic[-1][1],
                        )
                    )  # fmt: skip
            self._bicubic[prefix] = bicubic
            for kind, scores in (("", own), ("bicubic_", bicubic)):
                for name, values in zip(("psnr", "ssim"), zip(*scores, strict=True), strict=True):
                    row[prefix + kind + name] = float(np.mean(values))
            if rows_shown:
                draw_sample_grid(self._out / "panels.png", rows_shown)
        self._last_psnr = row["psnr"]
        log.validation(self._step, row)

    def _validation_sets(self) -> dict[str, Sequence[NDArray[np.uint8]]]:
        """The small validation pictures, by what their columns begin with."""
        if self.recipe.degrade == "none":
            return {"": self._validation.lr}
        if self._degraded is None:
            self._degraded = [
                degrade(np.asarray(high), self.recipe.scale, np.random.default_rng([self.recipe.seed, index]))
                for index, high in enumerate(self._validation.hr)
            ]
        return {"": self._degraded, "clean_": self._validation.lr}

    def _scores(self, picture: NDArray[np.uint8], truth: NDArray[np.uint8]) -> tuple[float, float]:
        border = self.recipe.scale
        return psnr(picture, truth, border=border), ssim(picture, truth, border=border)

    def upscale(self, lr: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 RGB (h, w, 3) by the running average -> uint8 (h*scale, w*scale, 3).

        Raises TrainingError if the result is not finite.
        """
        low, high = self._input_range
        batch = lr[None].astype(np.float32) * ((high - low) / 255.0) + low
        black, white = self._output_range
        sr = (self._predict(batch)[0] - black) * (255.0 / (white - black))
        if not np.isfinite(sr).all():
            raise TrainingError(self._lost("the generator's pictures are"))
        levels: NDArray[np.uint8] = np.rint(np.clip(sr, 0.0, 255.0)).astype(np.uint8)
        return levels

    def _save(self) -> None:
        groups = self._stage.variables()
        arrays = {
            f"{group}/{index:04}": variable.numpy()
            for group, variables in groups.items()
            for index, variable in enumerate(variables)
        }
        facts = {"step": self._step, "interval": [self._interval.losses, self._interval.steps, self._interval.seconds,
                 self._interval.waited], "psnr": self._last_psnr}  # fmt: skip
        save_checkpoint(self._out / CHECKPOINT, arrays, facts)
        save_generator(self._stage.average, self._out / GENERATOR)

    def _restore(self) -> None:
        path = self._out / CHECKPOINT
        arrays, facts = load_checkpoint(path)
        for group, variables in self._stage.variables().items():
            for index, variable in enumerate(variables):
                array = arrays.pop(f"{group}/{index:04}", None)
                if array is None or array.shape != tuple(variable.shape):
                    raise TrainingError(f"{path} is of another network ({group}): begin anew in another --out")
                variable.assign(array)
        if arrays:
            raise TrainingError(f"{path} is of another network: begin anew in another --out")
        self._step = int(facts["step"])
        losses, steps, seconds, waited = facts["interval"]
        self._interval = _Interval(losses, steps, seconds, waited)
        self._last_psnr = facts["psnr"]
        if self._step >= self.recipe.steps:
            raise TrainingError(f"{path} is complete at step {self._step}: pass more --steps to go on")


def save_generator(model: Any, path: Path) -> None:
    """A whole Keras model as .h5, written whole or not at all. Raises OSError."""
    with atomic_path(path) as partial, quiet_logger("absl"):  # Keras 3 calls .h5 legacy at every checkpoint
        model.save(partial)


def _timed(dataset: Any) -> Iterator[tuple[tuple[NDArray[np.uint8], ...], float]]:
    """The batches as arrays, each with the seconds that it was waited for."""
    source = iter(dataset.as_numpy_iterator())
    while True:
        begin = time.perf_counter()
        batch = next(source, None)
        if batch is None:
            return
        yield batch, time.perf_counter() - begin


def _predictor(model: Any) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    import tensorflow as tf

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def predict(batch: Any) -> Any:
        return model(batch, training=False)

    return lambda batch: predict(batch).numpy()
