"""What a model file may ask Keras and TensorFlow to do: layers and arithmetic, nothing else.

A config names Python modules, functions and TensorFlow symbols, and may carry bytecode. Keras refuses much
of that by itself, tf_keras less; this list is the same for both, and is read before either sees the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ..errors import ModelError
from .keras_file import Config

_MODULES = re.compile(
    r"(tf_|tensorflow\.(python\.)?|tf\.)?keras"
    r"(\.src)?(\.(layers|models|engine|activations|initializers|regularizers|constraints|dtype_policies|ops"
    r"|mixed_precision|backend\.common)(\.\w+)*)?"
)
_FUNCTION_MODULES = re.compile(
    r"builtins|keras(\.src)?\.(activations|initializers|regularizers|constraints|ops)(\.\w+)*"
)

_FUNCTION_TYPES = ("function_type", "output_shape_type", "mask_type")  # Keras 2 marks bytecode by these

_OPENS_FILES_OR_CODE = frozenset({
    "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "StringLookup", "IntegerLookup", "IndexLookup",
    "TextVectorization", "Hashing", "HashedCrossing", "FeatureSpace", "ClassMethod", "InstanceMethod",
    "InstanceProperty",
})  # fmt: skip

_SYMBOLS = re.compile(
    r"(compat\.v1\.)?(math\.\w+|nn\.\w+|linalg\.\w+|__operators__\.\w+|"
    r"image\.(resize\w*|adjust_\w+|flip_\w+|rgb_to_\w+|yuv_to_rgb|yiq_to_rgb|pad_to_bounding_box|crop_\w+"
    r"|per_image_standardization|extract_patches|central_crop|ResizeMethod)|"
    r"abs|acos|add|add_n|argmax|argmin|asin|atan|batch_to_space|broadcast_to|cast|clip_by_norm|clip_by_value|concat"
    r"|convert_to_tensor|cos|cumsum|depth_to_space|divide|equal|exp|expand_dims|eye|fill|floor|gather|gather_nd|greater"
    r"|greater_equal|identity|less|less_equal|logical_\w+|matmul|maximum|minimum|multiply|negative|norm|not_equal|one_hot"
    r"|ones|ones_like|pad|pow|range|rank|realdiv|reduce_\w+|repeat|reshape|reverse|roll|round|saturate_cast|shape|sigmoid"
    r"|sign|sin|size|slice|space_to_batch|space_to_depth|split|sqrt|square|squeeze|stack|strided_slice|subtract|tan"
    r"|tanh|tensordot|tile|to_float|transpose|truediv|unstack|where|zeros|zeros_like"
    r"|keras\.(activations\.\w+|backend\.(abs|cast|clip|concatenate|depth_to_space|exp|expand_dims|log|max|maximum|mean|min"
    r"|minimum|permute_dimensions|pow|relu|reshape|resize_images|round|shape|sigmoid|softmax|sqrt|square|stack|std|sum"
    r"|tanh|tile|transpose|var)))"
)

_NODE_OPS = re.compile(
    r"Abs|Acos|Add|AddN|AddV2|All|Any|ArgMax|ArgMin|Asin|Atan|AvgPool|BatchMatMul|BatchMatMulV2|BatchToSpaceND"
    r"|BiasAdd|BroadcastTo|Cast|Ceil|ClipByValue|Concat|ConcatV2|Const|Conv2D|Conv2DBackpropInput|Cos|Cumsum"
    r"|DepthToSpace|DepthwiseConv2dNative|Div|DivNoNan|Elu|Equal|Erf|Exp|ExpandDims|ExtractImagePatches|Fill|Floor"
    r"|FloorDiv|FloorMod|FusedBatchNorm|FusedBatchNormV2|FusedBatchNormV3|Gather|GatherNd|GatherV2|Greater"
    r"|GreaterEqual|Identity|IdentityN|LeakyRelu|Less|LessEqual|Log|Log1p|LogicalAnd|LogicalNot|LogicalOr|MatMul"
    r"|Max|MaxPool|Maximum|Mean|Min|Minimum|MirrorPad|Mod|Mul|Neg|NotEqual|OnesLike|Pack|Pad|PadV2|Pow|Prod|Range"
    r"|Rank|RealDiv|Reciprocal|Relu|Relu6|Reshape|ResizeArea|ResizeBicubic|ResizeBilinear|ResizeNearestNeighbor"
    r"|ReverseV2|Rint|Roll|Round|Rsqrt|ScaleAndTranslate|Select|SelectV2|Selu|Shape|Sigmoid|Sign|Sin|Size|Slice"
    r"|Softmax|Softplus|Softsign|SpaceToBatchND|SpaceToDepth|Split|SplitV|Sqrt|Square|SquaredDifference|Squeeze"
    r"|StopGradient|StridedSlice|Sub|Sum|Tan|Tanh|Tile|Transpose|Unpack|Where|ZerosLike"
)


def check_config(name: str, config: Config, *, given: frozenset[str] = frozenset(), trust: bool = False) -> None:
    """Raises ModelError if the config of the model ``name`` asks for more than layers and arithmetic.

    Args:
        given: Names that custom objects stand for, the user's or ours: whatever module they name is not imported.
        trust: Allow unlisted TensorFlow functions and operators. Bytecode outside Lambda layers, foreign
            modules and layers that open files stay refused: no generator needs them.
    """
    for part in _dictionaries(config):
        class_name = str(part.get("class_name", "")).rpartition(">")[2]
        label = _label(part)
        if class_name == "__lambda__" or any(part.get(key) == "lambda" for key in _FUNCTION_TYPES):
            raise ModelError(
                f"{name}: {label} carries Python bytecode in a place where only a Lambda layer may: it is not run; "
                "save the model again without it"
            )
        if class_name in _OPENS_FILES_OR_CODE:
            raise ModelError(f"{name}: a {class_name} layer ({label}) reads files or runs code: no generator needs one")
        _check_module(name, part, class_name, given)
        if trust:
            continue
        if class_name in {"TFOpLambda", "SlicingOpLambda"}:
            symbol = str((part.get("config") or {}).get("function", ""))
            if not _SYMBOLS.fullmatch(symbol):
                raise ModelError(
                    f"{name}: the layer {label} calls TensorFlow's {symbol!r}, which is not known to be plain "
                    "arithmetic: pass --trust-model if you trust whoever made the file"
                )
        if class_name == "TensorFlowOpLayer":
            operator = _node_operator((part.get("config") or {}).get("node_def"))
            if not _NODE_OPS.fullmatch(operator):
                raise ModelError(
                    f"{name}: the layer {label} runs TensorFlow's operator {operator!r}, which is not known to be "
                    "plain arithmetic: pass --trust-model if you trust whoever made the file"
                )


def _check_module(name: str, part: Config, class_name: str, given: frozenset[str]) -> None:
    module = part.get("module")
    if class_name == "function":
        function = part.get("config")
        if function not in given and module is not None and not _FUNCTION_MODULES.fullmatch(str(module)):
            raise ModelError(
                f"{name}: it uses the function {function} of the Python module {module}, which the file does not "
                "hold: give it with --custom-objects FILE.py"
            )
    elif (
        isinstance(module, str)
        and class_name not in given
        and not _MODULES.fullmatch(module)
        and not (module == "builtins" and class_name in {"slice", "__tuple__"})
    ):
        raise ModelError(
            f"{name}: it uses the class {class_name} of the Python module {module}, which the file does not "
            "hold: give it with --custom-objects FILE.py"
        )


def _dictionaries(value: Any) -> Iterator[Config]:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            yield item
            stack.extend(item.values())
        elif isinstance(item, (list, tuple)):
            stack.extend(item)


def _label(part: Config) -> str:
    config = part.get("config")
    inner = config.get("name") if isinstance(config, dict) else None
    return repr(str(part.get("name") or inner or part.get("class_name")))


def _node_operator(definition: Any) -> str:
    """The operator of a TensorFlowOpLayer: its node_def is a dictionary, or text that holds one, or a protobuf's."""
    if isinstance(definition, dict):
        return str(definition.get("op", ""))
    found = re.search(r"""["']?\bop["']?\s*:\s*["'](\w+)["']""", str(definition))
    return found.group(1) if found else ""
