"""Checkpoints: all that a training needs to go on as if it had never stopped, in one file."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TrainingError
from ..files import atomic_file

_FACTS = "facts"


def save_checkpoint(path: Path, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> None:
    """Writes arrays and JSON facts, whole or not at all: whatever fails, the checkpoint before it stays.

    Raises TrainingError, and keeps what is there, if a float array holds a value that is not finite; OSError.
    """
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise TrainingError(
                f"{name} is no longer finite: the last good checkpoint is kept, go on from it with a smaller "
                "--learning-rate"
            )
    contents: dict[str, Any] = {_FACTS: np.array(json.dumps(dict(facts))), **arrays}
    with atomic_file(path, durable=True) as file:
        np.savez(file, **contents)


def load_checkpoint(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """(arrays, facts) of `save_checkpoint`. Raises TrainingError if there is none, or a damaged one."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return arrays, json.loads(str(arrays.pop(_FACTS)))
    except FileNotFoundError:
        raise TrainingError(f"there is no checkpoint in {path.parent} yet: leave --resume out") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise TrainingError(f"{path} is damaged ({error}): begin anew in another --out") from None
