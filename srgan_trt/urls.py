"""Addresses of the web: which words are one, how one is shown, and what to call the file that it leads to."""

from __future__ import annotations

import re
import urllib.parse
from pathlib import PurePosixPath


def is_url(text: str) -> bool:
    """Whether ``text`` begins as an http or https address does."""
    return re.match(r"https?://", text, re.IGNORECASE) is not None


def is_hub_address(text: str) -> bool:
    """Whether ``text`` begins as an address of the Hugging Face Hub does here: hf:OWNER/REPO@REVISION/FILE."""
    return text.startswith("hf:")


def redact_url(url: str) -> str:
    """``url`` without user, password, query and fragment, in one printable line."""
    try:
        parts = urllib.parse.urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        shown = urllib.parse.urlunsplit((parts.scheme, host, parts.path, "", ""))
    except ValueError:
        shown = url.partition("://")[0] + "://..."
    return re.sub(r"[^\x21-\U0010ffff]|\x7f", "_", shown)


def filename_from_url(url: str) -> str:
    """A file name from the last part of an address: no path, not hidden, at most 150 characters, never empty."""
    try:
        path = urllib.parse.unquote(urllib.parse.urlsplit(url).path)
    except ValueError:
        path = ""
    name = re.sub(r"[^\w.,()+@ -]", "_", PurePosixPath(path).name).strip(" .")
    return name[:150] or "download"
