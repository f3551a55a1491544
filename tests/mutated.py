"""JSON that somebody has changed: any value anywhere in place of any other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

VALUES = (
    "null", "true", "-1", "0", "1", "3", "0.5", "-1e300", "1e308", "1e400", str(10**30), "9" * 5000, '""', '"fp32"',
    '"\\ud800"', '"' + "x" * 1000 + '"', "[]", "[0, 0]", "[1, 2]", "[2, 1]", "[[[]]]", "[null]", "{}",
    '{"a": {"b": []}}', "[" * 2000 + "]" * 2000, "NaN",
)  # fmt: skip
_MARK = "the value that is replaced"


def mutations(fields: dict[str, Any], name: str) -> Iterator[bytes]:
    """`fields` as JSON, with each of VALUES in place of the field `name` and of everything in it, and without it."""
    yield json.dumps({key: value for key, value in fields.items() if key != name}).encode()
    for marked in _marked(fields.get(name)):
        text = json.dumps(fields | {name: marked})
        for value in VALUES:
            yield text.replace(json.dumps(_MARK), value).encode()


def _marked(value: Any) -> Iterator[Any]:
    """`value` with a mark in place of each of its parts; of a list, of the first one."""
    yield _MARK
    if isinstance(value, dict):
        for key, part in value.items():
            yield from ({**value, key: marked} for marked in _marked(part))
    elif isinstance(value, list) and value:
        yield from ([marked, *value[1:]] for marked in _marked(value[0]))
