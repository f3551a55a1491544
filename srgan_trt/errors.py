"""The errors a user may see: one line, what happened, to which input, how to mend it."""

from __future__ import annotations

import re

_PROJECT = "."
"""What pip installs, from the folder of the checkout. "srgan-trt" when that name is registered on PyPI, not before:
whoever else registered it would be installed by our advice."""


class SrganTrtError(Exception):
    """Base of every error this package raises on purpose; its text is meant for the user."""


class MissingPackageError(SrganTrtError, ImportError):
    """An optional package is needed for this step; the message names the pip command."""


class ModelError(SrganTrtError, ValueError):
    """A model file is not a super-resolver, cannot be read, or cannot be verified."""


class PlanError(SrganTrtError, ValueError):
    """A plan file is foreign, damaged or was written by another version."""


class PictureError(SrganTrtError, ValueError):
    """A picture cannot be decoded, is too large, or cannot be written."""


class UnknownFormatError(PictureError):
    """What should be a picture is not a file of a format that is read here."""


class LargePictureError(PictureError):
    """A picture has more pixels than are taken."""


class StoppedError(SrganTrtError):
    """A picture was given up because its caller said so; the Upscaler goes on."""


class VideoError(SrganTrtError, ValueError):
    """A video cannot be read or written, or a job that was broken off cannot go on."""


class TrainingError(SrganTrtError, RuntimeError):
    """A training cannot begin, go on, or be trusted; what it had reached is kept."""


class DeviceError(SrganTrtError, RuntimeError):
    """The device asked for is not there, or failed while running."""


class DeviceLostError(DeviceError):
    """The device failed in a way that it does not recover from in this process; another one may go on."""


class DeviceMemoryError(DeviceError):
    """The device has too little memory for what was asked; a smaller tile may fit."""


class OtherPictureError(DeviceError):
    """The device fails the plan's self-test: it gives another picture than the plan should."""


def pip_command(extra: str = "", *, options: str = "") -> str:
    """The command that installs this package, with one of its extras; options: more of pip's own.

    >>> print(pip_command("keras"))
    pip install ".[keras]"
    >>> print(pip_command(options="--force-reinstall"))
    pip install --force-reinstall .
    """
    what = f'"{_PROJECT}[{extra}]"' if extra else _PROJECT
    return " ".join(word for word in ("pip install", options, what) if word)


def missing(package: str, extra: str, purpose: str) -> MissingPackageError:
    """The error for an absent optional package.

    >>> print(missing("tensorflow", "keras", "read a Keras file"))
    tensorflow is needed to read a Keras file: pip install ".[keras]"
    """
    return MissingPackageError(f"{package} is needed to {purpose}: {pip_command(extra)}")


def one_line(error: BaseException, *, most: int = 160) -> str:
    """What another library's error says, in one line of at most `most` characters, without a terminal's colours.

    >>> one_line(OSError("\x1b[1mno\\n  space\x1b[0m"))
    'no space'
    """
    text = " ".join(re.sub(r"\x1b\[[\d;]*m", "", str(error)).split()) or type(error).__name__
    return text if len(text) <= most else text[: most - 3] + "..."
