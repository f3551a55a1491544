"""Lambda layers and custom pixel shuffles, replaced by what position, shapes and names prove they are.

A Lambda's bytecode is never run and never unmarshalled: of its bytes only the names it mentions are read.
What is recognised (``resolve_lambdas``):

- It turns C*r*r channels into the C that its readers have weights for: a pixel shuffle by r.
- It ends the network on 3*r*r channels: the same, for a picture has three.
- It keeps the channels, and everything before it (or after it) has no weights: it maps the value range, and is
  left out; the compiler finds the range of what remains by consistency.
"""

from __future__ import annotations

import base64
import binascii
import copy
import re
from dataclasses import dataclass
from typing import Any

from ..errors import ModelError
from .custom_layers import BYTECODE, DEPTH_TO_SPACE, GIVEN, IDENTITY, block_size, names_a_shuffle
from .keras_file import Config, KerasFile
from .layer_graph import LayerGraph, Node, shuffle_factor

_PARTS = ("code", "defaults", "closure")
_MARSHALLED_TEXT = re.compile(rb"(?=([zZ\xda\xfa](.)|[aAut\xe1\xc1\xf5\xf4](.)\x00\x00\x00))", re.DOTALL)
_NO_RANGE_MAPPING = re.compile(
    r"resiz|upsampl|downsampl|bicubic|bilinear|nearest|interpol|zoom|tanh|sigmoid|relu|softmax|softplus|swish|gelu|"
    r"\bexp|\blog|\bpow|sqrt|conv|pool|\bpad|crop|flip|revers|transpos|permut|gather|rot90|\bmean|rgb_mean|moments|"
    r"standardi|ycbcr|yuv|gray|grey|hsv|lab\b|\bsplit|concat|stack|bgr|preprocess_input|reduce_|noise|dropout|random|blur",
    re.IGNORECASE,
)
_NO_SHUFFLE = re.compile(
    r"resiz|bicubic|bilinear|interpol|space_to_depth|\bsplit|concat|reduce_|transpos|permut|phase_?shift|unshuffle",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What a layer's own config says without being run."""

    names: tuple[str, ...]
    """Names that the function or its bytecode goes by and mentions."""
    factor: int | None
    """A block size in its arguments or config."""
    constants: bool
    """It carries a list of numbers, such as a mean colour."""

    @property
    def shuffles(self) -> bool:
        return any(names_a_shuffle(name) for name in self.names)

    def against(self, pattern: re.Pattern[str]) -> str | None:
        return next((name for name in self.names if pattern.search(name)), None)


@dataclass(frozen=True, slots=True)
class _Replacement:
    """A layer of ours (custom_layers.py) that takes another's place."""

    class_name: str
    settings: Config
    note: str
    stripped: str | None = None
    """The end of the network, "input" or "output", whose range mapping this layer was."""


def resolve_lambdas(
    file: KerasFile, *, given: frozenset[str] = frozenset(), trust: bool = False
) -> tuple[Config, list[str], frozenset[str]]:
    """The file's config with every Lambda and custom pixel shuffle replaced, what was replaced, in words, and the ends
    ("input", "output") whose range mapping was left out.

    Args:
        given: Names of the user's own functions and classes, which come first: a Lambda takes the function
            named as the layer, as its function, or as one that its bytecode mentions.
        trust: A Lambda that is not recognised may run its bytecode instead of being refused.

    Raises ModelError, naming the layer and the reason, for a Lambda that is not recognised.
    """
    assert file.config is not None
    config = copy.deepcopy(file.config)
    try:
        graph = LayerGraph(file, config)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        if not _mentions_lambda(config):
            return config, [], frozenset()  # nothing here to prove; Keras says better what is wrong with such a config
        raise ModelError(f"{file.path.name}: its config cannot be followed ({error}): save the model again") from None
    opaque = {node for node in graph.nodes if _is_opaque(node, given)}
    replacements: dict[int, _Replacement] = {}
    for node in (node for node in graph.nodes if node in opaque):
        replacement = _replacement(graph, node, opaque, file.path.name, given, trust)
        if replacements.setdefault(id(node.layer), replacement) != replacement:
            raise _unproven(file.path.name, node, "it is called in several places that ask different things of it")
    layers = {id(node.layer): node.layer for node in opaque}
    for key, replacement in replacements.items():
        _put(layers[key], replacement)
    stripped = frozenset(end for replacement in replacements.values() if (end := replacement.stripped) is not None)
    return config, [replacement.note for replacement in replacements.values()], stripped


def _is_opaque(node: Node, given: frozenset[str]) -> bool:
    if node.kind == "Lambda":
        return True
    return node.kind not in given and names_a_shuffle(node.kind) and "kernel_size" not in node.config


def _mentions_lambda(config: Config) -> bool:
    return "Lambda" in {part.get("class_name") for part in _walk(config)}


def _walk(value: Any) -> list[Config]:
    if isinstance(value, dict):
        return [value, *(part for item in value.values() for part in _walk(item))]
    return [part for item in value for part in _walk(item)] if isinstance(value, list) else []


def _replacement(
    graph: LayerGraph, node: Node, opaque: set[Node], name: str, given: frozenset[str], trust: bool
) -> _Replacement:
    """What takes the layer's place: the user's own function, what was recognised, or, on trust, its bytecode."""
    code, label = _bytecode(node.config), f"{node.kind} {node.name}"
    arguments = {"arguments": node.config.get("arguments")}
    if node.kind == "Lambda" and (function := _given_function(node, given)) is not None:
        note = f"{label}: the function {function} of the custom objects"
        return _Replacement(GIVEN, {"function_name": function, **arguments}, note)
    if node.kind == "Lambda" and set(node.config.get("arguments") or ()) == {"i", "parts"}:
        return _Replacement(IDENTITY, {}, f"{label}: takes its part of a batch for one of several GPUs; left out")
    try:
        proven = _prove(graph, node, opaque, name)
    except ModelError:
        if not trust or code is None:
            raise
        function = node.config["function"]
        parts = function["config"] if isinstance(function, dict) else dict(zip(_PARTS, function, strict=False))
        note = f"{label}: runs the bytecode in the file, as --trust-model asked"
        return _Replacement(BYTECODE, {**{part: parts.get(part) for part in _PARTS}, **arguments}, note)
    if isinstance(proven, int):
        note = f"{label}: a pixel shuffle by {proven}, as its channels prove; its code was not run"
        return _Replacement(DEPTH_TO_SPACE, {"block_size": proven}, note)
    end = "before the first" if proven == "first" else "after the last"
    note = f"{label}: maps the value range {end} weights; left out, its code was not run"
    return _Replacement(IDENTITY, {}, note, "input" if proven == "first" else "output")


def _given_function(node: Node, given: frozenset[str]) -> str | None:
    """The user's function for a Lambda: named as the layer, as the layer's function, or as one it mentions."""
    named = [
        re.sub(r"\W", "_", node.name),
        _function_name(node.config) or "",
        *names_in_bytecode(_bytecode(node.config) or ""),
    ]
    return next((name for name in named if name in given), None)


def _prove(graph: LayerGraph, node: Node, opaque: set[Node], name: str) -> str | int:
    if len(node.inputs) != 1:
        raise _unproven(name, node, f"it has {len(node.inputs)} inputs")
    evidence = _evidence(node)
    run = _run(node, opaque)
    before, after = graph.channels_out(run[0].inputs[0]), graph.channels_wanted(run[-1])
    factor = _recorded_factor(evidence, node)
    if before is None or after is None:
        if factor is not None and node.kind != "Lambda":
            return factor
        raise _unproven(name, node, "the file does not show how many channels go in and come out")
    found = shuffle_factor(before, after)
    if found is None:
        raise _unproven(name, node, f"it turns {before} channels into {after}, which no pixel shuffle does")
    shufflers = [member for member in run if len(run) == 1 or _evidence(member).shuffles]
    if found > 1 and node in shufflers:
        return _prove_shuffle(graph, node, evidence, (before, after, found), name, alone=len(shufflers) == 1)
    if found > 1 and not shufflers:
        raise _unproven(name, node, f"one of {len(run)} layers in a row is the pixel shuffle, and none says which")
    if node.kind != "Lambda":
        if factor == 1:
            return "last"
        raise _unproven(name, node, f"it is called a pixel shuffle but keeps its {before} channels")
    return _prove_range(graph, node, evidence, opaque, name)


def _prove_shuffle(
    graph: LayerGraph, node: Node, evidence: _Evidence, channels: tuple[int, int, int], name: str, *, alone: bool
) -> int:
    before, after, factor = channels
    if not alone:
        raise _unproven(name, node, "several layers in a row say they are the pixel shuffle")
    against = evidence.against(_NO_SHUFFLE)
    if against is not None and not any(re.search(r"depth_?to_?space", each, re.IGNORECASE) for each in evidence.names):
        raise _unproven(
            name, node, f"its {before} to {after} channels may be a pixel shuffle, but it mentions {against!r}"
        )
    recorded = _recorded_factor(evidence, node)
    if recorded is not None and recorded != factor and node.kind != "Lambda":
        raise _unproven(
            name, node, f"its config says a block size of {recorded}, its {before} to {after} channels {factor}"
        )
    if node.config.get("data_format") == "channels_first":
        raise _unproven(name, node, "it works on channels first")
    sizes = _sizes(graph, node)
    if sizes is not None and sizes != (factor, factor):
        raise _unproven(
            name, node, f"its {before} to {after} channels say a pixel shuffle by {factor}, its sizes do not"
        )
    return factor


def _prove_range(graph: LayerGraph, node: Node, evidence: _Evidence, opaque: set[Node], name: str) -> str:
    first, last = _is_first(node, opaque), _is_last(node, opaque)
    if not first and not last:
        raise _unproven(
            name, node, "it keeps its channels in the middle of the network: it may scale, activate or resize them"
        )
    against = evidence.against(_NO_RANGE_MAPPING)
    where = "input" if first else "output"
    if against is not None:
        raise _unproven(name, node, f"at the {where} it should map the value range, but it mentions {against!r}")
    if evidence.constants:
        raise _unproven(name, node, f"at the {where} it should map the value range, but it carries a list of numbers")
    sizes = _sizes(graph, node)
    if sizes is not None and sizes != (1, 1):
        raise _unproven(name, node, f"at the {where} it should map the value range, but it changes the picture's size")
    return "first" if first else "last"


def _run(node: Node, opaque: set[Node]) -> list[Node]:
    """The opaque layers in an unbroken row with ``node``, first to last."""
    run = [node]
    while len(run[0].inputs) == 1 and run[0].inputs[0] in opaque and len(run[0].inputs[0].consumers) == 1:
        run.insert(0, run[0].inputs[0])
    while len(run[-1].consumers) == 1 and run[-1].consumers[0] in opaque and len(run[-1].consumers[0].inputs) == 1:
        run.append(run[-1].consumers[0])
    return run


def _is_first(node: Node, opaque: set[Node]) -> bool:
    """True if ``node`` is on the only way out of the model's input and nothing with weights comes before it."""
    while node.inputs:
        if len(node.inputs) != 1 or len(node.inputs[0].consumers) != 1:
            return False
        node = node.inputs[0]
        if not node.only_maps_range and not (node in opaque and node.kind == "Lambda"):
            return False
    return True


def _is_last(node: Node, opaque: set[Node]) -> bool:
    """True if only range mappings and pixel shuffles come between ``node`` and the model's output."""
    while node.consumers:
        if len(node.consumers) != 1 or len(node.consumers[0].inputs) != 1:
            return False
        node = node.consumers[0]
        if not node.only_maps_range and node not in opaque:
            return False
    return True


def _sizes(graph: LayerGraph, node: Node) -> tuple[int, int] | None:
    """By how much the layer makes height and width larger, if the file records both sides."""
    before, after = graph.in_shape(node), graph.out_shape(node)
    if before is None or after is None or len(before) != 4 or len(after) != 4:
        return None
    pairs = [(before[axis], after[axis]) for axis in (1, 2)]
    factors = [b // a for a, b in pairs if a and b and b % a == 0]
    return (factors[0], factors[1]) if len(factors) == 2 else None


def _evidence(node: Node) -> _Evidence:
    config = node.config
    function = config.get("function")
    inner = function.get("config") if isinstance(function, dict) else None
    defaults: Any = inner.get("defaults") if isinstance(inner, dict) else None
    if isinstance(function, list):
        defaults = function[1] if len(function) > 1 else None
    names = [_automatic(node.name), node.kind if node.kind != "Lambda" else "", _function_name(config) or ""]
    names += names_in_bytecode(_bytecode(config) or "")
    arguments = config.get("arguments")
    arguments = arguments if isinstance(arguments, dict) else {}
    lists = [value for value in (*_listed(defaults), *arguments.values()) if _is_vector(value)]
    return _Evidence(tuple(filter(None, names)), block_size(arguments) or block_size(config), bool(lists))


def _automatic(name: str) -> str:
    """A layer's name, or nothing if Keras made it up."""
    return "" if re.fullmatch(r"lambda(_\d+)?", name) else name


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_vector(value: Any) -> bool:
    if isinstance(value, dict):
        value = value.get("value", value.get("config"))
        value = value.get("value") if isinstance(value, dict) else value
    return isinstance(value, list) and len(value) > 1


def _recorded_factor(evidence: _Evidence, node: Node) -> int | None:
    return evidence.factor if evidence.factor is not None or node.kind == "Lambda" else block_size(node.config)


def _function_name(config: Config) -> str | None:
    """The name of a Lambda's function where the file stores a name, not bytecode."""
    function = config.get("function")
    if isinstance(function, str):
        return function
    if isinstance(function, dict) and function.get("class_name") != "__lambda__":
        inner = function.get("config")
        return inner if isinstance(inner, str) else str(function.get("class_name"))
    return None


def _bytecode(config: Config) -> str | None:
    """A Lambda's bytecode, base64-coded: Keras 2 keeps [code, defaults, closure], Keras 3 a "__lambda__"."""
    function = config.get("function")
    if isinstance(function, list) and function and isinstance(function[0], str):
        return function[0]
    if isinstance(function, dict) and function.get("class_name") == "__lambda__":
        inner = function.get("config")
        code = inner.get("code") if isinstance(inner, dict) else None
        return code if isinstance(code, str) else None
    return None


def names_in_bytecode(code: str) -> list[str]:
    """The short texts in marshalled bytecode that are Python names (CPython's Python/marshal.c, type codes)."""
    try:
        data = base64.b64decode(code)
    except (binascii.Error, ValueError):
        return []
    names = []
    for match in _MARSHALLED_TEXT.finditer(data):
        length = (match.group(2) or match.group(3))[0]
        text = data[match.end(1) : match.end(1) + length]
        if len(text) == length and text.isascii() and text.decode().isidentifier():
            names.append(text.decode())
    return names


def _put(layer: Config, replacement: _Replacement) -> None:
    """Turns ``layer``, in a model's config, into its replacement; its place in the graph stays."""
    config = layer["config"]
    kept = {key: config[key] for key in ("name", "trainable", "dtype", "batch_input_shape") if key in config}
    if name := layer.get("name"):
        kept.setdefault("name", name)
    layer["class_name"], layer["config"] = replacement.class_name, {**kept, **replacement.settings}
    if "module" in layer or "registered_name" in layer:
        layer["module"], layer["registered_name"] = None, replacement.class_name


def _unproven(name: str, node: Node, reason: str) -> ModelError:
    what = "Lambda layer" if node.kind == "Lambda" else f"custom layer {node.kind}"
    way = "--trust-model runs its bytecode, " if _bytecode(node.config) is not None else ""
    function = re.sub(r"\W", "_", node.name)
    mend = f"may define it as a function {function}(x)" if node.kind == "Lambda" else "may define the class"
    return ModelError(
        f"{name}: cannot prove what the {what} {node.name!r} does: {reason}; {way}--custom-objects FILE.py {mend}"
    )
