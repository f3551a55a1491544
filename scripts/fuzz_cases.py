"""Model files, pictures and plans, and what may happen to each: the cases of fuzz.py."""

from __future__ import annotations

import importlib.util
import io
import json
import random
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
Mutation = Callable[[random.Random, bytes], bytes]
_ODD = (
    None, -1, 0, 1, 3, 1e308, -1e-9, float("nan"), "", "x", [], {}, [0], [-1, 2], 2**31, 2**63, True, "é\0", 65536,
    {"class_name": "x", "config": {}}, [[["in", 0, 0, {}]]],
)  # fmt: skip
_NUMBERS = "-1 0 1 2 3 7 0.5 -0.5 1e9 1e39 2147483647 2147483648 65536 1,0.2 4,1,1,1,1 nan x".split()
_OPERATORS = "Conv Relu Resize If Loop Transpose Reshape Custom DepthToSpace Gather Concat".split()


def make_seeds(folder: Path) -> None:
    """The whole files that cases are mutated from."""
    import numpy as np
    from PIL import Image

    import srgan_trt

    _make_onnx(folder / "net.onnx", channels=3)
    _make_onnx(folder / "luma.onnx", channels=1)
    _make_weights(folder)
    srgan_trt.build(folder / "net.onnx", out=folder / "net.plan", input_range=(0, 1), output_range=(-1, 1))
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8))
    for suffix in ("png", "jpg", "tif", "webp", "gif", "bmp"):
        photo.save(folder / f"photo.{suffix}.picture", format={"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix))


def _make_onnx(path: Path, *, channels: int) -> None:
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    dice, wide = np.random.default_rng(0), 4 * channels
    values = {"w": dice.normal(0, 0.1, (wide, channels, 3, 3)), "s": dice.uniform(0.1, 0.3, (wide, 1, 1))}
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["a"], pads=[1] * 4),
            helper.make_node("PRelu", ["a", "s"], ["b"]),
            helper.make_node("DepthToSpace", ["b"], ["c"], blocksize=2),
            helper.make_node("Tanh", ["c"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", channels, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", channels, "H", "W"])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in values.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)


def _make_weights(folder: Path) -> None:
    """Weights of PyTorch in their three forms, and an ncnn network, by the writers of the tests."""
    sys.path.append(str(ROOT))
    from tests.models.ncnn_nets import random as values
    from tests.models.ncnn_nets import stored, write_net
    from tests.models.torch_files import write_legacy, write_pth, write_safetensors
    from tests.models.torch_nets import compact, srgan_pytorch

    write_pth(folder / "compact.pth", {"params_ema": compact(2, filters=4).state, "iter": 7})
    write_legacy(folder / "legacy.pth", compact(3, filters=4).state)
    write_safetensors(folder / "srresnet.safetensors", srgan_pytorch(1, filters=4).state)
    lines = [
        "Split split 1 2 in a b", "Convolution first 1 1 a c 0=4 1=3 4=1 5=1 6=108 9=2 -23310=1,0.2",
        "PReLU act 1 1 c d 0=4", "Convolution last 1 1 d e 0=12 1=3 4=1 5=1 6=432", "PixelShuffle up 1 1 e f 0=2",
        "Interp nearest 1 1 b g 0=1 1=2.0 2=2.0", "BinaryOp sum 2 1 f g out 0=0",
    ]  # fmt: skip
    arrays = [(stored(values(size)), stored(values(count), None)) for size, count in ((108, 4), (432, 12))]
    (first, last), slopes = arrays, (stored(values(4), None),)
    param = write_net(folder / "ncnn.param", lines, b"".join((*first, *slopes, *last)))
    (folder / "net.ncnn").write_bytes(param.read_bytes() + b"\0" + param.with_suffix(".bin").read_bytes())


def make_keras_seeds(folder: Path) -> None:
    """Those that need TensorFlow, where it is."""
    if importlib.util.find_spec("tf_keras") is None or importlib.util.find_spec("keras") is None:
        return
    import keras
    import tf_keras

    for library, name in ((tf_keras, "two"), (keras, "three")):
        model = _generator(library, channels=3)
        model.save(folder / f"{name}.h5")
        if library is keras:
            model.save(folder / f"{name}.keras")
    _generator(tf_keras, channels=1).save(folder / "luma.h5")
    _generator(keras, channels=1).save(folder / "luma.keras")


def _generator(keras: Any, *, channels: int) -> Any:
    layers = keras.layers
    x = start = layers.Input((None, None, channels))
    x = layers.PReLU(shared_axes=[1, 2])(layers.Conv2D(4, 3, padding="same")(x))
    y = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(x))
    x = layers.UpSampling2D(2)(layers.Add()([x, y]))
    return keras.Model(start, layers.Conv2D(channels, 3, padding="same", activation="tanh")(x))


def mutated_bytes(dice: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    at, length = dice.randrange(len(out)), dice.choice([1, 4, 16, 256])
    match dice.randrange(6):
        case 0 | 1 | 2:
            for _ in range(length):
                out[dice.randrange(len(out))] = dice.choice([0, 127, 128, 255, dice.randrange(256)])
        case 3:
            del out[at:]
        case 4:
            out[at : at + length] = bytes(len(out[at : at + length]))
        case _:
            out[at:at] = dice.randbytes(length)
    return bytes(out)


def mutated_json(dice: random.Random, text: str | bytes) -> str:
    tree = json.loads(text)
    places: list[tuple[Any, Any]] = []
    pending = [tree]
    while pending:
        part = pending.pop()
        keys = list(part) if isinstance(part, dict) else range(len(part))
        places += [(part, key) for key in keys]
        pending += [part[key] for key in keys if isinstance(part[key], dict | list)]
    for _ in range(dice.choice([1, 1, 2, 4])):
        part, key = dice.choice(places)
        try:
            match dice.randrange(4):
                case 0:
                    del part[key]
                case 1:
                    part[key] = [part[key]] * 3
                case _:
                    part[key] = dice.choice(_ODD)
        except (IndexError, KeyError):
            continue
    return json.dumps(tree)


def mutated_h5(dice: random.Random, data: bytes) -> bytes:
    import h5py
    import numpy as np

    if dice.random() < 0.5:
        return mutated_bytes(dice, data)
    stream = io.BytesIO(data)
    with h5py.File(stream, "r+") as file:
        if dice.random() < 0.6 and "model_config" in file.attrs:
            config = mutated_json(dice, file.attrs["model_config"])
            del file.attrs["model_config"]
            file.attrs["model_config"] = config
            return _closed(file, stream)
        items: list[Any] = []
        file.visititems(lambda _, item: items.append(item))
        item = dice.choice(items)
        name, shape = item.name, getattr(item, "shape", (1,))
        if dice.random() < 0.3 and len(item.attrs):
            item.attrs[dice.choice(list(item.attrs))] = dice.choice(
                ["x", 3, np.zeros(0), np.zeros((2, 2)), b"\xff", ""]
            )
            return _closed(file, stream)
        del file[name]
        match dice.randrange(6):
            case 0:
                file[name] = np.zeros((*shape, 2), np.float32)
            case 1:
                file[name] = np.full(shape, np.nan)
            case 2:
                file[name] = h5py.SoftLink("/")
            case 3:
                file[name] = file["/"]
            case 4:
                file.create_dataset(name, shape=(2**20, 2**20, 2**10), chunks=(64, 64, 1), dtype="f4")
            case _:
                file.create_group(name)
    return stream.getvalue()


def _closed(file: Any, stream: io.BytesIO) -> bytes:
    file.close()
    return stream.getvalue()


def mutated_archive(dice: random.Random, data: bytes) -> bytes:
    """Bytes of the archive; or of what is in it, packed again, so that its check sums are right."""
    if dice.random() < 0.3:
        return mutated_bytes(dice, data)
    source, out = zipfile.ZipFile(io.BytesIO(data)), io.BytesIO()
    names = source.namelist()
    described = [name for name in names if name.endswith(("config.json", "data.pkl"))]
    victim = dice.choice([*names, *described, *described])
    with zipfile.ZipFile(out, "w") as target:
        for member in names:
            content = source.read(member)
            if member == victim:
                content = _CONTENT.get(Path(member).suffix, mutated_bytes)(dice, content)
            target.writestr(member, content)
    return out.getvalue()


def mutated_pth(dice: random.Random, data: bytes) -> bytes:
    return (mutated_archive if data.startswith(b"PK") else mutated_bytes)(dice, data)


def mutated_safetensors(dice: random.Random, data: bytes) -> bytes:
    if dice.random() < 0.4:
        return mutated_bytes(dice, data)
    begin = 8 + int.from_bytes(data[:8], "little")
    table = mutated_json(dice, data[8:begin]).encode()
    return len(table).to_bytes(8, "little") + table + data[begin:]


def mutated_ncnn(dice: random.Random, data: bytes) -> bytes:
    """Of the text, a zero byte and the weights: words or bytes of the one, bytes of the other."""
    text, _, weights = data.partition(b"\0")
    if dice.random() < 0.2:
        return text + b"\0" + mutated_bytes(dice, weights)
    if dice.random() < 0.3:
        return mutated_bytes(dice, text) + b"\0" + weights
    lines = [line.split() for line in text.decode().splitlines()]
    for _ in range(dice.choice([1, 1, 2, 4])):
        words = dice.choice(lines)
        at = dice.randrange(len(words))
        key, sign, _ = words[at].partition("=")
        match dice.randrange(6):
            case 0:
                del words[at]
            case 1:
                words[at] = dice.choice(dice.choice(lines) or ["x"])
            case 2:
                words.insert(at, f"{dice.randrange(24)}={dice.choice(_NUMBERS)}")
            case 3:
                lines.insert(dice.randrange(len(lines)), list(words))
            case _:
                words[at] = f"{key}=" * bool(sign) + dice.choice(_NUMBERS)
        lines = [words for words in lines if words]
    return "\n".join(map(" ".join, lines)).encode() + b"\0" + weights


def mutated_onnx(dice: random.Random, data: bytes) -> bytes:
    import onnx

    if dice.random() < 0.4:
        return mutated_bytes(dice, data)
    model = onnx.ModelProto.FromString(data)
    graph = model.graph
    node, tensor = dice.choice(graph.node), dice.choice(graph.initializer)
    sides = dice.choice([graph.input[0], graph.output[0]]).type.tensor_type.shape.dim
    number = dice.choice([-1, 0, 1, 3, 2**31, 2**62])
    match dice.randrange(9):
        case 0:
            node.op_type = dice.choice(_OPERATORS)
        case 1:
            node.input[0] = dice.choice([name for other in graph.node for name in other.output] + [""])
        case 2 if node.attribute:
            attribute = dice.choice(node.attribute)
            attribute.i = number
            if attribute.ints:
                attribute.ints[0] = number
        case 3:
            tensor.dims[dice.randrange(len(tensor.dims))] = number
        case 4:
            tensor.data_type = dice.choice([0, 2, 6, 7, 8, 10, 16, 99])
        case 5:
            tensor.raw_data = dice.choice([tensor.raw_data[:7], b"\xff" * len(tensor.raw_data)])
        case 6:
            graph.node.remove(node)
        case 7:
            model.opset_import[0].version = dice.choice([-1, 0, 1, 7, 13, 22, 1000])
        case _:
            dice.choice(sides).dim_value = number
    return model.SerializeToString()


def mutated_plan(dice: random.Random, data: bytes) -> bytes:
    """Bytes, or the metadata sealed again: as whoever makes a plan by hand would."""
    import onnx

    from srgan_trt.compiler.plan import _seal

    if dice.random() < 0.3:
        return mutated_bytes(dice, data)
    model = onnx.ModelProto.FromString(data)
    entries = {entry.key.removeprefix("srgan_trt."): entry.value for entry in model.metadata_props}
    del entries["seal"]
    key = dice.choice([*entries, "spec", "report", "report", "self_test"])
    text = entries.get(key, '{"picture": {"shape": [2, 2, 3], "zlib": "eJw="}, "fidelity": 50}')
    if key in ("spec", "report", "self_test"):
        entries[key] = mutated_json(dice, text)
    else:
        entries[key] = str(dice.choice(_ODD))
    seal = onnx.ModelProto()
    for name, value in (entries | {"seal": _seal(entries)}).items():
        seal.metadata_props.add(key=f"srgan_trt.{name}", value=value.replace("\0", ""))
    del model.metadata_props[:]
    return model.SerializeToString() + seal.SerializeToString()


_CONTENT: dict[str, Mutation] = {".h5": mutated_h5, ".json": lambda dice, data: mutated_json(dice, data).encode()}
MUTATE: dict[str, Mutation] = {
    "h5": mutated_h5, "keras": mutated_archive, "onnx": mutated_onnx, "pth": mutated_pth,
    "safetensors": mutated_safetensors, "ncnn": mutated_ncnn, "picture": mutated_bytes, "plan": mutated_plan,
}  # fmt: skip
_SUFFIXES = {"plan": "onnx", "ncnn": "param"}


def make_case(job: str, seeds: Path, folder: Path) -> Path:
    kind = job.partition(":")[0]
    dice = random.Random(job)
    data = dice.choice(sorted(seeds.glob(f"*.{kind}"))).read_bytes()
    for _ in range(20):
        try:
            case = MUTATE[kind](dice, data)
            break
        except Exception:  # a mutation that its own library refuses is not a case: another
            continue
    path = folder / f"case.{_SUFFIXES.get(kind, kind)}"
    if kind == "ncnn":
        case, _, weights = case.partition(b"\0")
        path.with_suffix(".bin").write_bytes(weights)
    path.write_bytes(case)
    return path
