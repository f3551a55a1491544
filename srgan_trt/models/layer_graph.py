"""A Keras model's config as a graph of layer calls, nested models unfolded, with the channels between them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .keras_file import Config, KerasFile

Shape = tuple[int | None, ...]

_KEEPS_CHANNELS = frozenset({
    "InputLayer", "BatchNormalization", "BatchNormalizationV1", "BatchNormalizationV2", "SyncBatchNormalization",
    "LayerNormalization", "GroupNormalization", "InstanceNormalization", "UnitNormalization", "Normalization",
    "PReLU", "LeakyReLU", "ReLU", "ELU", "ThresholdedReLU", "Activation", "Softmax", "Dropout", "SpatialDropout2D",
    "GaussianNoise", "GaussianDropout", "AlphaDropout", "ActivityRegularization", "Rescaling", "UpSampling2D",
    "ZeroPadding2D", "ReflectionPadding2D", "Cropping2D", "MaxPooling2D", "AveragePooling2D", "Resizing",
})  # fmt: skip
_MERGES = frozenset({"Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"})
_MOST_STEPS = 300_000
_RANGE_ONLY = frozenset({"InputLayer", "Rescaling", "Dropout"})


@dataclass(eq=False, slots=True)
class Node:
    """One call of a layer."""

    layer: Config
    """The layer's own dictionary in the model's config, shared by all its calls."""
    inputs: list[Node] = field(default_factory=list)
    recorded: list[Shape | None] = field(default_factory=list)
    """What the file says of each input's shape, NHWC; None where it says nothing."""
    consumers: list[Node] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return str(self.layer.get("class_name", "")).rpartition(">")[2]

    @property
    def config(self) -> Config:
        config: Config = self.layer.get("config") or {}
        return config

    @property
    def name(self) -> str:
        return str(self.layer.get("name") or self.config.get("name") or self.kind)

    @property
    def only_maps_range(self) -> bool:
        """A layer without weights that changes neither sizes nor channels: input, rescaling."""
        return self.kind in _RANGE_ONLY


class LayerGraph:
    """All calls of a model's layers, in an order in which each comes after its inputs."""

    def __init__(self, file: KerasFile, config: Config) -> None:
        self.nodes: list[Node] = []
        self._steps = 0
        self._weights = file.weights
        self.outputs = self._unfold(config, [], [])
        for node in self.nodes:
            for source in node.inputs:
                source.consumers.append(node)
        self._channels: dict[Node, int | None] = {}
        for node in self.nodes:
            self._channels[node] = self._count_channels(node)

    def in_shape(self, node: Node) -> Shape | None:
        """The shape of the first input as the file records it."""
        if node.recorded and node.recorded[0] is not None:
            return node.recorded[0]
        build = node.layer.get("build_config")
        return _shape(build.get("input_shape")) if isinstance(build, dict) else None

    def out_shape(self, node: Node) -> Shape | None:
        """The shape of the output as the file records it beside the calls that read it."""
        for consumer in node.consumers:
            recorded = consumer.recorded[consumer.inputs.index(node)]
            if recorded is not None:
                return recorded
            if len(consumer.inputs) == 1 and (shape := self.in_shape(consumer)) is not None:
                return shape
        return None

    def channels_out(self, node: Node) -> int | None:
        """Channels that ``node`` gives, as far as the file shows."""
        return self._channels[node]

    def channels_wanted(self, node: Node, *, without: frozenset[Node] = frozenset()) -> int | None:
        """Channels that the calls reading ``node`` need it to give; 3 where it is the picture that comes out."""
        if node in self.outputs:
            return 3
        self._count_step()
        seen = without | {node}
        for consumer in node.consumers:
            if consumer in seen:
                continue
            wanted = self._channels_in(consumer)
            if wanted is None and consumer.kind in _KEEPS_CHANNELS:
                wanted = self.channels_wanted(consumer, without=seen)
            if wanted is None and consumer.kind in _MERGES:
                others = [self._supplied(other, seen) for other in consumer.inputs if other is not node]
                wanted = next((c for c in others if c is not None), None)
                wanted = wanted if wanted is not None else self.channels_wanted(consumer, without=seen)
            if wanted is not None:
                return wanted
        return None

    def _count_channels(self, node: Node) -> int | None:
        """Channels of ``node`` from its own config and from those of its inputs, which are counted already."""
        config = node.config
        if (shape := self.out_shape(node)) is not None and shape[-1] is not None:
            return shape[-1]
        if node.kind == "InputLayer" and not node.inputs:
            shape = _shape(config.get("batch_input_shape") or config.get("batch_shape"))
            return shape[-1] if shape else None
        for key in ("filters", "units"):
            if isinstance(config.get(key), int):
                return int(config[key])
        incoming = [self._channels[source] for source in node.inputs]
        if not incoming:
            shape = _shape(config.get("batch_input_shape"))
            return shape[-1] if shape and node.kind in _KEEPS_CHANNELS else self.channels_wanted(node)
        if node.kind == "DepthwiseConv2D" and incoming[0] is not None:
            return incoming[0] * int(config.get("depth_multiplier", 1))
        if node.kind == "Concatenate":
            return None if None in incoming else sum(c for c in incoming if c is not None)
        if node.kind in _MERGES:
            return max((c for c in incoming if c is not None), default=None)
        if node.kind in _KEEPS_CHANNELS:
            return incoming[0] if incoming[0] is not None else self._channels_in(node)
        return self.channels_wanted(node)

    def _count_step(self) -> None:
        """Ways through a graph of sums double with each: ValueError where there are more than can be walked."""
        self._steps += 1
        if self._steps > _MOST_STEPS:
            raise ValueError("its channels cannot be told: too many ways lead through it")

    def _supplied(self, node: Node, seen: frozenset[Node]) -> int | None:
        """Channels of a merge's other branch, found without coming back to the nodes in ``seen``."""
        if node in seen:
            return None
        self._count_step()
        seen |= {node}
        if isinstance(filters := node.config.get("filters"), int):
            return filters
        if node.kind in _KEEPS_CHANNELS | _MERGES:
            wanted = self._channels_in(node)
            return (
                wanted
                if wanted is not None
                else next((c for source in node.inputs if (c := self._supplied(source, seen)) is not None), None)
            )
        return None

    def _channels_in(self, node: Node) -> int | None:
        """Channels a layer takes, as its recorded input shape or its weights say."""
        if (shape := self.in_shape(node)) is not None and shape[-1] is not None:
            return shape[-1]
        for name, shape in self._shapes(node):
            if name in {"gamma", "beta", "moving_mean", "alpha"} and len(shape) in (1, 3):
                return shape[-1]
            if name == "kernel" and node.kind == "Dense":
                return shape[0]
            if name in {"kernel", "depthwise_kernel"} and len(shape) == 4:
                if node.kind == "Conv2DTranspose":
                    return shape[3]
                groups = 1 if "depthwise" in name else int(node.config.get("groups", 1))
                return (shape[2] or 0) * groups
        return None

    def _shapes(self, node: Node) -> Iterator[tuple[str, Shape]]:
        """(name, shape) of the layer's weights in an HDF5 file."""
        for path, shape in self._weights.items():
            folder, _, weight = path.rpartition("/")
            if folder == node.name or folder.endswith("/" + node.name):
                yield weight.partition(":")[0], shape

    def _unfold(self, model: Config, sources: list[Node], recorded: list[Shape | None]) -> list[Node]:
        """Adds the nodes of ``model`` called on ``sources`` and returns those that it gives out."""
        config = model["config"]
        if isinstance(config, list) or "input_layers" not in config:
            layers = config if isinstance(config, list) else config.get("layers", [])
            return self._unfold_chain(layers, sources, recorded)
        layers = {str(layer.get("name") or layer["config"]["name"]): layer for layer in config["layers"]}
        inputs = [reference[0] for reference in references(config["input_layers"])]
        calls: dict[tuple[str, int], list[Node]] = {}
        wanted = [(name, index, tensor) for name, index, tensor, _ in references(config["output_layers"])]
        pending = [(name, index) for name, index, _ in wanted]
        opened: set[tuple[str, int]] = set()
        while pending:  # depth first, without recursion: generators of a thousand layers in a row exist
            key = (name, index) = pending[-1]
            if key in calls:
                pending.pop()
                continue
            layer = layers[name]
            made = layer.get("inbound_nodes") or []
            if name in inputs or not made:
                position = inputs.index(name) if name in inputs else len(sources)
                calls[key] = self._add(layer, sources[position : position + 1], recorded[position : position + 1])
                continue
            called = list(references(made[min(max(0, index - first_call(layer, made)), len(made) - 1)]))
            absent = [(source, number) for source, number, _, _ in called if (source, number) not in calls]
            if absent and key in opened:
                raise ValueError(f"its layer {name} comes before itself")
            opened.add(key)
            if absent:
                pending.extend(absent)
                continue
            given = [_pick(calls[source, number], tensor) for source, number, tensor, _ in called]
            calls[key] = self._add(layer, given, [shape for _, _, _, shape in called])
        return [_pick(calls[name, index], tensor) for name, index, tensor in wanted]

    def _unfold_chain(self, layers: list[Config], sources: list[Node], recorded: list[Shape | None]) -> list[Node]:
        current, shapes = sources, recorded
        for layer in layers:
            current = self._add(layer, current, shapes)
            shapes = [None] * len(current)
        return current

    def _add(self, layer: Config, sources: list[Node], recorded: list[Shape | None]) -> list[Node]:
        config = layer.get("config")
        if isinstance(config, list) or (isinstance(config, dict) and "layers" in config):
            return self._unfold(layer, sources, recorded)
        node = Node(layer, list(sources), list(recorded))
        self.nodes.append(node)
        return [node]


def _pick(tensors: list[Node], index: int) -> Node:
    return tensors[min(index, len(tensors) - 1)]


def references(value: Any) -> Iterator[tuple[str, int, int, Shape | None]]:
    """(layer, call, tensor, shape) of every tensor named in a Keras 2 or Keras 3 list of inbound tensors."""
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            name, index, tensor = value["config"]["keras_history"]
            yield str(name), int(index), int(tensor), _shape(value["config"].get("shape"))
            return
        for item in value.values():
            yield from references(item)
    elif isinstance(value, (list, tuple)):
        if len(value) >= 3 and isinstance(value[0], str) and all(isinstance(part, int) for part in value[1:3]):
            if value[1] >= 0:  # Keras 2 writes constants as ["_CONSTANT_VALUE", -1, ...]
                yield value[0], value[1], value[2], None
            value = value[3:]
        for item in value:
            yield from references(item)


def _shape(value: Any) -> Shape | None:
    if not isinstance(value, (list, tuple)) or not value or not all(v is None or isinstance(v, int) for v in value):
        return None
    return tuple(value)


def shuffle_factor(channels_in: int, channels_out: int) -> int | None:
    """r if ``channels_in`` is ``channels_out`` times the square of a whole r, else None."""
    if channels_out < 1 or channels_in % channels_out:
        return None
    factor = math.isqrt(channels_in // channels_out)
    return factor if factor**2 * channels_out == channels_in else None


def first_call(layer: Config, made: list[Any]) -> int:
    """The number of a layer's first call. Keras 2 counts that by which a model within the model was made, too."""
    inner = layer["config"].get("layers") if isinstance(layer["config"], dict) else layer["config"]
    if not isinstance(inner, list) or not inner or not isinstance(made[0] if made else None, list):
        return 0
    first = inner[0]
    known = first.get("class_name") == "InputLayer" or {"batch_input_shape", "batch_shape"} & set(first["config"])
    return int(bool(known or (isinstance(layer["config"], dict) and layer["config"].get("build_input_shape"))))
