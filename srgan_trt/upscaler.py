"""Upscaler: one image or many in, the same kind out. The only place that knows both sides of the runtime."""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from .compiler.plan import Plan
from .denoise import OFF, checked, denoiser_plan, level_for
from .errors import DeviceError, PictureError, SrganTrtError
from .halo import resolve_halo
from .imaging.alpha import fill_transparent
from .imaging.color_fix import fix_colours
from .imaging.decode import MAX_PIXELS
from .imaging.encode import Quality, check_format, check_sides, check_target, encode, format_of, outputs_for
from .imaging.picture import Picture
from .imaging.reading import picture_of, unlabelled
from .resolve import open_plan
from .runtime.devices import open_pipeline
from .runtime.pipeline import run_in_tiles
from .sizes import Box, Progress, Run, Size, Target, enlarge, size_of, target_of, working_pixels
from .spec import NetworkSpec
from .tta import averaged, tta_inputs, tta_pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .runtime.pipeline import Pipeline, Schedule

_log = logging.getLogger(__name__)


class Upscaler:
    """A generator, ready to upscale images; use it in a `with`, or call `close()`. Thread-safe.

    Example:
        >>> with Upscaler("model.plan.onnx") as up:  # doctest: +SKIP
        ...     large = up(image)
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Plan | None = None,
        *,
        sha256: str | None = None,
        trust_model: bool = False,
        device: str = "auto",
        engine: str | None = None,
        precision: str | None = None,
        tile: int | None = None,
        halo: int | None = None,
        exact: bool = False,
        max_pixels: int = MAX_PIXELS,
        max_vram: int | None = None,
        threads: int | None = None,
        denoise: str | int | None = None,
        texture: float | None = None,
        tta: bool = False,
        color_fix: bool = False,
        build_progress: Callable[[str, float], None] | None = None,
    ) -> None:
        """Opens the model and the device.

        Args:
            model: A plan, an engine (`srgan-trt build --target`), a Keras or ONNX file (built once, then cached), the
                http(s) or hf: address of one (fetched once, then cached), or a name that `srgan-trt models` lists; None
                is the one it marks as the default.
            sha256: Checksum of the model file, as 64 hexadecimal digits: needed for an address, checked for a file or
                a name if given.
            trust_model: Run code that the model file carries: a Lambda's, an engine's.
            device: "cpu"; "cuda" for the first NVIDIA GPU, "cuda:1" for another, "cuda:0,1" for several, which share
                the pictures; "auto" for a GPU if one is here and works, else the CPU.
            engine: What runs the network on a GPU: "tensorrt", "tensorrt-rtx", or "torch" (PyTorch, of the extra
                [torch]); None is the TensorRT that is installed.
            precision: "fp32", "bf16" (CPU), "fp16" (GPU), "int8" for a model that has a plan in it, or None for the
                device's fastest that keeps the picture's levels.
            tile: Side, in input pixels, of the largest tile the network sees at once, halo included; None is the
                device's choice.
            halo: Input pixels of context around each tile; None is the plan's default, which keeps the result
                within a level of 255 of the untiled one.
            exact: Full receptive field as halo, in fp32: tiled is then equal to whole.
            max_pixels: Pixels of a picture file that are taken.
            max_vram: Bytes of each GPU's memory that may be used; None is what is free.
            threads: The most threads that compute on the CPU; None is $SRGAN_TRT_THREADS, else all usable cores.
            denoise: Level of noise and JPEG blocks to take away first, from 0 (little) to 3; "off": never; "auto"
                (None): as a file was compressed, for networks that were trained on clean pictures, where the extra
                [denoise] is installed and `exact` not asked for.
            texture: Instead of the named model, a mix of a model trained on pixels (0) and its GAN (1), one of which
                `model` is; built once, then cached.
            tta: The mean of what the network makes of the picture's 8 turns and mirrors: 8 times the time.
            color_fix: Bring the colours of the result, as means over 8 x 8 pixels, to those of the image: for networks
                that shift them.
            build_progress: Called with what is done and how much (0..1), from any thread, while a GPU engine is built.

        Raises:
            ModelError: There is no such model file, it has another checksum, or it is not a generator.
            PlanError: The plan is damaged or by another version.
            MissingPackageError: A package is needed to read the model or to use the device.
            DeviceError: The device or the precision cannot be had, or an engine is not trusted.
            SrganTrtError: Options contradict one another or the network.
        """
        if exact and (halo is not None or precision not in (None, "fp32")):
            raise SrganTrtError("exact sets the halo and fp32 itself: leave halo and precision out")
        self._denoise = checked(OFF if exact and denoise is None else denoise)
        self.plan = open_plan(model, sha256=sha256, trust_model=trust_model, texture=texture)
        if exact and self.spec.precision != "fp32":
            raise SrganTrtError(
                f"{self.plan.path} is in {self.spec.precision}, which is not exact: name the model, or a plan in fp32"
            )
        self._tile = tile
        self._halo, notes = resolve_halo(self.spec, tile, halo, exact)
        self._max_pixels, self._tta, self._color_fix = max_pixels, tta, color_fix
        options: dict[str, Any] = {"device": device, "engine": engine, "max_vram": max_vram, "threads": threads}
        self._pipeline = open_pipeline(
            self.plan, precision="fp32" if exact else precision, build_progress=build_progress, **options
        )
        self._denoiser_options = {"precision": precision, **options}
        self._denoisers: dict[int, Upscaler] = {}
        self._denoiser_lock = threading.Lock()
        if isinstance(self._denoise, int):
            self._denoiser(self._denoise)  # what is missing for it is said now
        self._lock = threading.Lock()
        self._telling = threading.local()
        self._last: dict[str, Any] = {}
        self._notes = notes
        self._warned = False

    @property
    def spec(self) -> NetworkSpec:
        """The facts about the network."""
        return self.plan.spec

    @property
    def info(self) -> dict[str, Any]:
        """What runs, and how: model, scale, device, name, engine, precision, streams, halo (None: no tiles), denoise,
        tta, color_fix, notes; and of the last picture tile (height, width) and tiles (how many)."""
        facts = {"model": self.spec.name, "scale": self.spec.scale, **self._pipeline.info, "halo": self._halo}
        facts |= {"denoise": self._denoise, "tta": self._tta, "color_fix": self._color_fix}
        with self._lock:
            return facts | self._last | {"notes": [*facts["notes"], *self._notes]}

    @property
    def max_concurrency(self) -> int:
        """Pictures that gain from being upscaled at the same time, each by a thread; more of them wait."""
        return self._pipeline.max_concurrency

    def __call__(
        self,
        image: Any,
        *,
        scale: float | None = None,
        size: Box | None = None,
        output: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
        overwrite: bool = False,
        quality: Quality | None = None,
        progress: Progress | None = None,
        stream: Any = None,
    ) -> Any:
        """Upscales `image` and returns the same kind.

        Args:
            image: A path or http(s) address, the bytes of a file or one that is open for reading them (a Pillow image
                comes back), a Pillow image, a NumPy array of (H, W) gray, (H, W, 2) gray and alpha, (H, W, 3) RGB or
                (H, W, 4) RGBA, a batch (N, H, W, C) of such, or a list of any of these (a list comes back). Levels are
                uint8, uint16, or floats of 0..1. What EXIF says of the way up is done.
                An array of another library that knows DLPack or the CUDA Array Interface (CuPy, PyTorch, Numba, JAX,
                pycuda) gives an array of that library, on the device where it is; on a GPU: (H, W) or (H, W, 3).
                An array of xarray gives one, without coordinates; its axis "band" or "channel" may be the first.
            scale: Times larger than `image`, 1 to 16 (None: what the network makes), by the network and a reduction.
            size: Instead, the longer side, or (width, height) of what the result fits into, either of them None for
                any. The aspect is kept.
            output: Where to save instead: the path comes back. For a list, as many paths.
            overwrite: Whether `output` may exist.
            quality: Of `output`, 1 to 100 for JPEG (None: 95) and WebP (90); or "lossless", for WebP.
            progress: Called with (tiles done, tiles in all) of each picture. What it raises stops the picture and
                comes out of this call; the Upscaler goes on working.
            stream: For an array on a GPU: the stream that it is made on, where its library does not tell; a handle or
                an object of the library. The result is complete when the call returns.

        Returns:
            The enlarged image, of the kind of `image`; the path or paths if `output` is given.

        Raises:
            PictureError: An image cannot be read or written, is not of a kind above, or not to be had in this size.
            SrganTrtError: Both `scale` and `size` are given, or one is out of range.
            DeviceError: The device fails, this Upscaler was closed, or an array is on a GPU that it does not run on.
        """
        wanted = size_of(scale, size)
        if (named := unlabelled(image)) is not None:
            values, labelled = named
            large = self(values, scale=scale, size=size, output=output, overwrite=overwrite, quality=quality,
                         progress=progress)  # fmt: skip
            return labelled(large) if output is None else large
        if isinstance(image, list | tuple):
            outputs = outputs_for(image, output)
            watched: dict[str, Any] = {"progress": progress, "stream": stream}
            return [
                self(each, output=to, scale=scale, size=size, overwrite=overwrite, quality=quality, **watched)
                for each, to in zip(image, outputs, strict=True)
            ]
        if output is not None and not isinstance(output, str | os.PathLike):
            raise PictureError("one image has one output: give a path, not a list")
        foreign = not isinstance(image, np.ndarray | str | os.PathLike) and hasattr(image, "__dlpack__")
        if foreign or hasattr(image, "__cuda_array_interface__"):
            return self._foreign(image, wanted, output, progress, stream)
        if stream is not None:
            raise SrganTrtError("stream is for arrays on a GPU: leave it out")
        if isinstance(image, np.ndarray) and image.ndim == 4:
            if output is not None:
                raise PictureError("a batch has no single output file: give a list of images and a list of outputs")
            return self._batch(image, wanted, progress)
        target = None if output is None else Path(output)
        if target is not None:
            # Before the work: a name that cannot be written should not cost minutes.
            check_format(format_of(target), quality)
            check_target(target, overwrite=overwrite)
        small = self._read(image)
        if target is not None:
            made = self.target(wanted, small.width, small.height)
            check_sides(format_of(target), made.width, made.height, name=str(target))
        picture = self.upscale_picture(small, size=wanted, progress=progress)
        if target is not None:
            for note in encode(picture, target, overwrite=overwrite, quality=quality):
                _log.warning("%s: %s", target, note)
            return target
        return picture.to_array() if isinstance(image, np.ndarray) else picture.to_pil()

    def upscale_picture(
        self,
        picture: Picture,
        *,
        size: Size | None = None,
        denoise: str | int | None = None,
        progress: Progress | None = None,
        stop: threading.Event | None = None,
    ) -> Picture:
        """`picture`, `spec.scale` times larger or of `size`: colours by the network, transparency bicubic.

        Args:
            picture: Pixels and metadata; the result has the same, with the DPI that keep it as large on paper.
            denoise: As `Upscaler` takes it, for this picture; None is what the Upscaler was opened with.
            progress: Called with (tiles done, tiles in all); what it raises ends the work.
            stop: Ends the work when it is set, from any thread, within a part of a second.

        Raises:
            StoppedError: `stop` was set; the Upscaler goes on with other pictures.
            DeviceError: The device fails, or this Upscaler was closed.
            PictureError: The result does not fit into memory, or `size` is too large.
        """
        target = self.target(size, picture.width, picture.height)
        image = picture.pixels if picture.alpha is None else fill_transparent(picture.pixels, picture.alpha)
        level = level_for(self._denoise if denoise is None else checked(denoise), picture.compression, self.spec)
        if level is not None:
            image = self._denoiser(level).upscale_picture(Picture(pixels=image), stop=stop).pixels
        visible = dataclasses.replace(picture, pixels=image, denoised=level)
        run: Run = partial(self._run, stop=stop)
        if self._tta:
            run = averaged(run, self.spec, halo=self._halo)
        large = enlarge(visible, target, self.spec, halo=self._halo, run=run, progress=progress)
        if self._color_fix and target.passes:
            fix_colours(large.pixels, image)
        return large

    def target(self, size: Size | None, width: int, height: int) -> Target:
        """What a picture of `width` x `height` becomes, and how. Raises PictureError if `size` is too large."""
        return target_of(size, width, height, self.spec, max_pixels=self._max_pixels)

    def schedules(self, height: int, width: int, *, channels: int, dtype: Any) -> list[Schedule]:
        """How a picture of this size, and kind as arrays have it, goes through the network, each time that it does."""
        options: Any = {"halo": self._halo, "tile": self._tile, "dtype": dtype, "channels": channels}
        inputs = tta_inputs(height, width, self.spec, halo=self._halo) if self._tta else [(height, width)]
        return [self._pipeline.schedule(*each, **options) for each in inputs]

    def working_pixels(self, target: Target, width: int, height: int) -> int:
        """Pixels that are in memory at most while a picture of `width` x `height` becomes `target`, itself included."""
        pixels = working_pixels(target, width, height, self.spec)
        return pixels + tta_pixels(target, width, height, self.spec) if self._tta else pixels

    def _denoiser(self, level: int) -> Upscaler:
        with self._denoiser_lock:
            if level not in self._denoisers:
                self._denoisers[level] = Upscaler(denoiser_plan(level), denoise=OFF, **self._denoiser_options)
            return self._denoisers[level]

    def close(self) -> None:
        """Frees the device's memory; calling it again does nothing."""
        self._check_not_telling()
        self._pipeline.close()
        with self._denoiser_lock:
            for denoiser in self._denoisers.values():
                denoiser.close()

    def __enter__(self) -> Upscaler:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _foreign(self, array: Any, size: Size | None, output: Any, progress: Progress | None, stream: Any) -> Any:
        """An array of another library, enlarged, as one of that library on the same device."""
        from .runtime.gpu.device_array import as_host_array, borrow, is_device_array
        from .runtime.gpu.device_result import host_result, new_result

        if output is not None:
            raise PictureError(f"a {type(array).__name__} gives one: leave output out, or give a NumPy array")
        if not is_device_array(array):
            here = as_host_array(array)
            if here is None:
                raise PictureError(f"a {type(array).__name__} is not an image: give a NumPy array")
            large = self.upscale_picture(self._read(np.ascontiguousarray(here)), size=size, progress=progress)
            return host_result(array, large.to_array())
        if size is not None or self._tta or self._color_fix:
            raise PictureError(
                "an array on a GPU is enlarged as the network does it: leave scale, size, tta and color_fix out"
            )
        with borrow(array, stream=stream) as picture:
            pipeline = self._pipeline.pipeline_on(picture.image.device)
            if pipeline is None:
                number, here = picture.image.device, self._pipeline.info["device"]
                raise DeviceError(
                    f"the array is on GPU {number}, this Upscaler on {here}: open one with device 'cuda:{number}', or "
                    "move the array to the host"
                )
            result = new_result(picture, self.spec.scale)
            self._run(picture.image, result.image, progress, pipeline, stream=picture.stream)
            return result.take()

    def _run(
        self, image: Any, out: Any, progress: Progress | None, pipeline: Pipeline | None = None, **options: Any
    ) -> tuple[str, ...]:
        """Fills `out`; returns what is to be said about the result. options: of the pipeline's `run`."""
        self._check_not_telling()
        told = None if progress is None else partial(self._tell, progress)
        tiles, not_finite = run_in_tiles(
            pipeline or self._pipeline, image, out, halo=self._halo, tile=self._tile, progress=told, **options
        )
        with self._lock:
            self._last = {"tile": (tiles.tile_height, tiles.tile_width), "tiles": len(tiles.tiles)}
            warned, self._warned = self._warned, self._warned or not_finite > 0
        if not not_finite:
            return ()
        wider = "a plan or engine in fp16 or fp32" if self.spec.precision == "int8" else "precision fp32"
        note = f"{not_finite} values of the network were not finite and became black: try {wider}"
        if not warned:
            _log.warning("%s: %s", self.spec.name, note)
        return (note,)

    def _tell(self, progress: Progress, done: int, total: int) -> None:
        self._telling.now = True
        try:
            progress(done, total)
        finally:
            self._telling.now = False

    def _check_not_telling(self) -> None:
        """A callback that waited for the run that waits for it would wait for ever."""
        if getattr(self._telling, "now", False):
            raise SrganTrtError("a progress callback cannot use the Upscaler that calls it: open another one")

    def _read(self, image: Any) -> Picture:
        return picture_of(image, max_pixels=self._max_pixels)

    def _batch(self, images: NDArray[Any], size: Size | None, progress: Progress | None) -> NDArray[Any]:
        count, height, width, channels = images.shape
        probe = self._read(images[0] if count else np.zeros((1, 1, channels), images.dtype))
        target = self.target(size, width, height)
        result: NDArray[Any] = np.empty((count, target.height, target.width, channels), probe.to_array().dtype)
        for image, large in zip(images, result, strict=True):
            large[...] = self.upscale_picture(self._read(image), size=size, progress=progress).to_array()
        return result
