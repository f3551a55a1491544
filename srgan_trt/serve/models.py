"""The models that a service offers: opened before it listens, tried, and closed at its end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ..errors import DeviceError, ModelError, SrganTrtError
from ..imaging.picture import from_array
from ..models.denoisers import LEVELS, denoisers_installed
from ..models.registry import DEFAULT_MODEL, packaged_models, texture_pair
from ..upscaler import Upscaler

_TRIAL_SIDE = 16
"""Pixels of the picture that every model must enlarge before it is offered."""


class Models:
    """Upscalers by the names that clients know; use it in a `with`."""

    def __init__(
        self, names: Sequence[str] = (), *, build_progress: Callable[[str, float], None] | None = None
    ) -> None:
        """Opens and tries each.

        names: what `Upscaler` takes, the default first; none for the models inside the package.

        Raises what `Upscaler` raises; SrganTrtError if two have one name, DeviceError if one fails its trial.
        """
        self._known = packaged_models()
        inside = sorted((name for name, model in self._known.items() if model.pip is None), key=_default_first)
        self._upscalers: dict[str, Upscaler] = {}
        self._pairs: dict[str, tuple[str, str]] = {}
        self._mixed: dict[tuple[tuple[str, str], float], Upscaler] = {}
        self._mixing = threading.Lock()
        try:
            for given in names or inside:
                name = _name_of(given)
                if name in self._upscalers:
                    raise SrganTrtError(f"two models are called {name}: rename one of the files")
                self._upscalers[name] = Upscaler(given, build_progress=build_progress)
                self._try(name, self._upscalers[name])
                if (pair := _pair_of(given)) is not None:
                    self._pairs[name] = pair
        except BaseException:
            self.close()
            raise

    def __getitem__(self, name: str) -> Upscaler:
        return self._upscalers[name]

    def upscaler(self, name: str, texture: float | None) -> Upscaler:
        """The model, or one between it and its partner, which is built, opened and tried when it is first asked for.

        Thread-safe. Raises what `Upscaler` raises; DeviceError if it fails its trial.
        """
        if texture is None:
            return self._upscalers[name]
        pair = self._pairs[name]
        if texture in (0, 1) and pair[int(texture)] in self._upscalers:
            return self._upscalers[pair[int(texture)]]
        with self._mixing:
            if (pair, texture) not in self._mixed:
                up = Upscaler(pair[0], texture=texture)
                self._try(f"{name} with a texture of {texture:g}", up)
                self._mixed[pair, texture] = up
            return self._mixed[pair, texture]

    @property
    def textured(self) -> Sequence[str]:
        """Names of those that have a partner to be mixed with."""
        return list(self._pairs)

    @property
    def names(self) -> Sequence[str]:
        """The default first."""
        return list(self._upscalers)

    @property
    def levels(self) -> Sequence[int]:
        """Of denoising that can be had here."""
        return LEVELS if denoisers_installed() else ()

    @property
    def max_concurrency(self) -> int:
        """Pictures that gain from being in the network at the same time: all models share one device."""
        return max(1, min(up.max_concurrency for up in self._upscalers.values()))

    def facts(self) -> list[Mapping[str, Any]]:
        """What clients may know of each."""
        return [self._facts(name, number == 0) for number, name in enumerate(self._upscalers)]

    def close(self) -> None:
        for up in (*self._upscalers.values(), *self._mixed.values()):
            up.close()

    def __enter__(self) -> Models:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _facts(self, name: str, default: bool) -> Mapping[str, Any]:
        up, known = self._upscalers[name], self._known.get(name)
        info = up.info
        return {
            "name": name,
            "default": default,
            "scale": up.spec.scale,
            "texture": float(self._pairs[name].index(name)) if name in self._pairs else None,
            "what": None if known is None else known.what,
            "licence": None if known is None else known.licence,
            "device": info["device"],
            "precision": info["precision"],
        }

    def _try(self, name: str, up: Upscaler) -> None:
        """Plans carry a picture that they are held to when they are opened; this is the whole way through."""
        ramp = np.linspace(0, 255, _TRIAL_SIDE**2 * 3).astype(np.uint8).reshape(_TRIAL_SIDE, _TRIAL_SIDE, 3)
        result = up.upscale_picture(from_array(ramp), denoise="off")
        side = _TRIAL_SIDE * up.spec.scale
        if result.pixels.shape != (side, side, 3) or result.notes or result.pixels.min() == result.pixels.max():
            raise DeviceError(f"{name} does not enlarge a plain picture on {up.info['device']}: try another model")


def _default_first(name: str) -> tuple[bool, str]:
    return name != DEFAULT_MODEL, name


def _pair_of(model: str) -> tuple[str, str] | None:
    """Names of the model trained on pixels and of its GAN, one of which is this."""
    try:
        return texture_pair(model)
    except ModelError:
        return None


def _name_of(model: str) -> str:
    """What clients call it: a name of the package's as it is, of a file what is before its endings."""
    return Path(model).name.split(".")[0] or "model"
