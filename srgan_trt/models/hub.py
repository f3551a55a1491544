"""Model files from the Hugging Face Hub, by huggingface_hub and its cache: of one commit, or with their checksum."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .._version import __version__
from ..errors import ModelError, missing, one_line
from .remote import MAX_BYTES, check_sha256
from .tensorflow_export import default_environment

_ADDRESS = re.compile(r"hf:(?P<repo>[^/@]+/[^/@]+)(?:@(?P<revision>[^/@]+))?/(?P<file>[^@]+)")


def fetch_from_hub(address: str, *, sha256: str | None) -> Path:
    """The file that `address`, hf:OWNER/REPO@REVISION/FILE, leads to, in the cache of huggingface_hub.

    REVISION is a whole commit, 40 hexadecimal digits, whose content cannot change; with `sha256` it may be anything, or
    be left out. A file of a commit that is in the cache needs no network. An ncnn .param comes with its .bin.

    Raises ModelError, in one line, if the address is none, or names no whole commit and has no checksum; if the file
    cannot be fetched, is larger than `MAX_BYTES` or has another checksum; MissingPackageError without huggingface_hub.
    """
    parts = _ADDRESS.fullmatch(address)
    if parts is None:
        raise ModelError(f"{address!r} is not an address of the Hub: give hf:OWNER/REPO@REVISION/FILE")
    revision = parts["revision"]
    if sha256 is None and re.fullmatch("[0-9a-f]{40}", revision or "") is None:
        raise ModelError(
            f"{address} is not fetched without the whole commit, which cannot change: give its 40 digits, "
            "hf:OWNER/REPO@REVISION/FILE, or the file's checksum by --sha256 (in Python sha256=)"
        )
    path = _fetched(parts["repo"], parts["file"], revision, shown=address)
    if path.suffix.lower() == ".param":
        _fetched(parts["repo"], str(Path(parts["file"]).with_suffix(".bin")), revision, shown=address)
    if sha256 is not None:
        check_sha256(path, sha256)
    return path


def _fetched(repo: str, file: str, revision: str | None, *, shown: str) -> Path:
    try:
        # Its telemetry tells what runs here, and asks the Hub for more than the file; it is read at the first import.
        with default_environment("HF_HUB_DISABLE_TELEMETRY", "1"):
            from huggingface_hub import constants, hf_hub_download
    except ModuleNotFoundError as error:
        if error.name not in ("huggingface_hub", "huggingface_hub.constants"):
            raise
        raise missing("huggingface_hub", "hub", "fetch a model from the Hugging Face Hub") from None
    what: dict[str, Any] = {"library_name": "srgan-trt", "library_version": __version__}
    with _told(shown, repo, offline=constants.is_offline_mode()):
        found = hf_hub_download(repo, file, revision=revision, dry_run=True, **what)
    if (size := found.file_size or 0) > MAX_BYTES:
        raise ModelError(f"{shown} is {size / 1e6:,.0f} MB, more than the {MAX_BYTES / 1e6:,.0f} MB that are fetched")
    with _told(shown, repo, offline=constants.is_offline_mode()):
        # The commit that was just found: a branch may move in between.
        return Path(hf_hub_download(repo, file, revision=found.commit_hash, tqdm_class=_Silent, **what))


@contextmanager
def _told(shown: str, repo: str, *, offline: bool) -> Iterator[None]:
    """Turns what huggingface_hub raises into ModelErrors of one line."""
    import httpx2  # what it asks by
    from huggingface_hub import errors

    try:
        yield
    except ValueError as error:
        raise ModelError(f"{shown} is not an address of the Hub: {one_line(error)}") from error
    except errors.GatedRepoError as error:
        raise ModelError(f"{shown} is for those who accepted its terms: do so there, then 'hf auth login'") from error
    except errors.RepositoryNotFoundError as error:
        raise ModelError(f"{shown}: there is no repository {repo}, or it needs 'hf auth login'") from error
    except errors.RevisionNotFoundError as error:
        raise ModelError(f"{shown}: {repo} has no such revision") from error
    except errors.LocalEntryNotFoundError as error:
        why = "HF_HUB_OFFLINE is set" if offline else "the Hub does not answer: check the network"
        raise ModelError(f"{shown} is not in the cache, and {why}") from error
    except errors.EntryNotFoundError as error:
        raise ModelError(f"{shown}: {repo} has no such file, or not in that revision") from error
    except errors.HfHubHTTPError as error:
        raise ModelError(f"{shown}: the Hub answered {error.response.status_code}: try again later") from error
    except (httpx2.HTTPError, errors.XetDownloadError, OSError) as error:
        raise ModelError(f"{shown} cannot be fetched ({one_line(error)}): try again") from error


class _Silent(tqdm):  # type: ignore[misc]
    """huggingface_hub's bar of progress, which says nothing."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "disable": True})
