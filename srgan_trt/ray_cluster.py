"""The Ray that does the work: its version, the cluster that is joined or made, and how much of it is told."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import urllib.parse
import warnings
from collections.abc import Iterator
from typing import Any

from .errors import SrganTrtError, missing, one_line, pip_command

_OLDEST, _TOO_NEW = (2, 55), (2, 64)
_STORE = 256 << 20
"""Bytes of the object store of a Ray of one's own: it holds addresses only."""
_PATIENCE = 10.0
"""Seconds in which a cluster answers."""


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Within a Ray: one that is connected already, else that of `address`, which is left at the end."""
    for name, value in (("RAY_USAGE_STATS_ENABLED", "0"), ("RAY_BACKEND_LOG_LEVEL", "fatal")):
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise missing("ray", "ray", "use a cluster") from error
    version = tuple(int(part) for part in ray.__version__.split(".")[:2])
    if not _OLDEST <= version < _TOO_NEW:
        wanted, newer = (".".join(map(str, each)) for each in (_OLDEST, _TOO_NEW))
        raise SrganTrtError(
            f"Ray {ray.__version__} is here, and {wanted} or later, before {newer}, is needed: {pip_command('ray')}"
        )
    if ray.is_initialized():
        yield
        return
    try:
        _join(address)
    except (RuntimeError, OSError, ValueError) as error:
        where = address or "auto"
        said = one_line(error, most=300)
        if "ersion mismatch" in said:
            raise SrganTrtError(f"the cluster {where} has another Ray or Python ({said}): install the same") from error
        raise SrganTrtError(f"no Ray cluster answers at {where} ({said}): start one, or give its address") from error
    try:
        yield
    finally:
        ray.shutdown()


def _join(address: str | None) -> None:
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if address is None:
        # Where this machine belongs to no cluster, a Ray of processes here. Options of a new one an old one refuses.
        try:
            ray.init(address="auto", **quiet)
        except ConnectionError:
            ray.init(address="local", include_dashboard=False, object_store_memory=_STORE, **quiet)
    else:
        _knock(address)
        ray.init(address=address, **quiet)


def _knock(address: str) -> None:
    """Raises OSError if nobody answers there: Ray would ask for minutes."""
    parts = urllib.parse.urlsplit(address if "://" in address else f"//{address}")
    if parts.hostname is not None and parts.port is not None:
        socket.create_connection((parts.hostname, parts.port), timeout=_PATIENCE).close()


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Ray tells of every actor that dies, with a traceback; here that is an ordinary thing."""
    from ray._private import worker  # nothing public keeps its messages off standard output, where ours go

    loggers = [logging.getLogger(name) for name in ("ray", "ray.data")]
    before = [logger.level for logger in loggers]
    told = worker._worker_logs_enabled
    try:
        worker._worker_logs_enabled = False
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`ray_remote_args`", DeprecationWarning)
            yield
    finally:
        worker._worker_logs_enabled = told
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
