"""Who may come in, and from where."""

from __future__ import annotations

from pathlib import Path

import pytest

from srgan_trt.errors import SrganTrtError
from srgan_trt.serve.settings import TOKEN, Settings, read_token

SECRET = "0123456789abcdef"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org"])
def test_other_machines_need_a_token_or_a_word(host: str) -> None:
    with pytest.raises(SrganTrtError, match="--token-file, or --insecure"):
        Settings(host=host)
    assert not Settings(host=host, token=SECRET).is_loopback
    assert Settings(host=host, insecure=True).admits(None)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_this_machine_needs_none(host: str) -> None:
    assert Settings(host=host).admits(None)


def test_only_the_token_is_admitted() -> None:
    settings = Settings(token=SECRET)
    assert settings.admits(SECRET)
    for wrong in (None, "", SECRET[:-1], SECRET + "0", SECRET.upper()):
        assert not settings.admits(wrong)


def test_a_token_that_could_be_guessed_is_refused() -> None:
    with pytest.raises(SrganTrtError, match="fewer than 16"):
        Settings(token="secret")


def test_the_token_is_in_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"
    file.write_text(f"{SECRET}\n")
    monkeypatch.setenv(TOKEN, "x" * 20)
    assert read_token(str(file)) == SECRET
    assert read_token(None) == "x" * 20
    monkeypatch.delenv(TOKEN)
    assert read_token(None) is None
    with pytest.raises(SrganTrtError, match="cannot be read"):
        read_token(str(tmp_path / "none"))
    for content in ("", "two words", "two\nlines"):
        file.write_text(content)
        with pytest.raises(SrganTrtError, match="holds no token"):
            read_token(str(file))


@pytest.mark.parametrize(
    ("settings", "taken", "refused"),
    [
        (
            Settings(),
            ["localhost", "localhost:7000", "127.0.0.1:7000", "[::1]:7000", "192.0.2.1"],
            ["example.org", "127.0.0.1.evil.example"],
        ),
        (Settings(host="pictures.example", insecure=True), ["pictures.example:80", "192.0.2.1"], ["evil.example"]),
        (Settings(host="0.0.0.0", token=SECRET), ["any.example:7000"], []),
    ],
)
def test_other_names_are_refused(settings: Settings, taken: list[str], refused: list[str]) -> None:
    for host in taken:
        assert settings.is_host(host), host
    for host in [*refused, "", "[", ":80", "localhost@evil.example"]:
        assert not settings.is_host(host), host


def test_pages_of_other_sites_are_refused() -> None:
    settings = Settings(allow_origin="https://example.org")
    assert settings.is_origin("http://127.0.0.1:7000", "127.0.0.1:7000")
    assert settings.is_origin("https://example.org", "127.0.0.1:7000")
    for origin in ("null", "https://evil.example", "http://127.0.0.1:8000", "https://example.org.evil.example", "*"):
        assert not settings.is_origin(origin, "127.0.0.1:7000")


@pytest.mark.parametrize("origin", ["*", "example.org", "https://example.org/", "https://example.org/path", "null"])
def test_what_is_no_origin_is_not_allowed(origin: str) -> None:
    with pytest.raises(SrganTrtError, match="not an origin"):
        Settings(allow_origin=origin)
