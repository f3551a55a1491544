"""Plans built once and kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ._version import __version__
from .cache import build_lock, cache_folder, key_of, process_file, warn_unwritable
from .compiler.plan import FORMAT, Plan, UnsavedPlanError, load_plan
from .errors import ModelError, PlanError
from .files import atomic_write
from .models.files import files_of, hash_files

_log = logging.getLogger(__name__)


def cached_plan(path: Path, **settings: Any) -> Plan:
    """The plan of the model file (or SavedModel folder) `path`, built when it is first asked for.

    settings: those of `srgan_trt.build`, but for `out`. The key is the content of the file, the settings, the
    version of this package and that of the plan format. Processes that want the same plan at the same time
    build it once. A damaged cached plan is built again; without a writable cache folder the plan is built for
    this process only. Both are logged.

    Raises ModelError if there is no such file, and what `build` raises.
    """
    return plan_built_once(_key(path, settings), lambda out: _build(path, out, settings), of=str(path))


def mixed_plan(pixel: Plan, gan: Plan, texture: float) -> Plan:
    """What `srgan_trt.mix` makes of two plans, built when it is first asked for.

    Raises ModelError as `mix` does.
    """
    from .compiler.build import compile_network
    from .compiler.mixing import MixedNetwork

    network = MixedNetwork(pixel, gan, texture)  # what cannot be mixed is said before anything is waited for
    facts = {"mix": network.source_hash, "version": __version__, "format": FORMAT}

    def build(out: Path) -> Plan:
        _log.info("building a plan of %s: this takes a while, the first time", network.name)
        return compile_network(network, out=out, restores=network.restores)

    return plan_built_once(key_of(facts), build, of=network.name)


def plan_built_once(key: str, build: Callable[[Path], Plan], *, of: str) -> Plan:
    """The plan that the cache has for `key`, else what `build` makes at the path that it is given.

    of: what it is a plan of, for messages. A damaged plan is built again, which is logged. Where the cache's disk does
    not take it, the plan is kept for this process.
    """
    path = cache_folder() / "plans" / f"{key}.onnx"
    again = False
    if path.is_file():
        try:
            return load_plan(path)
        except PlanError as error:
            _log.warning("the cached plan of %s is damaged (%s): building it again", of, error)
            again = True
    with build_lock(path) as place:
        if again:
            place.unlink(missing_ok=True)
        # Another process may have built it while this one waited.
        if place.is_file():
            return load_plan(place)
        try:
            return build(place)
        except UnsavedPlanError as error:
            warn_unwritable(place.parent, error)
            place = process_file(path)
            atomic_write(place, error.content)
            return load_plan(place)


def _build(path: Path, out: Path, settings: dict[str, Any]) -> Plan:
    from .compiler.build import build

    _log.info("building a plan of %s: this takes a while", path)
    plan = build(path, out=out, **settings)
    for note in plan.report.get("notes", ()):
        _log.info("%s: %s", path.name, note)
    return plan


def _key(path: Path, settings: dict[str, Any]) -> str:
    facts = {name: value for name, value in settings.items() if value is not None}
    if "custom_objects" in facts:
        facts["custom_objects"] = _content_hash(Path(facts["custom_objects"]))
    facts |= {"content": _content_hash(path), "version": __version__, "format": FORMAT}
    return key_of(facts)


def _content_hash(path: Path) -> str:
    """sha256 of a file and those that belong to it; of a folder: of its files' names and contents, in the order of the
    names."""
    try:
        if not path.is_dir():
            return hash_files(files_of(path))
        whole = hashlib.sha256()
        for part in sorted(p for p in path.rglob("*") if p.is_file()):
            whole.update(f"{part.relative_to(path).as_posix()}\0{_content_hash(part)}\0".encode())
        return whole.hexdigest()
    except OSError as error:
        raise ModelError(f"cannot read the model {path}: {error.strerror}") from error
