"""Addresses of objects: what is listed, read and written, by fsspec's memory and by a real S3 server."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from srgan_trt.errors import PictureError
from srgan_trt.imaging import addresses
from srgan_trt.imaging.addresses import Address, ExistsError, address_of, is_address
from srgan_trt.imaging.sources import expand, plan_outputs

fsspec = pytest.importorskip("fsspec", reason='pip install ".[cloud]"')


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "_PAUSE", 0.001)


@pytest.fixture
def memory() -> Iterator[Any]:
    """fsspec's store in this process, with a tree of pictures."""
    store = fsspec.filesystem("memory")
    for name in ("b.jpg", "a.PNG", "notes.txt", ".hidden.png", "sub/c.webp", "sub/.cache/d.png", "z.compare.png"):
        store.pipe_file(f"/in/{name}", name.encode())
    yield store
    store.store.clear()
    store.pseudo_dirs[:] = [""]


@pytest.fixture(scope="module")
def s3() -> Iterator[tuple[Any, Any]]:
    pytest.importorskip("moto", reason='pip install ".[dev]"')
    pytest.importorskip("s3fs", reason='pip install ".[cloud]"')
    from .stores import bucket

    with bucket() as opened:
        for name in ("in/a.png", "in/sub/b.jpg"):
            opened[1].put_object(Bucket="pictures", Key=name, Body=name.encode())
        yield opened


def found(*inputs: str) -> list[tuple[str, str]]:
    return [(source.name, source.relative.as_posix()) for source in expand(inputs) if source.error is None]


def targets(*inputs: str, output: str | None) -> list[str]:
    return [str(job.target) for job in plan_outputs(expand(inputs), output=output, format=None, label="x4")]


class TestNames:
    @pytest.mark.parametrize("text", ["s3://b/in", "gs://b", "az://c/x.png", "sftp://host/in", "memory://in", "S3://B"])
    def test_what_is_an_address(self, text: str) -> None:
        assert is_address(text)

    @pytest.mark.parametrize("text", ["http://a/b.png", "https://a", "C:/photos", "photo.png", "s3:/b", "-"])
    def test_what_is_none(self, text: str) -> None:
        assert not is_address(text)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("s3://gs://bucket/in", "mixes schemes"),
            ("simplecache::s3://bucket/in", "mixes schemes"),
            ("s3://bucket/in?X-Amz-Signature=geheim", "has a query"),
            ("file:///tmp/in", "is a file of this machine: give its path"),
            ("s3://", "names no bucket"),
        ],
    )
    def test_what_cannot_be_used_is_said_without_its_secrets(self, text: str, message: str) -> None:
        with pytest.raises(PictureError, match=message) as raised:
            address_of(text)
        assert "geheim" not in str(raised.value)

    def test_passwords_are_never_shown(self) -> None:
        address = address_of("sftp://anna:geheim@host/in") / Path("a.png")
        assert str(address) == "sftp://host/in/a.png"
        assert "geheim" not in repr(address)
        assert pickle.loads(pickle.dumps(address)).root == "sftp://anna:geheim@host/in"

    def test_a_container_is_no_secret(self) -> None:
        assert str(address_of("abfs://photos@account.dfs.core.windows.net/in")).startswith("abfs://photos@account")

    def test_a_scheme_that_nobody_knows(self) -> None:
        [source] = expand(["nonsense://bucket/in"])
        assert source.error == "nonsense://bucket/in: fsspec knows no nonsense addresses: check it"


class TestMemory:
    def test_a_folder_is_searched_as_folders_are(self, memory: Any) -> None:
        below = [("a.PNG", "a.PNG"), ("b.jpg", "b.jpg"), ("sub/c.webp", "sub/c.webp")]
        assert found("memory://in") == [(f"memory://in/{name}", relative) for name, relative in below]
        assert found("memory://in/b.jpg") == [("memory://in/b.jpg", "b.jpg")]

    def test_patterns_as_for_files(self, memory: Any) -> None:
        memory.pipe_file("/in/sub/deep/d.jpg", b"")
        memory.pipe_file("/in/sub/e[1].jpg", b"")
        for pattern, names in {
            "*.jpg": ["b.jpg"],
            "*": ["a.PNG", "b.jpg"],
            "[ab].*": ["a.PNG", "b.jpg"],
            "*/*.webp": ["sub/c.webp"],
            "**/*.jpg": ["b.jpg", "sub/e[1].jpg", "sub/deep/d.jpg"],
            "sub/**": ["sub/c.webp", "sub/e[1].jpg", "sub/deep/d.jpg"],
            "sub/e[1].jpg": ["sub/e[1].jpg"],
        }.items():
            assert [name for name, _ in found(f"memory://in/{pattern}")] == [f"memory://in/{name}" for name in names]

    def test_a_pattern_keeps_the_tree_below_its_fixed_part(self, memory: Any) -> None:
        assert targets("memory://in/**/*.webp", output="out/") == ["out/sub/c_x4.png"]
        assert targets("memory://in/sub/*", output="out/") == ["out/c_x4.png"]
        assert targets("memory://in/sub/*", output=None) == ["memory://in/sub/c_x4.png"]

    def test_a_pattern_that_matches_nothing(self, memory: Any) -> None:
        [source] = expand(["memory://in/*.gif"])
        assert source.error is not None
        assert source.error.startswith("the pattern memory://in/*.gif matches no picture (")

    def test_results_keep_the_tree(self, memory: Any) -> None:
        assert targets("memory://in", output="memory://out/") == [
            "memory://out/a_x4.png", "memory://out/b_x4.png", "memory://out/sub/c_x4.png",
        ]  # fmt: skip
        assert targets("memory://in/b.jpg", output="memory://out/large.webp") == ["memory://out/large.webp"]
        assert targets("memory://in/b.jpg", output=None) == ["memory://in/b_x4.png"]
        assert targets("memory://in/b.jpg", output="here/") == ["here/b_x4.png"]

    def test_results_of_an_earlier_run_are_no_inputs(self, memory: Any) -> None:
        memory.pipe_file("/in/b_x4.png", b"")
        jobs = plan_outputs(expand(["memory://in"]), output=None, format=None, label="x4")
        assert [(str(job.target), job.error and job.error[:28]) for job in jobs][1] == (
            "None", "memory://in/b_x4.png exists:"
        )  # fmt: skip
        assert len(jobs) == 3

    def test_an_object_is_written_once(self, memory: Any) -> None:
        address = address_of("memory://out") / Path("deep/a.png")
        address.write(b"one")
        address.write(b"one")  # as after an answer that was lost
        with pytest.raises(ExistsError, match=r"memory://out/deep/a.png exists: give --overwrite"):
            address.write(b"two")
        assert address.read() == b"one"
        address.write(b"two", overwrite=True)
        assert address.read() == b"two"

    def test_the_size_is_checked_before_reading(self, memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        memory.pipe_file("/in/large.png", bytes(2_000_001))
        monkeypatch.setattr(type(memory), "cat_file", lambda *_: pytest.fail("it was read"))
        with pytest.raises(PictureError, match="is 2 MB, more than the 1 MB that are fetched"):
            address_of("memory://in/large.png").read(max_bytes=1_000_000)

    def test_a_listing_that_changes(self, memory: Any) -> None:
        sources = expand(["memory://in"])
        memory.rm_file("/in/b.jpg")
        memory.pipe_file("/in/a.PNG", b"another")
        assert sources[0].read() == b"another"
        with pytest.raises(PictureError, match=r"memory://in/b.jpg is not there"):
            sources[1].read()

    def test_nothing_there(self, memory: Any) -> None:
        [source] = expand(["memory://elsewhere"])
        assert source.error == "memory://elsewhere is not there: check the name, and that its bucket exists"
        memory.pipe_file("/texts/a.txt", b"")
        [source] = expand(["memory://texts"])
        assert source.error is not None
        assert source.error.startswith("memory://texts holds no pictures (")

    def test_what_stores_say_has_no_secrets(self, memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object, **__: object) -> None:
            raise OSError("GET https://anna:pw@host/a?sig=geheim failed for geheim2")

        monkeypatch.setattr(type(memory), "info", fail)
        address = Address("memory://in", "a.png")
        object.__setattr__(address, "root", "memory://anna:geheim2@in")
        with pytest.raises(PictureError) as raised:
            address.read()
        assert str(raised.value) == (
            "memory://in/a.png cannot be read (GET https://host/a failed for ***): check the address"
        )


class TestS3:
    def test_listed_read_and_written_once(self, s3: tuple[Any, Any]) -> None:
        _, client = s3
        sources = expand(["s3://pictures/in"])
        assert [(source.name, source.state and source.state[0]) for source in sources] == [
            ("s3://pictures/in/a.png", 8), ("s3://pictures/in/sub/b.jpg", 12),
        ]  # fmt: skip
        assert [source.read() for source in sources] == [b"in/a.png", b"in/sub/b.jpg"]
        address_of("s3://pictures/out/").names()
        address = address_of("s3://pictures/out/") / Path("a_x4.png")
        address.write(b"one")
        with pytest.raises(ExistsError):
            address.write(b"two")
        assert client.get_object(Bucket="pictures", Key="out/a_x4.png")["Body"].read() == b"one"

    def test_a_pattern(self, s3: tuple[Any, Any]) -> None:
        """What lies deeper than a pattern reaches is not even listed."""
        assert [source.name for source in expand(["s3://pictures/in/*"])] == ["s3://pictures/in/a.png"]
        assert [source.name for source in expand(["s3://pictures/**/*.jpg"])] == ["s3://pictures/in/sub/b.jpg"]

    def test_two_that_write_at_the_same_time(self, s3: tuple[Any, Any]) -> None:
        address = address_of("s3://pictures/race") / Path("a.png")
        start = threading.Barrier(4)
        said: list[str] = []

        def write(content: bytes) -> None:
            start.wait()
            try:
                address.write(content)
                said.append(content.decode())
            except ExistsError:
                said.append("exists")

        threads = [threading.Thread(target=write, args=(text.encode(),)) for text in ("one", "two", "three", "four")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(said)[:3] == ["exists"] * 3
        assert address.read().decode() == sorted(said)[3]

    def test_a_store_that_is_busy_is_asked_again(self, s3: tuple[Any, Any]) -> None:
        store, _ = s3
        left = {"GET": 3, "PUT": 3, "HEAD": 2}

        def busy(method: str, path: str) -> int | None:
            left[method] = left.get(method, 0) - 1
            return 503 if left[method] >= 0 else None

        store.fails = busy
        try:
            assert address_of("s3://pictures/in/a.png").read() == b"in/a.png"
            (address_of("s3://pictures/busy/") / Path("b.png")).write(b"done")
        finally:
            store.fails = lambda *_: None
        assert address_of("s3://pictures/busy/b.png").read() == b"done"

    def test_a_store_that_stays_busy_is_said(self, s3: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        import s3fs

        monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
        store, _ = s3
        store.fails = lambda *_: 503
        try:
            with pytest.raises(PictureError, match=r"s3://pictures/in/a.png cannot be read .*: try again later"):
                address_of("s3://pictures/in/a.png").read()
        finally:
            store.fails = lambda *_: None

    def test_an_answer_that_is_lost_is_no_other_picture(self, s3: tuple[Any, Any]) -> None:
        """The object was made, the answer said that the store is busy: the next try finds it."""
        store, client = s3
        lost = [True]

        def fails(method: str, path: str) -> int | None:
            if method == "PUT" and lost:
                lost.clear()
                client.put_object(Bucket="pictures", Key="lost/a.png", Body=b"one")
                return 503
            return None

        store.fails = fails
        (address_of("s3://pictures/lost/") / Path("a.png")).write(b"one")
        store.fails = lambda *_: None

    def test_what_is_refused(self, s3: tuple[Any, Any]) -> None:
        store, _ = s3
        store.fails = lambda *_: 403
        try:
            for work, doing in (
                (lambda: address_of("s3://pictures/in/a.png").read(), "read"),
                (lambda: address_of("s3://pictures/x/").names(), "read"),
                (lambda: (address_of("s3://pictures/x/") / Path("b.png")).write(b""), "written"),
            ):
                with pytest.raises(PictureError, match=f"may not be {doing} by you .*check the rights") as raised:
                    work()
                assert "hunter2" not in str(raised.value)
        finally:
            store.fails = lambda *_: None

    def test_no_bucket(self, s3: tuple[Any, Any]) -> None:
        [source] = expand(["s3://nowhere/in"])
        assert source.error == "s3://nowhere/in is not there: check the name, and that its bucket exists"
        with pytest.raises(PictureError, match=r"s3://nowhere/out: there is no bucket nowhere: make it first"):
            address_of("s3://nowhere/out").names()

    def test_no_credentials(self, s3: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setattr(addresses, "_OPTIONS", {"s3": {"skip_instance_cache": True}})
        [source] = expand(["s3://pictures/other"])
        assert source.error == ("s3://pictures/other: no credentials were found: log in as docs/scale.md says")
