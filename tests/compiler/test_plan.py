"""The plan file: an ordinary ONNX file with its facts inside, and nothing else gets past the door."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from srgan_trt.cli.info import plan_rows
from srgan_trt.codec import encode
from srgan_trt.compiler.plan import FORMAT, is_plan, load_plan, save_plan
from srgan_trt.compiler.report import Report
from srgan_trt.errors import PlanError
from srgan_trt.models import registry
from srgan_trt.self_test import SelfTest
from srgan_trt.spec import NetworkSpec

from ..mutated import VALUES, mutations
from .graphs import Network

SPEC = NetworkSpec(
    name="test.h5", scale=4, input_range=(0.0, 1.0), output_range=(-1.0, 1.0), shuffle=2, halo=5, radius=4.5,
    default_halo=4, fixed_shape=None, multiple=1, precision="fp32", macs=100.0, source_hash="ab",
)  # fmt: skip


@pytest.fixture
def model() -> onnx.ModelProto:
    net = Network()
    return net.proto(net.conv(net.nearest("input", 2), 3, 12), (1, 3, 6, 8))


@pytest.fixture
def plan_file(model: onnx.ModelProto, tmp_path: Path) -> Path:
    return save_plan(model, SPEC, tmp_path / "a.plan.onnx", report={"kind": "test"}).path


def test_a_plan_comes_back_as_it_was_saved(plan_file: Path) -> None:
    plan = load_plan(plan_file)
    assert plan.spec == SPEC
    assert plan.report == {"kind": "test"}
    assert is_plan(plan_file)


def test_a_plan_is_found_by_a_path_in_words_too(plan_file: Path) -> None:
    assert load_plan(str(plan_file)) == load_plan(plan_file)


def test_a_plan_is_an_ordinary_onnx_file(plan_file: Path, model: onnx.ModelProto) -> None:
    onnx.checker.check_model(onnx.load(plan_file))
    x = np.random.default_rng(0).random((1, 3, 6, 8), np.float32)
    expected = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"input": x})[0]
    np.testing.assert_array_equal(onnxruntime.InferenceSession(plan_file).run(None, {"input": x})[0], expected)


def test_saving_leaves_nothing_beside_the_plan(plan_file: Path) -> None:
    assert [path.name for path in plan_file.parent.iterdir()] == [plan_file.name]


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.999])
def test_a_truncated_plan_is_refused(plan_file: Path, keep: float) -> None:
    data = plan_file.read_bytes()
    plan_file.write_bytes(data[: int(keep if keep > 1 else keep * len(data))])
    with pytest.raises(PlanError):
        load_plan(plan_file)


def test_a_flipped_bit_in_the_weights_is_refused(plan_file: Path) -> None:
    data = bytearray(plan_file.read_bytes())
    data[len(data) // 4] ^= 1
    plan_file.write_bytes(bytes(data))
    with pytest.raises(PlanError, match=r"damaged|not a whole ONNX file"):
        load_plan(plan_file)


def test_a_foreign_onnx_file_is_named_as_such(model: onnx.ModelProto, tmp_path: Path) -> None:
    path = tmp_path / "foreign.onnx"
    onnx.save(model, path)
    assert not is_plan(path)
    with pytest.raises(PlanError, match="srgan-trt build"):
        load_plan(path)


def test_text_is_no_plan(tmp_path: Path) -> None:
    path = tmp_path / "text.onnx"
    path.write_text("this is not a plan")
    with pytest.raises(PlanError):
        load_plan(path)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="No such file"):
        load_plan(tmp_path / "none.onnx")


def test_a_spec_that_contradicts_the_graph_is_refused(model: onnx.ModelProto, tmp_path: Path) -> None:
    path = save_plan(model, dataclasses.replace(SPEC, shuffle=4), tmp_path / "b.onnx").path
    with pytest.raises(PlanError, match="12 out, its spec says 3 and 48"):
        load_plan(path)


@pytest.mark.parametrize("key", ["spec", "report", "body_bytes"])
def test_metadata_that_was_changed_is_refused(plan_file: Path, key: str) -> None:
    model = onnx.load(plan_file)
    for entry in model.metadata_props:
        if entry.key == f"srgan_trt.{key}":
            entry.value = entry.value.replace("4", "3").replace("test", "best").replace("1", "2")
    onnx.save(model, plan_file)
    with pytest.raises(PlanError, match="changed or damaged"):
        load_plan(plan_file)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("report", "[1]"),
        ("report", "[" * 100_000 + "]" * 100_000),
        ("spec", "[]"),
        ("spec", "7"),
        ("body_bytes", "x"),
        ("self_test", "[" * 100_000),
        ("self_test", "{}"),
    ],
)
def test_metadata_made_by_hand_and_sealed_is_refused_in_one_line(
    model: onnx.ModelProto, tmp_path: Path, key: str, value: str
) -> None:
    body = model.SerializeToString()
    seal = onnx.ModelProto()
    entries = {
        "format": FORMAT,
        "spec": encode(SPEC).decode(),
        "report": "{}",
        "body_bytes": str(len(body)),
        "body_sha256": hashlib.sha256(body).hexdigest(),
    } | {key: value}
    entries["seal"] = hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()
    for name, text in entries.items():
        seal.metadata_props.add(key=f"srgan_trt.{name}", value=text)
    path = tmp_path / "made.plan.onnx"
    path.write_bytes(body + seal.SerializeToString())
    with pytest.raises(PlanError, match=r"made\.plan\.onnx") as error:
        load_plan(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", [b"srgan_trt.spec", b'"precision"'])
def test_metadata_that_is_no_text_is_refused(plan_file: Path, text: bytes) -> None:
    data = plan_file.read_bytes()
    assert text in data
    plan_file.write_bytes(data.replace(text, b"\xff" + text[1:]))
    with pytest.raises(PlanError, match="changed or damaged"):
        load_plan(plan_file)


def test_another_version_is_refused(plan_file: Path) -> None:
    model = onnx.load(plan_file)
    for entry in model.metadata_props:
        if entry.key == "srgan_trt.format":
            entry.value = "0"
    onnx.save(model, plan_file)
    with pytest.raises(PlanError, match="another version"):
        load_plan(plan_file)


@pytest.mark.parametrize(
    "change", [{"scale": 0}, {"shuffle": 3}, {"input_range": (1.0, 1.0)}, {"output_range": (2.0, -2.0)}]
)
def test_impossible_facts_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(PlanError, match="damaged"):
        dataclasses.replace(SPEC, **change)


def test_a_folder_that_cannot_be_written_is_said(model: onnx.ModelProto) -> None:
    with pytest.raises(PlanError, match="cannot write the plan"):
        save_plan(model, SPEC, Path("/proc/none/a.onnx"))


class TestMutatedFacts:
    """Whatever a plan says of itself, it is a plan of that, or a PlanError that names the file."""

    SHIPPED = registry.SHIPPED / "srgan-photo-x4" / "srgan-photo-x4.int8.plan.onnx"
    KEYS = ("self_test", "format", "spec", "report", "body_bytes", "body_sha256")

    @pytest.fixture
    def body(self) -> tuple[bytes, dict[str, str]]:
        """A small network, and all that a plan in int8 says of itself."""
        net = Network()
        network = net.proto(net.conv("input", 3, 48), (1, 3, 6, 8)).SerializeToString()
        facts = {entry.key.removeprefix("srgan_trt."): entry.value for entry in onnx.load(self.SHIPPED).metadata_props}
        told = {"body_bytes": str(len(network)), "body_sha256": hashlib.sha256(network).hexdigest()}
        return network, facts | told

    def test_as_it_is(self, body: tuple[bytes, dict[str, str]], tmp_path: Path) -> None:
        self.opened(tmp_path / "a.onnx", *body)
        assert load_plan(tmp_path / "a.onnx").spec == load_plan(self.SHIPPED).spec

    def opened(self, path: Path, body: bytes, facts: dict[str, str]) -> None:
        seal = onnx.ModelProto()
        told = {key: value for key, value in facts.items() if key != "seal"}
        told["seal"] = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
        for key, value in told.items():
            seal.metadata_props.add(key=f"srgan_trt.{key}", value=value)
        path.write_bytes(body + seal.SerializeToString())
        refusal: str | None = None
        try:
            list(plan_rows(load_plan(path)))
        except PlanError as error:
            refusal = str(error)
        assert refusal is None or (str(path) in refusal and "\n" not in refusal)

    @pytest.mark.parametrize("key", KEYS)
    def test_a_fact_as_a_whole(self, body: tuple[bytes, dict[str, str]], key: str, tmp_path: Path) -> None:
        network, facts = body
        for value in (*VALUES, "", "\0", "{"):
            self.opened(tmp_path / "mutated.onnx", network, facts | {key: value})

    @pytest.mark.parametrize(
        ("key", "name"),
        [
            *(("spec", field.name) for field in dataclasses.fields(NetworkSpec)),
            *(("report", name) for name in Report.__annotations__),
            *(("self_test", field.name) for field in dataclasses.fields(SelfTest)),
        ],
    )
    def test_a_field(self, body: tuple[bytes, dict[str, str]], key: str, name: str, tmp_path: Path) -> None:
        network, facts = body
        for text in mutations(json.loads(facts[key]), name):
            self.opened(tmp_path / "mutated.onnx", network, facts | {key: text.decode()})
