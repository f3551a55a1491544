"""The door of this room: what libraries raise on somebody's file becomes one line that names it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import ModelError, SrganTrtError, one_line


@contextmanager
def faults_of(name: str) -> Iterator[None]:
    """Turns whatever the block raises into a ModelError about the model ``name``; our own errors stay as they are.

    A library that is broken (ImportError) is not a fault of the file, and stays what it is.
    """
    try:
        yield
    except (SrganTrtError, ImportError):
        raise
    except MemoryError as error:
        raise ModelError(f"{name} asks for more memory than there is: no generator of this size was meant") from error
    except OSError as error:
        if error.errno is not None and error.strerror:
            raise ModelError(f"{name} cannot be read: {error.strerror}") from error
        raise _unusable(name, error) from error
    # Parsers of five formats meet bytes from anywhere: what they raise on them has no common base.
    except Exception as error:
        raise _unusable(name, error) from error


def _unusable(name: str, error: Exception) -> ModelError:
    return ModelError(
        f"{name} is damaged, or holds what is not supported ({type(error).__name__}: {one_line(error)}): save "
        "or export it again"
    )
