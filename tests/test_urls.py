"""Which words are addresses, and that none is shown with its secrets."""

from __future__ import annotations

import pytest

from srgan_trt.urls import filename_from_url, is_url, redact_url


def test_only_http_and_https_are_addresses() -> None:
    assert is_url("http://host/a")
    assert is_url("HTTPS://host/a")
    for text in ("ftp://host/a", "file:///a", "https:/a", "photos/https://a", "C:\\a", ""):
        assert not is_url(text)


def test_shown_addresses_hold_no_secrets() -> None:
    assert redact_url("https://u:p@host:1/a%20b.png?token=1#x") == "https://host:1/a%20b.png"
    assert redact_url("http://host/a\nb") == "http://host/ab"
    assert redact_url("http://[broken/a?token=1") == "http://..."


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://host/models/x4.onnx?token=1#part", "x4.onnx"),
        ("https://host/gr%C3%B6%C3%9Fe%201.h5", "größe 1.h5"),
        ("https://host/..%2f..%2fetc%2fpasswd", "passwd"),
        ("https://host/a/%2e%2e", "download"),
        ("https://host/..%5C..%5Cwindows.h5", "_.._windows.h5"),
        ("https://host/.hidden.h5", "hidden.h5"),
        ("https://host/a%00b%0Ac%3A.h5", "a_b_c_.h5"),
        ("https://host/", "download"),
        ("https://host", "download"),
        ("https://[broken/a", "download"),
        ("https://host/" + 200 * "a", 150 * "a"),
    ],
)
def test_file_names_stay_in_their_folder(url: str, name: str) -> None:
    assert filename_from_url(url) == name
