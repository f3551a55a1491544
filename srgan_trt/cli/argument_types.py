"""Types of option values, and what is said of values that are wrong."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable


def positive(text: str) -> int:
    number = whole(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is less than 1")
    return number


def whole(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is less than 0")
    return number


def number_between(low: float, high: float) -> Callable[[str], float]:
    """What reads a number from `low` to `high`."""

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {low:g} to {high:g}")
        return value

    return number


def box(text: str) -> tuple[int, int]:
    """(width, height) of WxH."""
    width, cross, height = text.lower().partition("x")
    if not cross:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size: give WIDTHxHEIGHT, like 3840x2160")
    return positive(width), positive(height)


def value_range(text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a range: give two numbers like -1,1") from None
    if not -math.inf < low < high < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a range: give the smaller number first, like -1,1")
    return low, high


def gpu_numbers(text: str) -> str:
    """The device of these GPUs."""
    numbers = [whole(part) for part in text.split(",")]
    return f"cuda:{','.join(map(str, numbers))}"


def gigabytes(text: str) -> int:
    """In bytes."""
    try:
        size = float(text)
    except ValueError:
        size = math.nan
    if not 0 < size < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of gigabytes")
    return int(size * 1e9)


def seconds(text: str) -> float:
    """Of a time like 90, 1:30 or 0:01:30.5."""
    parts = text.split(":")
    try:
        numbers = [*map(int, parts[:-1]), float(parts[-1])]
    except ValueError:
        numbers = []
    late = any(number >= 60 for number in numbers[1:])
    if not 1 <= len(numbers) <= 3 or late or not all(0 <= number < math.inf for number in numbers):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time: give seconds, 1:30 or 0:01:30.5")
    return sum(number * 60.0**power for power, number in enumerate(reversed(numbers)))


def decibels(text: str) -> float:
    try:
        loss = float(text)
    except ValueError:
        loss = math.nan
    if not 0 <= loss < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of decibels")
    return loss


def compute_capability(text: str) -> tuple[int, int]:
    major, point, minor = text.partition(".")
    if not (major.isdecimal() and point and minor.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a compute capability, like 8.9")
    return int(major), int(minor)


def port(text: str) -> int:
    number = whole(text)
    if number > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: they end at 65535")
    return number


def mebibytes(text: str) -> int:
    """32M in bytes: K, M and G are powers of 1024."""
    return _with_unit(text, 1024)


def megapixels(text: str) -> int:
    """25M in pixels: K, M and G are powers of 1000."""
    return _with_unit(text, 1000)


def _with_unit(text: str, thousand: int) -> int:
    power = "KMG".find(text[-1:].upper()) + 1 if text else 0
    factor: int = thousand**power
    return positive(text[:-1] if power else text) * factor
