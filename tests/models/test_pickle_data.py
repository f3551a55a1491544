"""Pickles are taken apart, not run: whatever they name, however deep and long they are."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srgan_trt.models import pickle_data
from srgan_trt.models.pickle_data import read_pickle

from .torch_files import Pickle, in_a_line, pickled, refused, write_legacy, write_pth


class TestCode:
    """Nothing that a pickle names is run, whatever it names."""

    @pytest.mark.parametrize("write", [write_pth, write_legacy])
    @pytest.mark.parametrize("name", ["os system", "builtins eval", "builtins getattr", "torch load", "numpy ndarray"])
    def test_names_that_are_not_on_the_list(self, write: Any, name: str, tmp_path: Path) -> None:
        module, member = name.split()
        made = Pickle().name(module, member).value((f"touch {tmp_path}/run",))
        made.code += b"R"
        refused(write(tmp_path / "net.pth", made), rf"it is not weights alone: it names {module}\.{member}, which")
        assert not (tmp_path / "run").exists()

    def test_what_pickle_itself_would_run(self, tmp_path: Path) -> None:
        class Trap:
            def __reduce__(self) -> Any:
                return os.mkdir, (str(tmp_path / "run"),)

        for protocol in range(6):
            made = Pickle()
            made.code = pickle.dumps({"params": Trap()}, protocol).removesuffix(b".")
            refused(write_pth(tmp_path / "net.pth", made), r"posix|nt\.mkdir|instruction")
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize(
        ("code", "words"),
        [
            (b"(ios\nsystem\n", "the instruction INST"),
            (b"(cos\nsystem\no", "names os.system"),
            (b"X\x02\0\0\0osX\x06\0\0\0system\x93", "names os.system"),
            (b"\x82\x01", "the instruction EXT1"),
            (b"ccollections\nOrderedDict\n)\x81", "the instruction NEWOBJ"),
            (b"ccollections\nOrderedDict.fromkeys\n)R", "names collections.OrderedDict.fromkeys"),
            (b"c__builtin__\nexec\n)R", "names __builtin__.exec"),
            (b"Pmodule\n", "the instruction PERSID"),
            (b"c\xc3\xa9\x1b[2J\nsystem\n", "truncated or damaged|names "),
            (b"cos\nsystem;\x1b[2J\n", r"names os\.system;\\x1b\[2J"),
            (b"X\x01\0\0\0a)R", "truncated or damaged"),
            (b"ccollections\nOrderedDict\n)R}X\x01\0\0\0a)sb0", "the instruction POP"),
            (b")}b", "truncated or damaged"),
            (b"ccollections\nOrderedDict\nJ\1\0\0\0\x85R", "truncated or damaged"),
        ],
    )
    def test_instructions(self, code: bytes, words: str, tmp_path: Path) -> None:
        refused(write_pth(tmp_path / "net.pth", Pickle(code)), words)

    def test_a_whole_model_instead_of_its_weights(self, tmp_path: Path) -> None:
        made = Pickle().name("basicsr.archs.rrdbnet_arch", "RRDBNet")
        made.code += b")\x81"
        refused(write_pth(tmp_path / "net.pth", made), r"names basicsr\.archs.*save them with torch\.save\(model\.stat")


class TestBombs:
    """Small pickles that would become large, deep or slow."""

    @pytest.mark.parametrize(
        "code",
        [
            b"]" * 100_000,
            b"(" * 100_000,
            b"]" + b"]a" * 50_000,  # lists in one list
            b")" + b"\x85" * 100_000,  # a tuple in a tuple in ...
            b"".join([b")", *[b"q\0h\0\x86"] * 30_000]),  # whose hash would take 2**30000 steps
        ],
    )
    def test_depth(self, code: bytes, tmp_path: Path) -> None:
        refused(write_pth(tmp_path / "net.pth", Pickle(code)), "truncated or damaged|holds no weights")

    def test_a_deep_key(self, tmp_path: Path) -> None:
        code = b"}" + b")" + b"q\0h\0\x86" * 100 + b"Ns"
        refused(write_pth(tmp_path / "net.pth", Pickle(code)), "holds no weights")

    def test_a_dict_that_holds_itself(self, tmp_path: Path) -> None:
        refused(write_pth(tmp_path / "net.pth", Pickle(b"}q\0X\x06\0\0\0paramsh\0s")), "holds no weights")

    def test_many_steps(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pickle_data, "MOST_STEPS", 5000)
        refused(write_pth(tmp_path / "net.pth", Pickle(b"]" + b"Na" * 6000)), "more than 5,000 steps")

    @pytest.mark.parametrize(
        "code", [b"r\xff\xff\xff\xff", b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f", b"T\xff\xff\xff\x7f"]
    )
    def test_lengths_that_the_file_does_not_have(self, code: bytes, tmp_path: Path) -> None:
        for write in (write_pth, write_legacy):
            refused(write(tmp_path / "net.pth", Pickle(b"]" + code)), "pth")


@settings(max_examples=80, deadline=None)
@given(
    code=st.lists(
        st.sampled_from([bytes([byte]) for byte in b"}](0.NuestaQRb)qhX\x85\x86\x87\x8c\x93\x94K\0\1"]), max_size=40
    )
)
def test_any_instructions(code: list[bytes]) -> None:
    made = pickled({"w": np.zeros((2, 3), np.float32)})
    made.code += b"".join(code)
    in_a_line(lambda: read_pickle(io.BytesIO(made.bytes())))
