"""ncnn files that are damaged, incomplete or not what they seem: one line that says so, at once, and no memory."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from srgan_trt.errors import ModelError
from srgan_trt.models.files import files_of
from srgan_trt.models.loader import open_network
from srgan_trt.models.ncnn_file import MAX_PARAM_BYTES, Stored, read_param, read_weights
from srgan_trt.models.ncnn_source import open_ncnn
from srgan_trt.models.registry import find_model
from srgan_trt.plan_cache import cached_plan

from ..peak_memory import little
from .ncnn_nets import FP16, stored, write_net
from .ncnn_nets import random as values

CONV = "Convolution conv 1 1 in t 0=12 1=3 4=1 5=1 6=324 9=2 -23310=1,2.000000e-01"
LINES = [CONV, "PixelShuffle shuffle 1 1 t u 0=2", "PReLU act 1 1 u out 0=3"]
WEIGHTS = stored(values(12, 3, 3, 3), FP16) + stored(values(12), None) + stored(values(3), None)


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return write_net(tmp_path / "net.param", LINES, WEIGHTS)


def refused(path: Path, words: str) -> None:
    with pytest.raises(ModelError, match=words) as error:
        open_network(path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 700
    assert path.stem in str(error.value)


class TestParam:
    def test_layers_as_they_stand_there(self, net: Path) -> None:
        source, conv, shuffle, _ = read_param(net)
        assert (source.kind, source.inputs, source.outputs, source.line) == ("Input", (), ("in",), 3)
        assert conv.values == {0: 12, 1: 3, 4: 1, 5: 1, 6: 324, 9: 2, 10: (0.2,)}
        assert (conv.name, conv.inputs, conv.outputs, conv.line) == ("conv", ("in",), ("t",), 4)
        assert shuffle.shown == "PixelShuffle shuffle (line 5)"

    def test_blank_lines_and_those_of_windows(self, net: Path) -> None:
        layers = read_param(net)
        net.write_bytes(net.read_bytes().replace(b"\n", b"\r\n") + b"\r\n\r\n")
        assert read_param(net) == layers

    @pytest.mark.parametrize(
        ("old", "new", "words"),
        [
            ("7767517\n4 4", "7767518\n4 4", "does not begin with 7767517"),
            ("\n4 4\n", "\n4\n", "does not begin with 7767517 and two counts"),
            ("\n4 4\n", "\n5 4\n", "4 layers, not 5"),
            ("\n4 4\n", "\n4 9\n", "4 blobs, not 9"),
            ("\n4 4\n", "\n4 -4\n", "line 2: '-4' is not a count"),
            ("0=12", "0=twelve", "line 4: 'twelve' is not a number"),
            ("0=12", "0=1e30", "line 4: 1e30 is absurdly large"),
            ("0=12", "0=99999999999999999999", "absurdly large"),
            ("0=12", "0", "line 4: '0' is not a key=value"),
            ("0=12", "x=1", "line 4: 'x=1' is not a key=value"),
            ("0=12", "0=0x10", "'0x10' is not a number"),
            ("0=12", "0=1_2", "'1_2' is not a number"),
            ("0=12", "0=nan", "'nan' is not a number"),
            ("-23310=1,2.000000e-01", "-23310=2,0.2", "is not an array: it holds 1 values"),
            ("-23310=1,2.000000e-01", "-23310=1,", "'' is not a number"),
            ("PReLU act 1 1 u out 0=3", "PReLU act 1 2 u 0=3", "line 6: PReLU act names fewer than 3 blobs"),
            (
                "PReLU act 1 1 u out 0=3",
                "PReLU act 1",
                "line 6: a layer has a kind, a name and two counts, not 3 words",
            ),
            ("1 1 u out", "1 1 out out", r"PReLU act \(line 6\) reads out, which no layer before it makes"),
            ("1 1 u out", "1 1 u t", r"PReLU act \(line 6\) makes t, which another layer made"),
            (
                "1 1 u out",
                "2 1 u t out",
                r"PReLU act \(line 6\) reads t, as PixelShuffle shuffle \(line 5\) does, without",
            ),
            ("1 1 t u", "1 1 out u", r"PixelShuffle shuffle \(line 5\) reads out, which no layer before it makes"),
            (
                "PReLU act",
                "Swish act",
                r"line 6: layers of the kind Swish \(act\) are not supported; those that are: Inp",
            ),
            ("act", "a\x1b[2Jct", "line 6: this is not a line of an ncnn .param"),
            ("act", "a" * 300, "line 6: this is not a line of an ncnn .param"),
            ("act", "äct", "damaged ncnn .param: byte"),
        ],
    )
    def test_damage_is_told_with_its_line(self, net: Path, old: str, new: str, words: str) -> None:
        text = net.read_text()
        assert old in text
        net.write_text(text.replace(old, new, 1))
        refused(net, words)

    def test_a_huge_file(self, net: Path) -> None:
        with net.open("ab") as file:
            file.truncate(MAX_PARAM_BYTES + 10)
        refused(net, "has more than 8 MB")

    def test_the_binary_form(self, tmp_path: Path) -> None:
        path = tmp_path / "net.param.bin"
        path.write_bytes(struct.pack("<III", 7767517, 4, 4))
        refused(path, "binary form of a .param: name the text file")

    def test_the_weights_named_instead(self, net: Path) -> None:
        refused(net.with_suffix(".bin"), r"net\.bin holds only the weights of an ncnn network: name .*net\.param")

    def test_what_it_is_shows_in_its_content(self, net: Path) -> None:
        other = net.rename(net.with_name("net.txt"))
        assert open_network(other).kind == "ncnn .param"
        assert files_of(other) == [other, net.with_suffix(".bin")]


class TestWeights:
    def test_missing(self, net: Path) -> None:
        net.with_suffix(".bin").unlink()
        for use in (open_network, cached_plan):
            with pytest.raises(ModelError, match=r"net\.bin is missing: net\.param needs the file with its weights"):
                use(net)

    @pytest.mark.parametrize("size", [0, 3, 4, 5, 651, 652, 690, len(WEIGHTS) - 1])
    def test_too_short(self, net: Path, size: int) -> None:
        net.with_suffix(".bin").write_bytes(WEIGHTS[:size])
        refused(net, r"net\.bin is too short: .* \(line \d\) needs \d+ bytes, \d+ are left")

    def test_too_long(self, net: Path) -> None:
        net.with_suffix(".bin").write_bytes(WEIGHTS + b"\0")
        refused(net, rf"net\.bin is too long: 1 of its {len(WEIGHTS) + 1} bytes belong to no layer")

    def test_int8(self, net: Path) -> None:
        net.with_suffix(".bin").write_bytes(struct.pack("<I", 0x000D4B38) + WEIGHTS[4:])
        refused(net, r"net\.bin stores Convolution conv \(line 4\) in int8: only fp32 and fp16")

    def test_an_unknown_tag(self, net: Path) -> None:
        net.with_suffix(".bin").write_bytes(b"\1\2\3\4" + WEIGHTS[4:])
        refused(net, "in an unknown way .tag 0x04030201.")

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_values_that_are_no_numbers(self, net: Path, value: float) -> None:
        slopes = np.array([0.1, value, 0.1], np.float32)
        net.with_suffix(".bin").write_bytes(WEIGHTS[:-12] + stored(slopes, None))
        refused(net, r"not all slopes of PReLU act \(line 6\) are finite")

    def test_fp16_is_padded_to_whole_words(self, tmp_path: Path) -> None:
        path = write_net(tmp_path / "net.param", LINES[:1])
        array = values(3)
        path.with_suffix(".bin").write_bytes(stored(array, FP16) + stored(array, None))
        layer = read_param(path)[1]
        (found,) = read_weights(
            path.with_suffix(".bin"), [(layer, [Stored("weights", 3, True), Stored("bias", 3, False)])]
        )
        np.testing.assert_array_equal(found["weights"], array.astype(np.float16).astype(np.float32))
        np.testing.assert_array_equal(found["bias"], array)

    def test_another_file_of_weights_is_another_plan(self, net: Path) -> None:
        before = open_network(net).source_hash
        net.with_suffix(".bin").write_bytes(WEIGHTS[:-12] + stored(values(3, seed=8), None))
        assert open_network(net).source_hash != before

    def test_one_checksum_would_not_prove_two_files(self, net: Path) -> None:
        with pytest.raises(ModelError, match="has its weights in another file, which --sha256 would not prove"):
            find_model(net, sha256="0" * 64)


class TestAbsurdSizes:
    @pytest.mark.parametrize(
        "line",
        [
            "Convolution conv 1 1 in out 0=3 1=3 6=2147483647",
            "Convolution conv 1 1 in out 0=2147483647 1=1 5=1 6=4",
            "Convolution conv 1 1 in out 0=3 1=2147483647 6=4",
            "PReLU act 1 1 in out 0=2147483647",
        ],
    )
    def test_nothing_is_allocated_that_the_file_does_not_hold(self, tmp_path: Path, line: str) -> None:
        path = write_net(tmp_path / "net.param", [line], stored(values(4)))
        with little(megabytes=20, seconds=2):
            refused(path, r"too short|has 1=2147483647")

    def test_maps_that_grow_without_weights(self, tmp_path: Path) -> None:
        """Doubled again and again: channels by joining a blob with itself, pixels by enlarging."""
        doublings = [f"Concat join{n} 2 1 b{n} b{n} b{n + 1}" for n in range(40)]
        path = write_net(tmp_path / "net.param", ["Split split 1 1 in b0", *doublings])
        with little(megabytes=20, seconds=2):
            refused(path, r"Concat join\d+ \(line \d+\) gives 256x192 with \d+ channels")
        doublings = [f"Interp up{n} 1 1 b{n} b{n + 1} 0=1 1=2.0 2=2.0" for n in range(40)]
        write_net(path, ["Split split 1 1 in b0", *doublings])
        with little(megabytes=20, seconds=2):
            refused(path, r"Interp up\d+ \(line \d+\) gives \d+x\d+ with 3 channels")

    def test_many_layers(self, tmp_path: Path) -> None:
        lines = [f"ReLU r{n} 1 1 b{n} b{n + 1}" for n in range(3000)]
        path = write_net(tmp_path / "net.param", ["Split split 1 1 in b0", *lines])
        with little(megabytes=20, seconds=2):
            assert len(open_ncnn(path).layers) == 3002


def opened_or_refused(path: Path) -> None:
    with little(megabytes=20, seconds=2):
        try:
            open_network(path).export(16, 24)
        except ModelError as error:
            message = str(error)
        else:
            message = ""
    assert "\n" not in message


_FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
_PARAM = "\n".join(["7767517", "4 4", "Input input 0 1 in", *LINES]).encode()


@_FUZZ
@given(place=st.integers(0, len(_PARAM) - 1), byte=st.integers(0, 255), cut=st.booleans())
def test_any_byte_of_the_param_may_be_wrong_or_the_last(net: Path, place: int, byte: int, cut: bool) -> None:
    net.write_bytes(_PARAM[:place] + bytes([byte]) + (b"" if cut else _PARAM[place + 1 :]))
    opened_or_refused(net)


@_FUZZ
@given(seed=st.integers(0, 1 << 30), count=st.integers(1, 6))
def test_words_of_the_param_may_be_anywhere(net: Path, seed: int, count: int) -> None:
    """Words exchanged, numbers replaced: a file that still reads like one."""
    choose = random.Random(seed)
    words = _PARAM.decode().replace("\n", " \n ").split(" ")
    for _ in range(count):
        place = choose.randrange(len(words))
        words[place] = choose.choice([*words, "0=0", "1=64", "3=64", "14=64", "2=-1", "0=100000", "-23310=0", "2=64"])
    net.write_text(" ".join(words))
    opened_or_refused(net)


@_FUZZ
@given(place=st.integers(0, len(WEIGHTS) - 1), bits=st.integers(1, 255), cut=st.booleans())
def test_any_byte_of_the_weights_may_be_wrong_or_the_last(net: Path, place: int, bits: int, cut: bool) -> None:
    changed = WEIGHTS[:place] + bytes([WEIGHTS[place] ^ bits]) + (b"" if cut else WEIGHTS[place + 1 :])
    net.with_suffix(".bin").write_bytes(changed)
    opened_or_refused(net)
