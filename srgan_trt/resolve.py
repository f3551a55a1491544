"""What a model argument names: a plan, an engine, or a network that a plan is built of. Files are known by content."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .compiler.plan import Plan, is_plan, load_plan
from .errors import ModelError
from .models.registry import build_settings, find_model, int8_beside, texture_pair
from .runtime.devices import engine_plan, is_engine


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A model file that was named, and what it is."""

    path: Path
    kind: Literal["plan", "engine", "network"]
    """"network": everything that `srgan_trt.build` reads, or refuses."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What `srgan_trt.build` must be told of it, known by its name."""

    def plan(self, *, trust_model: bool = False, **settings: Any) -> Plan:
        """Its plan: read, or of an engine the one that it was built from, or built once and cached.

        trust_model: Run code that the file carries: a Lambda's, an engine's. settings: others of `srgan_trt.build`, for
        a network.

        Raises ModelError for settings where nothing is built, or what cannot be built; PlanError for a damaged plan or
        engine; DeviceError for an engine that is not trusted; MissingPackageError if a package is needed to read it.
        """
        if self.kind != "network" and settings:
            what = "a plan" if self.kind == "plan" else "an engine"
            raise ModelError(
                f"{self.path} is {what}, built already: leave {', '.join(settings)} out, or build it again"
            )
        if self.kind == "plan":
            plan, int8_plan = load_plan(self.path), int8_beside(self.path)
            return plan if int8_plan is None else plan.with_int8(load_plan(int8_plan))
        if self.kind == "engine":
            return engine_plan(self.path, trust_model=trust_model)
        from .plan_cache import cached_plan

        trusted = {"trust_model": True} if trust_model else {}
        return cached_plan(self.path, **{**self.settings, **settings, **trusted})


def resolve(model: str | os.PathLike[str] | None, *, sha256: str | None = None) -> ModelFile:
    """The file that `model` names: a path, an http(s) address (fetched once into the cache), the name of a packaged
    generator, or None for the default.

    sha256: What the file's content must be, as 64 hexadecimal digits; an address is not fetched without it.

    Raises ModelError if there is no such file, it cannot be read or has another checksum, MissingPackageError if it is
    in a package that is not installed.
    """
    path = find_model(model, sha256=sha256)
    return ModelFile(path=path, kind=_kind(path), settings=build_settings(model))


def _kind(path: Path) -> Literal["plan", "engine", "network"]:
    if not path.is_file():
        return "network"  # a folder: a SavedModel, or what the compiler says that it is not
    try:
        return "plan" if is_plan(path) else "engine" if is_engine(path) else "network"
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error


def textured_plan(model: str | os.PathLike[str] | None, texture: float) -> Plan:
    """Between the model trained on pixels and its GAN, one of which `model` names: `texture` 0 is the one, 1 the other,
    as they are; what is between them is built once, then cached.

    Raises ModelError as `texture_pair` does, or for a texture out of range; MissingPackageError if a package is needed.
    """
    from .compiler.mixing import checked_texture
    from .plan_cache import mixed_plan

    share = checked_texture(texture)
    pixel, gan = texture_pair(model)
    if share in (0, 1):
        return resolve(gan if share else pixel).plan()
    return mixed_plan(resolve(pixel).plan(), resolve(gan).plan(), share)


def open_plan(
    model: str | os.PathLike[str] | Plan | None = None,
    *,
    sha256: str | None = None,
    trust_model: bool = False,
    texture: float | None = None,
) -> Plan:
    """The plan that `model` names (see `resolve`), or `model` itself.

    trust_model: Run code that the file carries: a Lambda's, an engine's.
    texture: Between the named model and its partner: see `textured_plan`.

    Raises what `resolve`, `ModelFile.plan` and `textured_plan` raise, and ModelError for a checksum or a texture of an
    open plan.
    """
    if isinstance(model, Plan):
        if sha256 is not None or texture is not None:
            what = "checksum" if sha256 is not None else "texture"
            raise ModelError(f"the plan {model.path} is open already: its {what} comes too late; name the file")
        return model
    if texture is not None:
        if sha256 is not None:
            raise ModelError("texture is between two models, of which sha256 can be but one's: leave it out")
        return textured_plan(model, texture)
    return resolve(model, sha256=sha256).plan(trust_model=trust_model)
