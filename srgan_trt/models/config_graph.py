"""A Keras config's graph as data: of bounded depth and size, without circles, every call in reach, as large as the
weights in the file. Keras itself goes round for ever, or takes all memory, over what is refused here."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import ModelError, one_line
from .keras_file import Config, KerasFile
from .layer_graph import LayerGraph, Node, first_call, references

DEEPEST = 100
"""Objects within objects: a model in a model takes four."""
MOST_LAYERS = 5000
_PARTS_A_LAYER = 8
"""A layer's own object, and those of its initialisers, policies and tensors."""
_MOST_CHANNELS = 1 << 16
_SIZES = ("filters", "units", "num_heads", "key_dim", "input_dim", "output_dim")
_SLACK = 4
"""How many times the weights in the file the layers may say they have: channels are partly found by reasoning."""

Call = tuple[str, int]


def check_graph(name: str, config: Config) -> None:
    """Raises ModelError if the config of the model ``name`` is not a graph that can be put together."""
    layers = 0
    pending: deque[tuple[Any, int]] = deque([(config, 0)])
    while pending:
        part, depth = pending.pop()
        if depth > DEEPEST:
            raise ModelError(f"{name}: its config is nested more than {DEEPEST} deep: no generator's is")
        if isinstance(part, dict):
            if "input_layers" in part and "layers" in part:
                with _followed(name):
                    _check_calls(name, part)
            layers += "class_name" in part and isinstance(part.get("config"), dict)
            pending.extend((item, depth + 1) for item in part.values())
        elif isinstance(part, list):
            pending.extend((item, depth + 1) for item in part)
        if layers > _PARTS_A_LAYER * MOST_LAYERS:
            raise ModelError(f"{name}: its config has more than {MOST_LAYERS} layers: no generator has")


def check_sizes(file: KerasFile, config: Config) -> None:
    """Raises ModelError if the layers say they have many more weights than the file holds: Keras would make them."""
    with _followed(file.path.name):
        graph = LayerGraph(file, config)
    promised = 0
    layers: dict[int, Node] = {id(node.layer): node for node in graph.nodes}
    for node in layers.values():
        incoming = [graph.channels_out(source) or 1 for source in node.inputs] or [1]
        if (widest := max(*incoming, graph.channels_out(node) or 1)) > _MOST_CHANNELS:
            raise ModelError(f"{file.path.name}: its layer {node.name} has {widest:,} channels: no generator has")
        sizes = [size for key in _SIZES if isinstance(size := node.config.get(key), int)]
        if sizes:
            kernel = node.config.get("kernel_size")
            taps = math.prod(side for side in kernel if isinstance(side, int)) if isinstance(kernel, list) else 1
            groups = node.config.get("groups")
            promised += math.prod(sizes) * taps * incoming[0] // (groups if isinstance(groups, int) and groups else 1)
    if promised > _SLACK * file.elements + _MOST_CHANNELS:
        raise ModelError(
            f"{file.path.name}: its layers say they have {promised:,} weights, the file holds {file.elements:,}: save "
            "the model again"
        )


@contextmanager
def _followed(name: str) -> Iterator[None]:
    try:
        yield
    except ModelError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError) as error:
        raise ModelError(f"{name}: its config cannot be followed ({one_line(error)}): save the model again") from error


def _check_calls(name: str, config: Config) -> None:
    """The calls of one functional model: each reads calls that are there, and none reads itself in the end."""
    needs: dict[Call, set[Call]] = {}
    titles: set[str] = set()
    kept: set[str] = set()
    for layer in config["layers"]:
        title = str(layer.get("name") or layer["config"]["name"])
        if title in titles:
            raise ModelError(f"{name}: its config has two layers of the name {title!r}: save the model again")
        titles.add(title)
        made = layer.get("inbound_nodes") or []
        if made and isinstance(made[0], dict) and "layers" in (layer.get("config") or {}):
            kept.add(title)
        if not made and str(layer.get("class_name")).endswith("InputLayer"):
            needs[title, 0] = set()
        for index, node in enumerate(made, first_call(layer, made)):
            needs[title, index] = {(source, number) for source, number, _, _ in references(node)}
    readers: dict[Call, list[Call]] = {}
    for call, sources in needs.items():
        for source in sources:
            readers.setdefault(source, []).append(call)
    left = {call: len(sources) for call, sources in needs.items()}
    ready = [call for call, count in left.items() if not count]
    reached: set[Call] = set()
    while ready:
        call = ready.pop()
        reached.add(call)
        for reader in readers.get(call, ()):
            left[reader] -= 1
            if not left[reader]:
                ready.append(reader)
    ends = {
        (title, index) for part in ("input_layers", "output_layers") for title, index, _, _ in references(config[part])
    }
    # Keras 3 counts the call that made a model within the model among the ends only.
    ends = {
        (title, index - 1) if (title, index) not in needs and title in kept else (title, index) for title, index in ends
    }
    lost = next((call for call in (*needs, *sorted(ends)) if call not in reached), None)
    if lost is not None:
        raise ModelError(
            f"{name}: its layer {lost[0]!r} cannot be reached: it comes after itself, or after a call that the "
            "config does not have; save the model again"
        )
