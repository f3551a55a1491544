"""Reads what PyTorch pickles without running it: numbers, texts, lists, dicts, and descriptions of arrays.

A pickle is a program for a small machine with a stack. This is that machine without the instructions that call, build
or import things: a name is only looked up in a list, and everything that comes out is plain data. The instructions and
their meaning are those of Python's pickletools, which also takes them apart.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable
from typing import Any

from ..errors import ModelError
from .stored_tensor import Storage, StoredTensor, stored_tensor

MOST_BYTES = 8 << 20
"""Of the pickles of a file, without its arrays: that of Real-ESRGAN x4plus has 60,000."""
MOST_STEPS = 500_000
"""Of one pickle: an array takes some 35."""
_STORAGES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool",
}  # fmt: skip
_ALLOWED = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    *(f"torch {name}" for name in _STORAGES),
}
_PUSHED = frozenset(
    "BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT SHORT_BINUNICODE BINUNICODE BINUNICODE8 SHORT_BINSTRING BINSTRING "
    "SHORT_BINBYTES BINBYTES".split()
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Name(str):
    """What the pickle imports: "module name", one of ``_ALLOWED``."""


_MARK = object()


def read_pickle(stream: io.BytesIO, check: Callable[[Storage], None] | None = None) -> Any:
    """The object that the next pickle of ``stream`` holds; the stream is at its end then.

    Dicts keep only what has a text as its key. Arrays are ``StoredTensor``s. What it holds may contain itself.

    check: Told each storage as it is named; may raise ModelError.

    Raises ModelError, without the file's name, if it is damaged, names what is not on the list, or is too large.
    """
    machine = _Machine(check)
    try:
        for steps, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if steps > MOST_STEPS:
                raise ModelError(f"its pickle has more than {MOST_STEPS:,} steps: no file of weights needs them")
            machine.step(opcode.name, argument)
        return machine.result()
    except ModelError:
        raise
    except (ValueError, IndexError, KeyError, TypeError) as error:
        raise ModelError(f"its pickle is truncated or damaged ({type(error).__name__})") from None


class _Machine:
    def __init__(self, check: Callable[[Storage], None] | None) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._check = check

    def result(self) -> Any:
        (result,) = self._stack
        return result

    def step(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name in _PUSHED:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _TUPLES:
            count = _TUPLES[name]
            if len(stack) < count:
                raise IndexError
            stack[-count:] = [tuple(stack[-count:])]
        else:
            match name:
                case "PROTO" | "FRAME" | "STOP":
                    pass
                case "EMPTY_DICT":
                    stack.append({})
                case "EMPTY_LIST":
                    stack.append([])
                case "MARK":
                    stack.append(_MARK)
                case "TUPLE":
                    stack.append(tuple(self._marked()))
                case "APPEND" | "APPENDS":
                    values = [stack.pop()] if name == "APPEND" else self._marked()
                    _expected(stack[-1], list).extend(values)
                case "SETITEM" | "SETITEMS":
                    pairs = [stack.pop(), stack.pop()][::-1] if name == "SETITEM" else self._marked()
                    _put(_expected(stack[-1], dict), zip(pairs[::2], pairs[1::2], strict=True))
                case "BINPUT" | "LONG_BINPUT":
                    self._memo[argument] = stack[-1]
                case "MEMOIZE":
                    self._memo[len(self._memo)] = stack[-1]
                case "BINGET" | "LONG_BINGET":
                    stack.append(self._memo[argument])
                case "GLOBAL":
                    stack.append(_allowed(argument))
                case "STACK_GLOBAL":
                    member, module = stack.pop(), stack.pop()
                    stack.append(_allowed(f"{_expected(module, str)} {_expected(member, str)}"))
                case "BINPERSID":
                    stack.append(self._storage(stack.pop()))
                case "REDUCE":
                    arguments, function = stack.pop(), stack.pop()
                    stack.append(_made(_expected(function, _Name), _expected(arguments, tuple)))
                case "BUILD":  # of a dict: attributes, such as the versions of PyTorch's modules
                    stack.pop()
                    _expected(stack[-1], dict)
                case _:
                    raise ModelError(f"its pickle has the instruction {name}, which no file of weights needs")

    def _marked(self) -> list[Any]:
        """What was put on the stack since the last mark, which goes."""
        at = len(self._stack) - 1
        while self._stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise IndexError
        values = self._stack[at + 1 :]
        del self._stack[at:]
        return values

    def _storage(self, description: Any) -> Storage:
        what, kind, key, _, count, *rest = _expected(description, tuple)
        if rest not in ([], [None]):
            raise ModelError("it has views of storages, as PyTorch before 0.4 wrote them: save it again")
        if what != "storage" or not isinstance(kind, _Name) or type(key) is not str or type(count) is not int:
            raise TypeError
        storage = Storage(_STORAGES[kind.removeprefix("torch ")], key, count)
        if self._check is not None:
            self._check(storage)
        return storage


def _allowed(name: str) -> _Name:
    if name not in _ALLOWED:
        shown = ascii(name.replace(" ", ".", 1))[1:-1][:100]
        raise ModelError(
            f"it is not weights alone: it names {shown}, which Python would have to run; save them with "
            "torch.save(model.state_dict(), ...), or as safetensors"
        )
    return _Name(name)


def _expected(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError
    return value


def _put(target: dict[str, Any], pairs: Any) -> None:
    target.update((key, value) for key, value in pairs if type(key) is str)


def _made(function: _Name, arguments: tuple[Any, ...]) -> Any:
    """What the allowed ``function`` would give: data that describes it."""
    match function.partition(" ")[2]:
        case "OrderedDict":
            made: dict[str, Any] = {}
            if arguments:  # Python 2 wrote the pairs here
                (pairs,) = arguments
                _put(made, (_pair(pair) for pair in _expected(pairs, list)))
            return made
        case "_rebuild_tensor" | "_rebuild_tensor_v2":
            return stored_tensor(*arguments[:4])
        case "_rebuild_parameter":
            return _expected(arguments[0], StoredTensor)
    raise TypeError


def _pair(value: Any) -> tuple[Any, Any]:
    key, item = value if type(value) in (list, tuple) else _expected(value, list)
    return key, item
