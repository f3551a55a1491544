"""Files of weights that are hostile, damaged or not what they seem: refused in a line, at once, and nothing is run."""

from __future__ import annotations

import io
import random
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from srgan_trt.cli.info import describe_file
from srgan_trt.errors import ModelError
from srgan_trt.models.files import files_of, is_torch
from srgan_trt.models.loader import open_network
from srgan_trt.models.pickle_data import read_pickle
from srgan_trt.models.torch_file import read_torch_file
from srgan_trt.resolve import resolve

from .torch_files import Pickle, in_a_line, pickled, refused, write_legacy, write_pth, write_safetensors
from .torch_nets import compact

STATE = compact(2).state
SIGNS = ("body.0.weight", "body.1.weight", "body.2.weight")
"""Names by which a file is taken for a known network, so that its numbers are read."""
ARRAY = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


class TestBombs:
    """Small files that would become large, deep or slow."""

    def test_a_description_that_is_too_long(self, tmp_path: Path) -> None:
        refused(write_pth(tmp_path / "net.pth", Pickle(bytes(9 << 20))), "its description has 9,43.* bytes: more than")

    def test_zip_bombs(self, tmp_path: Path) -> None:
        path = write_pth(tmp_path / "net.pth", Pickle(bytes(8 << 20)), compression=zipfile.ZIP_DEFLATED)
        refused(path, r"its part .* is compressed, as PyTorch never does")
        path = tmp_path / "arrays.pth"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(
                "archive/data.pkl", pickled({name: np.zeros(1 << 20, np.float32) for name in SIGNS}).bytes()
            )
            for number in range(3):
                archive.writestr(f"archive/data/{number}", bytes(4 << 20), zipfile.ZIP_DEFLATED)
        refused(path, "tells of 12,582,912 bytes of weights and has")

    def test_a_member_that_tells_another_size(self, tmp_path: Path) -> None:
        path = write_pth(tmp_path / "net.pth", {"w": np.zeros(1 << 10, np.float32)})
        data = path.read_bytes()
        entry = data.rindex(b"PK\x01\x02", 0, data.rindex(b"archive/data/0"))
        path.write_bytes(data[: entry + 24] + struct.pack("<I", 1 << 30) + data[entry + 28 :])
        refused(path, "should have 1,024 numbers, but has 1,073,741,824")

    def test_one_storage_for_many_arrays(self, tmp_path: Path) -> None:
        """A file of a megabyte would be a network of a gigabyte."""
        made = Pickle()
        made.storages.append(np.zeros(1 << 18, np.float32))
        made.code += b"}("
        for name in (*SIGNS, *(f"body.{number}.weight" for number in range(3, 1000))):
            made.value(name).name("torch._utils", "_rebuild_tensor_v2").code += b"("
            made.storage("FloatStorage", "0", 1 << 18).value(0).value((1 << 18,)).value((1,))
            made.code += b"tR"
        made.code += b"u"
        refused(
            write_pth(tmp_path / "net.pth", made), r"tells of 1,048,576,000 bytes of weights and has 1,\d\d\d,\d\d\d"
        )

    def test_numbers_of_unknown_networks_are_not_read(self, tmp_path: Path) -> None:
        """4 GB of a language model, say."""
        entry = {"dtype": "F32", "shape": [1 << 30], "data_offsets": [0, 1 << 32]}
        path = write_safetensors(tmp_path / "net.safetensors", {}, changed={"model.embed_tokens.weight": entry})
        with path.open("ab") as file:
            file.truncate(path.stat().st_size + (1 << 32))
        refused(path, r"holds 1 arrays \(model\.embed_tokens\.weight\) of no architecture")

    def test_an_archive_of_many_files(self, tmp_path: Path) -> None:
        path = tmp_path / "net.pth"
        with zipfile.ZipFile(path, "w") as archive:
            for number in range(300):
                archive.writestr(f"archive{number}/data.pkl", b"")
        refused(path, "an archive with 300 descriptions")


ARRAYS = [
    ({"shape": (1 << 30, 1 << 9), "strides": (1 << 9, 1)}, "larger than the 24 numbers"),
    ({"shape": (1 << 39, 1 << 39), "strides": (0, 0)}, "more than once"),
    ({"shape": (25,), "strides": (1,)}, "larger than the 24 numbers"),
    ({"shape": (4, 7), "strides": (7, 1)}, "larger than"),
    ({"shape": (4, 4), "strides": (1, 1)}, r"4x4, has numbers more than once \(steps 1x1\)"),
    ({"shape": (3, 4), "strides": (0, 1)}, "more than once"),
    ({"shape": (2, 3), "strides": (2, 1)}, "more than once"),
    ({"shape": (2, 2), "strides": (1 << 39, 1)}, "larger than"),
    ({"shape": (2, 2), "strides": (-2, 1), "offset": 4}, "steps that do not fit"),
    ({"shape": (-1,), "strides": (1,)}, "place or the shape of an array in it is none"),
    ({"shape": (2, 2), "strides": (1,)}, "steps that do not fit"),
    ({"shape": (2.0,), "strides": (1,)}, "the shape of an array"),
    ({"shape": (True,), "strides": (1,)}, "the shape of an array"),
    ({"shape": "24", "strides": (1,)}, "the shape of an array"),
    ({"shape": (1,) * 9, "strides": (1,) * 9}, "the shape of an array"),
    ({"shape": (1 << 80,), "strides": (1,)}, "the shape of an array"),
    ({"offset": 1}, "larger than"),
    ({"offset": 1 << 62}, "the place"),
    ({"offset": -1}, "the place"),
    ({"offset": None}, "the place"),
    ({"count": 1 << 40}, "should have 1,099,511,627,776 numbers, but has 96"),
    ({"count": 23}, "should have 23 numbers, but has 96"),
    ({"kind": "DoubleStorage"}, "should have 24 numbers, but has 96"),
    ({"kind": "ComplexFloatStorage"}, r"names torch\.ComplexFloatStorage"),
    ({"more": (("0", 0, 24),)}, "views of storages"),
]


@pytest.mark.parametrize(("wrong", "words"), ARRAYS)
def test_arrays_that_are_described_wrongly(wrong: dict[str, Any], words: str, tmp_path: Path) -> None:
    made = Pickle()
    made.code += b"}" + pickled("w").code[2:]
    made.tensor(ARRAY, **wrong).code += b"s"
    refused(write_pth(tmp_path / "net.pth", made), words)


class TestArrays:
    @staticmethod
    def read(path: Path) -> Any:
        file = read_torch_file(path)
        return file.arrays(file.tree)["w"]

    @pytest.mark.parametrize("write", [write_pth, write_legacy])
    @pytest.mark.parametrize(
        ("wrong", "expected"),
        [
            ({}, ARRAY),
            ({"shape": (3, 2), "strides": (1, 3)}, np.array([[0, 3], [1, 4], [2, 5]])),
            ({"shape": (2, 2), "strides": (12, 2), "offset": 5}, np.array([[5, 7], [17, 19]])),
            ({"shape": (), "strides": (), "offset": 7}, np.array(7)),
            ({"shape": (0, 5), "strides": (5, 1)}, np.zeros((0, 5))),
            ({"shape": (1, 3), "strides": (1 << 39, 1)}, np.array([[0, 1, 2]])),
        ],
    )
    def test_parts_and_turned_ones(self, write: Any, wrong: dict[str, Any], expected: Any, tmp_path: Path) -> None:
        made = Pickle()
        made.code += b"}" + pickled("w").code[2:]
        made.tensor(ARRAY, **wrong).code += b"s"
        found = self.read(write(tmp_path / "net.pth", made))
        np.testing.assert_array_equal(found, expected)
        assert (found.dtype, found.shape) == (np.float32, expected.shape)

    @pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16, np.int64])
    def test_kinds_of_numbers(self, kind: Any, tmp_path: Path) -> None:
        for write in (write_pth, write_legacy, write_safetensors):
            np.testing.assert_array_equal(self.read(write(tmp_path / "net", {"w": ARRAY.astype(kind)})), ARRAY)

    def test_parameters(self, tmp_path: Path) -> None:
        """torch.save of a dict of parameters puts each into one more."""
        made = Pickle()
        made.code += b"}" + pickled("w").code[2:]
        made.name("torch._utils", "_rebuild_parameter").code += b"("
        made.tensor(ARRAY).value(True).value({}).code += b"tRs"
        np.testing.assert_array_equal(self.read(write_pth(tmp_path / "net.pth", made)), ARRAY)

    def test_python_2_wrote_pairs(self, tmp_path: Path) -> None:
        made = Pickle().name("collections", "OrderedDict")
        made.code += b"(]" + pickled("w").code[2:]
        made.tensor(ARRAY).code += b"\x86atR"
        np.testing.assert_array_equal(self.read(write_pth(tmp_path / "net.pth", made)), ARRAY)

    def test_attributes_of_a_dict_are_passed_over(self, tmp_path: Path) -> None:
        made = pickled({"w": ARRAY})
        made.value({"_metadata": {"": {"version": 1}}}).code += b"b"
        np.testing.assert_array_equal(self.read(write_pth(tmp_path / "net.pth", made)), ARRAY)

    def test_what_is_no_text_is_no_name(self) -> None:
        assert read_pickle(io.BytesIO(Pickle().value({"a": 1, 3: 2, (1, "b"): [4]}).bytes())) == {"a": 1}


class TestDamage:
    def test_torchscript(self, tmp_path: Path) -> None:
        path = write_pth(tmp_path / "net.pt", STATE)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("archive/constants.pkl", b"")
        refused(path, "is a TorchScript program, not weights")

    @pytest.mark.parametrize("keep", [0.0, 0.2, 0.5, 0.9, 0.99])
    @pytest.mark.parametrize("write", [write_pth, write_legacy, write_safetensors])
    def test_truncated(self, write: Any, keep: float, tmp_path: Path) -> None:
        path = write(tmp_path / "net.pth", STATE)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * keep)])
        refused(path, "truncated|is empty|no file of weights|damaged")

    def test_a_changed_number_is_seen_by_the_archives_checksum(self, tmp_path: Path) -> None:
        path = write_pth(tmp_path / "net.pth", STATE)
        data = path.read_bytes()
        weight = STATE["body.2.weight"].tobytes()
        path.write_bytes(data.replace(weight, b"\0" * 4 + weight[4:]))
        refused(path, "Bad CRC")

    def test_a_storage_that_is_not_there(self, tmp_path: Path) -> None:
        made = pickled(STATE)
        made.storages.pop()
        refused(write_pth(tmp_path / "net.pth", made), "should have 12 numbers, but has 0")

    def test_other_machines(self, tmp_path: Path) -> None:
        path = write_pth(tmp_path / "net.pth", STATE)
        path.write_bytes(path.read_bytes().replace(b"little", b"biglit"))
        refused(path, "big-endian|Bad CRC")

    @pytest.mark.parametrize("content", [b"GIF89a" * 9, b"\x80\x04N.", b"archive.tar" * 60])
    def test_other_files_of_this_name(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "net.pth").write_bytes(content)
        refused(tmp_path / "net.pth", "no file of weights: neither torch.save nor safetensors wrote it")

    @pytest.mark.parametrize(
        ("changed", "words"),
        [
            ({"w": {"dtype": "F32", "shape": [2, 3, 5], "data_offsets": [0, 96]}}, "larger than the 24 numbers"),
            ({"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 96]}}, "'w' has another size"),
            ({"w": {"dtype": "F32", "shape": [24], "data_offsets": [0, 97]}}, "'w' is not in it whole"),
            ({"w": {"dtype": "F32", "shape": [2, 3, 4], "data_offsets": [96, 0]}}, "'w' is not in it whole"),
            ({"w": {"dtype": "F32", "shape": [2, 3, 4], "data_offsets": [0.0, 96.0]}}, "'w' is not in it whole"),
            ({"w": {"dtype": "F32", "shape": [1 << 62, 1 << 62], "data_offsets": [0, 96]}}, "the shape of an array"),
            ({"w": {"dtype": "F32", "shape": ["x", 1 << 39], "data_offsets": [0, 96]}}, "the shape of an array"),
            (
                {"w": {"dtype": "F8_E4M3", "shape": [24], "data_offsets": [0, 24]}},
                "numbers that are not read here, at 'w'",
            ),
            ({"w": {"dtype": ["F32"], "shape": [24], "data_offsets": [0, 96]}}, "its table is wrong"),
            ({"w": {"shape": [24]}}, "its table is wrong"),
            ({"w": None}, "its table is wrong"),
            ({"\x1b[2J": 3}, r"at '\\x1b\[2J'"),
        ],
    )
    def test_tables_of_safetensors(self, changed: dict[str, Any], words: str, tmp_path: Path) -> None:
        refused(write_safetensors(tmp_path / "net.safetensors", {"w": ARRAY}, changed=changed), words)

    @pytest.mark.parametrize("table", [b"{" * 100_000, b'{"a":' * 100_000, b"{" + b" " * 10, b'{"a": 1e999, '])
    def test_texts_that_are_no_table(self, table: bytes, tmp_path: Path) -> None:
        path = tmp_path / "net.safetensors"
        path.write_bytes(struct.pack("<Q", len(table)) + table)
        refused(path, "its table is not JSON")

    def test_arrays_of_safetensors_that_share_bytes(self, tmp_path: Path) -> None:
        entry = {"dtype": "F32", "shape": [24], "data_offsets": [0, 96]}
        shared = {f"body.{number}.weight": entry for number in range(500)}
        big = write_safetensors(tmp_path / "net.safetensors", {"w": ARRAY}, changed=shared)
        refused(big, "tells of 48,096 bytes of weights and has|tells of 48,000 bytes")


def test_any_of_these_files_is_one_model_of_one_file(tmp_path: Path) -> None:
    for write in (write_pth, write_legacy, write_safetensors):
        path = write(tmp_path / "net", STATE)
        assert is_torch(path)
        assert files_of(path) == [path]


def test_info_tells_what_is_in_a_file_that_is_not_read(tmp_path: Path) -> None:
    path = write_pth(tmp_path / "net.pth", {"params": {"tail.0.0.weight": ARRAY}, "epoch": 3})
    with pytest.raises(ModelError, match="it looks like EDSR"):
        describe_file(resolve(path))


_FUZZ = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@_FUZZ
@given(seed=st.integers(0, 1 << 30), kind=st.sampled_from(["pth", "legacy", "safetensors"]), cut=st.booleans())
def test_any_bytes_may_be_wrong_or_missing(tmp_path: Path, seed: int, kind: str, cut: bool) -> None:
    write: Any = {"pth": write_pth, "legacy": write_legacy, "safetensors": write_safetensors}[kind]
    choose = random.Random(seed)
    path = write(tmp_path / "net.pth", {name: STATE[name] for name in list(STATE)[:4]})
    data = bytearray(path.read_bytes())
    for _ in range(choose.randrange(1, 6)):
        data[choose.randrange(len(data))] = choose.randrange(256)
    path.write_bytes(data[: choose.randrange(len(data))] if cut else data)
    in_a_line(lambda: open_network(path))
