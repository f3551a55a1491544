"""Models from a server on this machine that speaks as the Hugging Face Hub does, through huggingface_hub itself."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest

from srgan_trt.errors import MissingPackageError, ModelError
from srgan_trt.models import hub
from srgan_trt.models.registry import find_model, plan_target

from ..handmade import nearest_model
from ..web_server import Server, answer

constants = pytest.importorskip("huggingface_hub.constants", reason='pip install ".[hub]"')

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MODEL = nearest_model().SerializeToString()
HASH = hashlib.sha256(MODEL).hexdigest()
ADDRESS = f"hf:owner/repo@{COMMIT}/nets/nearest.onnx"
MISSING = {"RepoNotFound": 401, "RevisionNotFound": 404, "EntryNotFound": 404, "GatedRepo": 403}


def put(server: Server, file: str, content: bytes, *, revision: str = COMMIT) -> None:
    path = f"/owner/repo/resolve/{revision}/{file}"
    facts = {"X_Repo_Commit": COMMIT, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
    server.answers[path] = answer(200, content, **facts)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A Hub with one file in it, and an empty cache."""
    running = Server()
    put(running, "nets/nearest.onnx", MODEL)
    monkeypatch.setattr(constants, "ENDPOINT", running.base)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", running.base + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    yield running
    running.close()


def failure(address: str = ADDRESS, sha256: str | None = None) -> str:
    with pytest.raises(ModelError) as raised:
        find_model(address, sha256=sha256)
    assert "\n" not in str(raised.value)
    return str(raised.value)


class TestFetching:
    def test_a_file_of_a_whole_commit_is_fetched_once(self, server: Server, tmp_path: Path) -> None:
        path = find_model(ADDRESS)
        assert path.is_relative_to(tmp_path / "hub")
        assert (path.name, path.read_bytes()) == ("nearest.onnx", MODEL)
        asked = len(server.headers)
        assert find_model(ADDRESS) == find_model(ADDRESS, sha256=HASH) == path
        assert len(server.headers) == asked

    def test_it_asks_for_the_file_and_tells_no_more_than_versions(self, server: Server, tmp_path: Path) -> None:
        program = f"from srgan_trt.models.registry import find_model; find_model({ADDRESS!r})"
        settings = {"HF_ENDPOINT": server.base, "HF_HOME": str(tmp_path / "home")}
        subprocess.run([sys.executable, "-c", program], env=os.environ | settings, check=True)
        assert len(server.headers) == 3
        for sent in server.headers:
            assert re.fullmatch(r"srgan-trt/[\d.]+; hf_hub/[\d.]+; python/[\d.]+", sent["user-agent"])

    def test_a_kept_file_needs_no_network(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        path = find_model(ADDRESS)
        server.close()
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        assert find_model(ADDRESS) == path
        assert failure(ADDRESS.replace("nearest", "other")).endswith("is not in the cache, and HF_HUB_OFFLINE is set")

    def test_a_branch_is_fetched_with_a_checksum(self, server: Server) -> None:
        for revision, address in (("main", "hf:owner/repo/x4.onnx"), ("v2", "hf:owner/repo@v2/x4.onnx")):
            put(server, "x4.onnx", MODEL, revision=revision)
            put(server, "x4.onnx", MODEL)
            assert find_model(address, sha256=HASH).read_bytes() == MODEL

    def test_the_weights_of_an_ncnn_file_come_with_it(self, server: Server) -> None:
        put(server, "net.param", b"7767517\n")
        put(server, "net.bin", b"weights")
        path = find_model(f"hf:owner/repo@{COMMIT}/net.param")
        assert path.with_suffix(".bin").read_bytes() == b"weights"

    def test_its_plan_goes_into_the_current_folder(self) -> None:
        assert plan_target(ADDRESS) == Path("nearest.plan.onnx")


class TestRefusals:
    @pytest.mark.parametrize(
        "address", ["hf:owner/repo/x.onnx", "hf:owner/repo@main/x.onnx", f"hf:o/r@{COMMIT[:-1]}/x"]
    )
    def test_without_a_whole_commit_or_a_checksum_nothing_is_fetched(self, server: Server, address: str) -> None:
        assert "is not fetched without the whole commit" in failure(address)
        assert server.headers == []

    @pytest.mark.parametrize(
        "address", ["hf:", "hf:x.onnx", f"hf:repo@{COMMIT}/x.onnx", f"hf:a/b@{COMMIT}", "hf:a/b@/x"]
    )
    def test_what_is_no_address_is_told_with_its_form(self, address: str) -> None:
        assert failure(address).endswith("give hf:OWNER/REPO@REVISION/FILE")

    def test_a_name_that_the_hub_cannot_have(self, server: Server) -> None:
        assert "is not an address of the Hub: " in failure(f"hf:ow..ner/re--po@{COMMIT}/x.onnx")
        assert "cannot contain a '..'" in failure(f"hf:owner/repo@{COMMIT}/../../x.onnx")
        assert server.headers == []

    @pytest.mark.parametrize(
        ("code", "what"),
        [
            ("RepoNotFound", "there is no repository owner/repo, or it needs 'hf auth login'"),
            ("RevisionNotFound", "owner/repo has no such revision"),
            ("EntryNotFound", "owner/repo has no such file, or not in that revision"),
            ("GatedRepo", "is for those who accepted its terms"),
        ],
    )
    def test_what_is_not_there_is_named(self, server: Server, code: str, what: str) -> None:
        path = f"/owner/repo/resolve/{COMMIT}/nets/nearest.onnx"
        server.answers[path] = answer(MISSING[code], b"no", X_Error_Code=code, X_Error_Message="no")
        assert what in failure()

    def test_a_hub_that_does_not_answer(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        server.close()
        monkeypatch.setattr("time.sleep", lambda _: None)  # huggingface_hub tries for 23 seconds
        assert failure().endswith("is not in the cache, and the Hub does not answer: check the network")

    def test_another_checksum(self, server: Server) -> None:
        assert "is another file than the one asked for" in failure(sha256="0" * 64)

    def test_a_file_that_is_too_large(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hub, "MAX_BYTES", len(MODEL) - 1)
        assert "more than the 0 MB that are fetched" in failure()
        assert len(server.headers) == 1

    def test_a_download_that_breaks_off(self, server: Server, tmp_path: Path) -> None:
        whole = server.answers[f"/owner/repo/resolve/{COMMIT}/nets/nearest.onnx"]

        def half(handler: Any) -> None:
            if handler.command == "HEAD":
                whole(handler)
            else:
                handler.send_response(200)
                handler.send_header("Content-Length", str(len(MODEL)))
                handler.end_headers()
                handler.wfile.write(MODEL[: len(MODEL) // 2])

        server.answers[f"/owner/repo/resolve/{COMMIT}/nets/nearest.onnx"] = half
        assert "cannot be fetched" in failure()
        assert not list(tmp_path.rglob("nearest.onnx"))

    def test_without_the_package_its_pip_command_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "huggingface_hub", None)
        with pytest.raises(MissingPackageError, match=r'huggingface_hub is needed .*: pip install "\.\[hub\]"'):
            find_model(ADDRESS)


def test_the_command_line_by_the_hubs_own_environment(server: Server, tmp_path: Path) -> None:
    """As users run it: HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE are huggingface_hub's."""
    hub_settings = {"HF_ENDPOINT": server.base, "HF_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "srgan_trt", "build", ADDRESS, "--input-range", "0,1", "--output-range", "0,1"]
    for more in ({}, {"HF_HUB_OFFLINE": "1"}):
        environment = os.environ | hub_settings | more
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    assert onnx.load(tmp_path / "nearest.plan.onnx").graph.name == "nearest"
