"""Where engines come from: built when first asked for and kept in the user's cache, or read from a file.

The key is that of vs-mlrt (scripts/vsmlrt.py, get_engine_path: the network's checksum, shapes, precision, workspace,
builder's options, TensorRT's version, the GPU's name), and the compute capability. Not the driver's version, of which
engines do not depend: the file notes it.
"""

from __future__ import annotations

import dataclasses
import logging
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..._version import __version__
from ...cache import build_lock, cache_folder, key_of
from ...compiler.plan import Plan
from ...errors import DeviceError, DeviceMemoryError, PlanError
from .build import targets
from .driver import driver_version
from .file import FORMAT, EngineHeader, check_fit, other_driver, read_engine, read_header, write_engine
from .from_plan import assemble_engine, is_turing, network_of
from .library import Library, find_library, need_gpu
from .loaded import LoadedEngine
from .timings import machine_key

if TYPE_CHECKING:
    from ...compiler.fp16 import Float32Layer
    from ...spec import Prelu
    from ..gpu.device import Gpu
    from ..gpu.interfaces import EngineSettings
    from .build import Progress

_log = logging.getLogger(__name__)


class EngineCache:
    """An `EngineSource` (see runtime/engine.py) of one plan."""

    def __init__(self, plan: Plan, *, library: Library | None = None, progress: Progress | None = None) -> None:
        """library: None for what is installed (then raises MissingPackageError without); progress: told of builds."""
        self._plan = plan
        self.library = library or find_library()
        self._progress = progress
        self._networks: dict[tuple[str, Prelu], tuple[bytes, tuple[Float32Layer, ...]]] = {}

    @property
    def name(self) -> str:
        """See EngineSource."""
        return str(self.library)

    @property
    def largest_tile(self) -> None:
        """See EngineSource."""
        return None

    def prelus(self, precision: str) -> tuple[Prelu, ...]:
        """See EngineSource."""
        from ...compiler.graph import from_plan  # here: graphs take half a second to import
        from ...compiler.slopes import has_prelus

        both = precision != "int8" and has_prelus(from_plan(self._plan))
        return ("inside", "apart") if both else ("inside",)

    def open(self, settings: EngineSettings, gpu: Gpu) -> LoadedEngine:
        """See EngineSource. One that is damaged, or that TensorRT does not take, is built again, which is logged.

        Raises what from_plan.assemble_engine raises.
        """
        need_gpu(f"{self.library} can neither build nor load an engine")
        settings = dataclasses.replace(settings, compute_capability=gpu.compute_capability)
        path = self.path(settings, gpu)
        if path.is_file():
            engine = self._load(path, settings, gpu)
            if engine is not None:
                return engine
        with build_lock(path) as place:
            # Another process may have built it while this one waited.
            if place.is_file():
                engine = self._load(place, settings, gpu)
                if engine is not None:
                    return engine
            header, data = self._build(settings, gpu)
            try:
                write_engine(place, header, data)
            except PlanError as error:
                _log.warning("the engine is not kept for the next start: %s", error)
        return LoadedEngine(self.library, header, data, kernels=_kernels(place))

    def path(self, settings: EngineSettings, gpu: Gpu) -> Path:
        """Where the engine of these settings is kept for this GPU, if it was built yet."""
        facts: dict[str, Any] = {
            "plan": self._plan.body_hash,
            "settings": dataclasses.asdict(settings),
            "library": [self.library.flavour, self.library.version],
            "gpu": [gpu.name, gpu.compute_capability],
            "written by": [__version__, FORMAT],
        }
        stem = re.sub(r"\W+", "-", Path(self._plan.spec.name).stem)[:40]
        return cache_folder() / "engines" / f"{stem}-{settings.precision}-{key_of(facts)}.engine"

    def _load(self, path: Path, settings: EngineSettings, gpu: Gpu) -> LoadedEngine | None:
        try:
            header, data = read_engine(path)
            check_fit(header, path, library=self.library, gpu=gpu, plan=self._plan, settings=settings)
            if other := other_driver(header, driver_version()):
                _log.info("the engine %s %s", path, other)
            return LoadedEngine(self.library, header, data, kernels=_kernels(path))
        except DeviceMemoryError:
            raise
        except (PlanError, DeviceError) as error:
            _log.warning("the cached engine is of no use and is built again: %s", error)
            return None

    def _build(self, settings: EngineSettings, gpu: Gpu) -> tuple[EngineHeader, bytes]:
        self.library.check_precision(settings.precision)
        targets(self.library, settings.compute_capability)  # a GPU that it knows not is told before any work
        height, width = settings.tile
        _log.warning(
            "building an engine of %s for %s (%s, tiles of %d x %d, %d at once): once, this may take minutes",
            self._plan.spec.name, gpu.name, settings.precision, width, height, settings.batch,
        )  # fmt: skip
        began = time.monotonic()
        wanted = (settings.precision, settings.prelu)
        if wanted not in self._networks:  # float16 is measured once, not for every size of windows
            self._networks[wanted] = network_of(
                self._plan, settings.precision, prelu=settings.prelu, turing=is_turing(gpu.compute_capability)
            )
        header, data = assemble_engine(
            self._plan,
            settings,
            library=self.library,
            gpu=gpu,
            network=self._networks[wanted],
            progress=self._progress,
        )
        _log.info("built it in %.1f s, %.1f MB", time.monotonic() - began, len(data) / 1e6)
        return header, data


class EngineOnDisk:
    """An `EngineSource` that is one engine file, built before by `srgan-trt build --target`."""

    def __init__(self, path: str | Path, *, trust_model: bool = False, library: Library | None = None) -> None:
        """trust_model: that the file's maker is trusted: TensorRT runs what an engine holds, as it is.

        Raises PlanError if it is not an engine or damaged, DeviceError if it is not trusted.
        """
        self.path = Path(path)
        self.header = read_header(self.path)
        if not trust_model:
            raise DeviceError(
                f"the engine {self.path} holds code that would run on this machine: if you built it or trust who did, "
                "use --trust-model; else build one from its model"
            )
        self._library = library
        self._driver_told = False

    @property
    def plan(self) -> Plan:
        """What a pipeline needs of a plan; its network is not there."""
        return Plan(
            self.path, self.header.spec, {"notes": []}, self.header.plan_hash, self.header.self_test, engine=True
        )

    @property
    def name(self) -> str:
        """See EngineSource."""
        return f"{self.header.flavour} {self.header.library}, {self.path.name}"

    @property
    def largest_tile(self) -> tuple[int, int]:
        """See EngineSource."""
        return self.header.settings.tile

    def prelus(self, precision: str) -> tuple[Prelu, ...]:
        """See EngineSource."""
        return (self.header.settings.prelu,)

    def open(self, settings: EngineSettings, gpu: Gpu) -> LoadedEngine:
        """See EngineSource. Raises PlanError if the file is damaged, DeviceError if the engine is for other settings,
        GPUs or another TensorRT, MissingPackageError without TensorRT."""
        header, data = read_engine(self.path)
        own = header.settings
        if settings.precision != own.precision:
            raise DeviceError(
                f"the engine {self.path} computes in {own.precision}, {settings.precision} is needed (16-bit pictures "
                f"need fp32): use its plan, or an engine built with --precision {settings.precision}"
            )
        if settings.tile[0] > own.tile[0] or settings.tile[1] > own.tile[1]:
            raise DeviceError(
                f"the engine {self.path} takes tiles of at most {own.tile[1]} x {own.tile[0]} pixels, not "
                f"{settings.tile[1]} x {settings.tile[0]}: use --tile {min(own.tile)}"
            )
        library = self._library or find_library(header.flavour)
        check_fit(header, self.path, library=library, gpu=gpu)
        if not self._driver_told and (other := other_driver(header, driver_version())):
            _log.info("the engine %s %s: built again it may be faster", self.path, other)
            self._driver_told = True
        # It runs fewer tiles at once as well.
        seen = dataclasses.replace(own, batch=min(own.batch, settings.batch))
        kernels = cache_folder() / "engines" / f"{header.engine_sha256[:32]}-{machine_key(library, gpu)}.kernels"
        return LoadedEngine(library, header, data, settings=seen, kernels=kernels)


def _kernels(path: Path) -> Path:
    """Where TensorRT-RTX's kernels of the cached engine `path` are kept."""
    return path.with_suffix(".kernels")
