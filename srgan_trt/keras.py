"""For trainings by Keras: a callback that writes a plan of the best epoch. Importing this imports TensorFlow."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from .compiler.build import build
from .compiler.plan import Plan, check_target
from .errors import MissingPackageError, ModelError, SrganTrtError
from .models.keras3 import import_keras

__all__ = ["BuildPlan"]

_Callback: Any = import_keras("write plans while training").callbacks.Callback
_log = logging.getLogger(__name__)


class BuildPlan(_Callback):  # type: ignore[misc]  # of a library without types
    """A callback for `model.fit`, of Keras 3 and tf_keras, that writes a plan whenever an epoch is the best so far.

    >>> model.fit(pictures, epochs=50, callbacks=[BuildPlan("best.plan.onnx", monitor="val_psnr")])  # doctest: +SKIP

    An epoch of which no plan can be built, or that lacks the figure, is logged as a warning, and the training goes on.

    Args:
        out: The plan to write; one that is there is replaced, another file is not.
        monitor: The figure of an epoch's logs that is compared.
        mode: "min" or "max", which is better; None is "max" for names with psnr, ssim or acc in them.
        model: The generator, where it is not the model that is trained, nor the only generator in it.
        settings: Others of `srgan_trt.build`: input_range, output_range, precision, restores, ...

    Attributes:
        plan: The plan written last; None before.
        best: Its figure.

    Raises:
        TypeError: A setting that `build` does not have.
        PlanError: When the training begins: `out` cannot be written.
        ModelError: A mode that there is not, or a setting of files only; when the training ends: why there is no plan.
    """

    def __init__(
        self,
        out: str | Path,
        *,
        monitor: str = "val_loss",
        mode: Literal["min", "max"] | None = None,
        model: Any = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        inspect.signature(build).bind(model, out=out, **settings)
        if of_files := sorted({"custom_objects", "trust_model", "arch"} & settings.keys()):
            raise ModelError(f"{', '.join(of_files)}: of files only, and a model in training is open already")
        if mode not in (None, "min", "max"):
            raise ModelError(f"there is no mode {mode!r}: give min or max")
        self.plan: Plan | None = None
        self.best: float | None = None
        self._out, self._monitor, self._generator, self._settings = Path(out), monitor, model, settings
        self._higher = mode == "max" if mode else any(word in monitor for word in ("psnr", "ssim", "acc"))
        self._why = "it had no epoch"

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        check_target(self._out)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        found = logs or {}
        figure = float(found.get(self._monitor, math.nan))
        if math.isnan(figure):
            self._warn(epoch, f"it has no figure {self._monitor!r}: give monitor one of {', '.join(found)}")
        elif self.best is None or (figure > self.best if self._higher else figure < self.best):
            try:
                generator = self.model if self._generator is None else self._generator
                self.plan = build(generator, out=self._out, **self._settings)
                self.best = figure
            except MissingPackageError:
                raise  # no epoch will be better off
            except SrganTrtError as error:
                self._warn(epoch, str(error))

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        if self.plan is None:
            raise ModelError(f"the training ended without a plan {self._out}: {self._why}")

    def _warn(self, epoch: int, why: str) -> None:
        self._why = f"epoch {epoch + 1}: {why}"
        _log.warning("no plan of epoch %d: %s", epoch + 1, why)

    def _has_no_batch_hooks(self) -> bool:
        return False

    # tf_keras asks these of its callbacks.
    _implements_train_batch_hooks = _implements_test_batch_hooks = _implements_predict_batch_hooks = _has_no_batch_hooks
