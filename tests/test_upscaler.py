"""One image or many in, the same kind out, and the network's picture whatever way it went."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from PIL import Image

import srgan_trt
from srgan_trt.compiler.plan import Plan
from srgan_trt.errors import DeviceError, MissingPackageError, ModelError, PictureError, SrganTrtError, StoppedError
from srgan_trt.imaging.picture import from_array
from srgan_trt.oneshot import upscale
from srgan_trt.resolve import open_plan
from srgan_trt.sizes import Size
from srgan_trt.upscaler import Upscaler

from .handmade import differences, expected, nearest_model, noise, small_plan


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that repeats every pixel twice both ways."""
    path = tmp_path_factory.mktemp("model") / "nearest.onnx"
    onnx.save(nearest_model(), path)
    return path


@pytest.fixture(scope="module")
def nearest(model: Path) -> Iterator[Upscaler]:
    with Upscaler(model, precision="fp32") as up:
        yield up


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return small_plan(tmp_path_factory.mktemp("plan"))


def repeated(image: NDArray[Any]) -> NDArray[Any]:
    return image.repeat(2, axis=-3).repeat(2, axis=-2)


class TestKinds:
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_an_array_gives_an_array(self, nearest: Upscaler, channels: int, dtype: Any) -> None:
        image = noise(11, 17, channels, dtype=dtype)
        assert differences(nearest(image), repeated(image)).max() <= (0 if dtype is np.uint8 else 1)

    @pytest.mark.parametrize("dims", [("y", "x", "band"), ("Band", "y", "x"), ("y", "channels", "x")])
    def test_an_array_of_xarray_gives_one(self, nearest: Upscaler, dims: tuple[str, ...]) -> None:
        xarray = pytest.importorskip("xarray", reason='pip install ".[dev]"')
        image, axis = noise(11, 17), [name not in "yx" for name in dims].index(True)
        there = xarray.DataArray(np.moveaxis(image, -1, axis), dims=dims, name="photo", attrs={"crs": "none"})
        large = nearest(there)
        assert (type(large), large.dims, large.name, large.attrs) == (type(there), dims, "photo", {"crs": "none"})
        np.testing.assert_array_equal(np.moveaxis(large.to_numpy(), axis, -1), repeated(image))

    def test_gray_and_floats_of_xarray(self, nearest: Upscaler, tmp_path: Path) -> None:
        xarray = pytest.importorskip("xarray", reason='pip install ".[dev]"')
        image = noise(11, 17, 1)[..., 0]
        np.testing.assert_array_equal(nearest(xarray.DataArray(image)).to_numpy(), nearest(image))
        floats = xarray.DataArray(image.astype(np.float32) / 255, dims=("lat", "lon"))
        np.testing.assert_array_equal(nearest(floats, size=20).to_numpy(), nearest(floats.to_numpy(), size=20))
        assert nearest(floats, output=tmp_path / "a.png") == tmp_path / "a.png"

    def test_gray_without_channels_stays_so(self, nearest: Upscaler) -> None:
        image = noise(11, 17, 1)[:, :, 0]
        np.testing.assert_array_equal(nearest(image), image.repeat(2, axis=0).repeat(2, axis=1))

    @pytest.mark.parametrize("channels", [2, 4])
    def test_transparency_is_enlarged_too(self, nearest: Upscaler, channels: int) -> None:
        image = noise(12, 9, channels)
        image[:, :, -1] = 200
        np.testing.assert_array_equal(nearest(image), repeated(image))

    def test_colours_under_transparent_pixels_do_not_bleed(self, tmp_path: Path, plan: Plan) -> None:
        """A gray picture, transparent on the right over black or over white: the visible half is the same."""
        black = np.full((20, 20, 4), 128, np.uint8)
        black[:, 10:] = 0
        white = black.copy()
        white[:, 10:, :3] = 255
        with Upscaler(plan, precision="fp32") as up:
            np.testing.assert_array_equal(up(black), up(white))

    def test_views_and_read_only_arrays_are_taken(self, nearest: Upscaler) -> None:
        image = noise(30, 20)[::-2, ::2]
        image.flags.writeable = False
        np.testing.assert_array_equal(nearest(image), repeated(image))

    def test_a_pillow_image_gives_a_pillow_image(self, nearest: Upscaler) -> None:
        for mode, channels in (("L", 1), ("RGB", 3), ("RGBA", 4)):
            image = noise(8, 6, channels)
            image[:, :, 3:] = 255
            large = nearest(Image.fromarray(image[:, :, 0] if mode == "L" else image))
            assert isinstance(large, Image.Image)
            assert large.mode == mode
            np.testing.assert_array_equal(np.asarray(large).reshape(16, 12, channels), repeated(image))

    def test_a_path_gives_a_pillow_image(self, nearest: Upscaler, tmp_path: Path) -> None:
        image = noise(8, 6)
        Image.fromarray(image).save(tmp_path / "photo.png")
        for name in (tmp_path / "photo.png", str(tmp_path / "photo.png")):
            np.testing.assert_array_equal(np.asarray(nearest(name)), repeated(image))

    def test_the_bytes_of_a_file_and_an_open_file_give_a_pillow_image(self, nearest: Upscaler, tmp_path: Path) -> None:
        image = noise(8, 6)
        Image.fromarray(image).save(tmp_path / "photo.png")
        data = (tmp_path / "photo.png").read_bytes()
        with (tmp_path / "photo.png").open("rb") as file:
            for source in (data, bytearray(data), memoryview(data), io.BytesIO(data), file):
                np.testing.assert_array_equal(np.asarray(nearest(source)), repeated(image))
        with pytest.raises(PictureError, match=r"photo\.png cannot be read \(read of closed file\)"):
            nearest(file)
        with (
            (tmp_path / "photo.png").open(encoding="utf-8") as text,
            pytest.raises(PictureError, match="open it with mode 'rb'"),
        ):
            nearest(text)

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    def test_floats_of_0_to_1_give_the_same(self, nearest: Upscaler, dtype: Any) -> None:
        image = np.random.default_rng(1).random((9, 7, 3)).astype(dtype)
        large = nearest(image)
        assert large.dtype == dtype
        assert np.abs(large.astype(float) - repeated(image)).max() <= (5e-4 if dtype == np.float16 else 3e-5)
        batch = nearest(np.stack([image, image]))
        assert (batch.dtype, batch.shape) == (dtype, (2, 18, 14, 3))
        np.testing.assert_array_equal(batch[0], large)

    def test_a_pillow_image_is_turned_upright_as_its_file_would_be(self, nearest: Upscaler, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(noise(8, 6)).save(tmp_path / "photo.png", exif=exif)
        with Image.open(tmp_path / "photo.png") as image:
            large = nearest(image)
        assert large.size == (16, 12)
        np.testing.assert_array_equal(np.asarray(large), np.asarray(nearest(tmp_path / "photo.png")))
        assert large.getexif()[0x0112] == 1

    def test_an_output_is_written_and_named(self, nearest: Upscaler, tmp_path: Path) -> None:
        image = noise(8, 6)
        for source in (image, Image.fromarray(image)):
            target = tmp_path / "new folder" / "large.png"
            assert nearest(source, output=target, overwrite=True) == target
            np.testing.assert_array_equal(np.asarray(Image.open(target)), repeated(image))

    def test_a_list_gives_a_list(self, nearest: Upscaler) -> None:
        images = [noise(5, 6), Image.fromarray(noise(7, 4)), noise(3, 3, 1, dtype=np.uint16)]
        large = nearest(images)
        assert [type(each) for each in large] == [type(each) for each in images]
        np.testing.assert_array_equal(large[0], repeated(images[0]))
        assert nearest([]) == []

    def test_a_list_is_saved_to_as_many_outputs(self, nearest: Upscaler, tmp_path: Path) -> None:
        targets = [tmp_path / "one.png", tmp_path / "two.png"]
        assert nearest((noise(5, 6), noise(6, 5)), output=targets) == targets
        assert Image.open(targets[1]).size == (10, 12)
        with pytest.raises(PictureError, match="2 images need a list of 2 outputs"):
            nearest([noise(5, 6), noise(6, 5)], output=targets[0])

    @pytest.mark.parametrize("channels", [1, 3, 4])
    def test_a_batch_gives_a_batch(self, nearest: Upscaler, channels: int) -> None:
        batch = np.stack([noise(9, 7, channels, seed=i) for i in range(3)])
        batch[..., 3:] = 255
        np.testing.assert_array_equal(nearest(batch), repeated(batch))
        assert nearest(batch[:0]).shape == (0, 18, 14, channels)


class TestSizes:
    """Of a network that repeats every pixel twice."""

    @pytest.mark.parametrize(
        ("asked", "wanted"),
        [
            ({"scale": 1.5}, (33, 51)),
            ({"scale": 2}, (44, 68)),
            ({"scale": 3}, (66, 102)),
            ({"size": 100}, (65, 100)),
            ({"size": (51, None)}, (33, 51)),
            ({"size": [None, 33]}, (33, 51)),
            ({"size": (60, 60)}, (39, 60)),
        ],
    )
    def test_of_every_kind_of_image(self, nearest: Upscaler, asked: dict[str, Any], wanted: tuple[int, int]) -> None:
        for image in (noise(22, 34), noise(22, 34, 4), noise(22, 34, 1, dtype=np.uint16)[:, :, 0]):
            assert nearest(image, **asked).shape == (*wanted, *image.shape[2:])
        assert nearest(np.stack([noise(22, 34)] * 2), **asked).shape == (2, *wanted, 3)
        large = nearest([Image.fromarray(noise(22, 34)), noise(34, 22)], **asked)
        assert large[0].size == wanted[::-1]

    def test_the_networks_own_size_is_what_the_network_makes(self, nearest: Upscaler) -> None:
        image = noise(22, 34, 4)
        np.testing.assert_array_equal(nearest(image, scale=2), nearest(image))

    def test_a_larger_size_is_the_network_twice(self, nearest: Upscaler) -> None:
        image = noise(10, 12)
        np.testing.assert_array_equal(nearest(image, scale=4), repeated(repeated(image)))

    def test_a_picture_as_large_as_asked_for_is_only_reduced(self, nearest: Upscaler) -> None:
        seen: list[int] = []
        picture = nearest.upscale_picture(
            from_array(noise(40, 60)), size=Size(box=30), progress=lambda done, total: seen.append(done)
        )
        assert (picture.height, picture.width, seen) == (20, 30, [])
        assert picture.notes == ("is as large as asked for, or larger: the network was left out",)

    def test_the_print_keeps_its_size(self, nearest: Upscaler) -> None:
        image = Image.fromarray(noise(20, 30))
        image.info["dpi"] = (100.0, 50.0)
        assert nearest(image, scale=3).info["dpi"] == (300.0, 150.0)
        assert nearest(image).info["dpi"] == (200.0, 100.0)

    def test_progress_grows_to_the_whole(self, plan: Plan) -> None:
        with Upscaler(plan, tile=20, halo=2) as up:
            for scale in (2, 6):
                seen: list[tuple[int, int]] = []
                up(noise(30, 30), scale=scale, progress=lambda done, total, seen=seen: seen.append((done, total)))
                assert [done for done, _ in seen] == sorted(done for done, _ in seen)
                assert len({total for _, total in seen}) == 1
                assert seen[-1][0] == seen[-1][1]

    @pytest.mark.parametrize(
        ("asked", "message"),
        [
            ({"scale": 2, "size": 10}, "give one of them"),
            ({"scale": 0.5}, "from 1 to 16"),
            ({"scale": float("nan")}, "from 1 to 16"),
            ({"scale": 5}, "run twice, x4: ask for less"),
            ({"size": 0}, "from 1 pixel on"),
            ({"size": (None, None)}, "from 1 pixel on"),
            ({"size": (10_000_000, None)}, "more than the limit of 200.0 million"),
        ],
    )
    def test_what_is_not_to_be_had(self, nearest: Upscaler, asked: dict[str, Any], message: str) -> None:
        with pytest.raises(SrganTrtError, match=message):
            nearest(noise(20, 30), **asked)


class TestRefusals:
    def test_a_format_that_holds_no_such_picture_is_told_before_the_work(
        self, nearest: Upscaler, tmp_path: Path
    ) -> None:
        told: list[int] = []
        with pytest.raises(PictureError, match="a webp file holds at most 16,383 pixels a side, not 16,384 x 2"):
            nearest(noise(1, 8192), output=tmp_path / "a.webp", progress=lambda done, total: told.append(done))
        assert told == []
        nearest(noise(1, 8192), size=16_383, output=tmp_path / "a.webp")

    @pytest.mark.parametrize(
        ("image", "message"),
        [
            (np.full((4, 4, 3), 255, np.float32), "48 of its 48 values are outside 0..1"),
            (b"", "is empty"),
            (b"a text of some length, which is no picture", "it is a text file"),
            (io.StringIO("text"), "is open for str, not bytes: open it with mode 'rb'"),
            (np.zeros((4, 4, 3), np.int32), "give uint8"),
            (np.zeros((0, 4, 3), np.uint8), "no pixels"),
            (np.zeros((4, 0), np.uint8), "no pixels"),
            (np.zeros((4, 4, 5), np.uint8), "not a picture"),
            (np.zeros(4, np.uint8), "not a picture"),
            (42, "not int"),
            (None, "not NoneType"),
        ],
    )
    def test_what_is_no_image(self, nearest: Upscaler, image: Any, message: str) -> None:
        with pytest.raises(PictureError, match=message):
            nearest(image)

    def test_a_file_that_is_not_there(self, nearest: Upscaler, tmp_path: Path) -> None:
        with pytest.raises(PictureError, match=r"none\.png"):
            nearest(tmp_path / "none.png")

    def test_a_picture_over_the_limit(self, model: Path, tmp_path: Path) -> None:
        Image.fromarray(noise(20, 20)).save(tmp_path / "photo.png")
        with Upscaler(model, max_pixels=300) as up, pytest.raises(PictureError, match="raise it with"):
            up(tmp_path / "photo.png")

    def test_an_output_that_exists_is_found_before_the_work(self, nearest: Upscaler, tmp_path: Path) -> None:
        target = tmp_path / "large.png"
        target.write_bytes(b"precious")
        seen: list[int] = []
        with pytest.raises(PictureError, match="exists"):
            nearest(noise(5, 5), output=target, progress=lambda done, total: seen.append(done))
        assert target.read_bytes() == b"precious"
        assert not seen

    def test_an_output_of_no_known_format(self, nearest: Upscaler, tmp_path: Path) -> None:
        with pytest.raises(PictureError, match="end it in"):
            nearest(noise(5, 5), output=tmp_path / "large.xyz")

    def test_a_closed_upscaler(self, model: Path) -> None:
        with Upscaler(model) as up:
            pass
        up.close()
        with pytest.raises(DeviceError, match="was closed"):
            up(noise(5, 5))

    @pytest.mark.parametrize(
        "options",
        [
            {"exact": True, "halo": 3},
            {"exact": True, "precision": "bf16"},
            {"tile": 0},
            {"halo": -1},
            {"tile": 8, "halo": 4},
            {"tile": 8, "exact": True},
        ],
    )
    def test_options_that_contradict(self, plan: Plan, options: dict[str, Any]) -> None:
        with pytest.raises(SrganTrtError):
            Upscaler(plan, **options)

    def test_a_device_that_is_not_there(self, plan: Plan) -> None:
        """Nor, in a small installation, the packages for it."""
        wrong = r"no NVIDIA driver|there is no GPU 0|tensorrt is needed"
        with pytest.raises((DeviceError, MissingPackageError), match=wrong):
            Upscaler(plan, device="gpu")


class TestTiles:
    @pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 70), (61, 1), (12, 12), (37, 53), (64, 40)])
    def test_exact_is_exact(self, plan: Plan, height: int, width: int) -> None:
        image = noise(height, width)
        with Upscaler(plan, exact=True) as whole, Upscaler(plan, exact=True, tile=13) as tiled:
            large = tiled(image)
            np.testing.assert_array_equal(large, whole(image))
            assert tiled.info["tiles"] == (1 if max(height, width) <= 13 else tiled.info["tiles"])
        apart = differences(large, expected(plan, image))
        assert apart.max() <= 1
        assert (apart == 0).mean() > 0.999

    def test_the_tile_is_the_one_asked_for(self, plan: Plan) -> None:
        with Upscaler(plan, tile=20, halo=2) as up:
            up(noise(50, 50))
            assert max(up.info["tile"]) <= 20
            assert up.info["tiles"] == 9
            assert up.info["halo"] == 2

    def test_a_halo_beyond_the_receptive_field_is_cut_to_it(self, plan: Plan) -> None:
        with Upscaler(plan, halo=100) as up:
            assert up.info["halo"] == plan.spec.halo

    def test_progress_tells_done_and_all(self, plan: Plan) -> None:
        seen: list[tuple[int, int]] = []
        with Upscaler(plan, tile=20, halo=2) as up:
            up(noise(50, 50), progress=lambda done, total: seen.append((done, total)))
        assert seen == [(i, 9) for i in range(1, 10)]

    def test_what_progress_raises_and_a_stop_end_the_picture_only(self, plan: Plan) -> None:
        picture = from_array(noise(50, 50))
        stop = threading.Event()

        def fail(done: int, total: int) -> None:
            raise KeyError(done)

        with Upscaler(plan, tile=20, halo=2) as up:
            whole = up.upscale_picture(picture).pixels
            with pytest.raises(KeyError):
                up.upscale_picture(picture, progress=fail)
            with pytest.raises(StoppedError):
                up.upscale_picture(picture, progress=lambda done, total: stop.set(), stop=stop)
            assert np.array_equal(up.upscale_picture(picture).pixels, whole)

    @pytest.mark.parametrize("use", [lambda up: up(noise(8, 8)), Upscaler.close])
    @pytest.mark.parametrize("tile", [20, 60])
    def test_a_callback_that_uses_the_upscaler_that_calls_it_is_told_so(
        self, plan: Plan, tile: int, use: Callable[[Upscaler], Any]
    ) -> None:
        errors: list[BaseException] = []
        up = Upscaler(plan, tile=tile, halo=2)

        def call() -> None:
            try:
                up(noise(50, 50), progress=lambda done, total: use(up))
            except SrganTrtError as error:
                errors.append(error)

        thread = threading.Thread(target=call, daemon=True)  # a thread, because what is wrong here is that it waits
        thread.start()
        thread.join(20)
        assert "cannot use the Upscaler that calls it" in str(errors[0])
        up(noise(8, 8))
        up.close()

    def test_a_network_of_a_fixed_size(self, tmp_path: Path) -> None:
        plan = small_plan(tmp_path, fixed_shape=(24, 20))
        with Upscaler(plan) as up:
            assert up(noise(50, 7)).shape == (200, 28, 3)
            assert "runs in tiles of 20 x 24 only" in up.info["notes"][-1]
        with pytest.raises(SrganTrtError, match="leave tile out"):
            Upscaler(plan, tile=64)
        with pytest.raises(SrganTrtError, match="at most 9"):
            Upscaler(plan, halo=10)
        deep = small_plan(tmp_path, fixed_shape=(24, 20), halo=12, default_halo=12)
        with pytest.raises(SrganTrtError, match="exact is impossible"):
            Upscaler(deep, exact=True)
        with Upscaler(deep) as up:
            assert up(noise(50, 50)).shape == (200, 200, 3)

    def test_a_network_that_sees_the_whole_picture_gets_it(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        plan = small_plan(tmp_path, halo=None, radius=None)
        image = noise(90, 70)
        with Upscaler(plan, exact=True) as up:
            assert differences(up(image), expected(plan, image)).max() <= 1
            assert (up.info["tiles"], up.info["halo"]) == (1, None)
        assert not caplog.records
        with Upscaler(plan, tile=32) as up:
            assert "sees the whole picture" in caplog.text
            assert up(image).shape == (360, 280, 3)

    def test_a_network_that_downscales_inside(self, tmp_path: Path, plan: Plan) -> None:
        """Sizes are filled up to its multiple by repeating the border; the result has the picture's size."""
        image = noise(30, 41)
        with Upscaler(small_plan(tmp_path, multiple=4), exact=True, tile=20) as up:
            padded = np.pad(image, ((0, 2), (0, 3), (0, 0)), mode="edge")
            assert differences(up(image), expected(plan, padded)[:120, :164]).max() <= 1


class TestProgress:
    @pytest.mark.parametrize("kind", [ValueError, RuntimeError, DeviceError, KeyboardInterrupt])
    def test_what_it_raises_stops_the_picture_and_comes_out(self, plan: Plan, kind: type[BaseException]) -> None:
        """Whatever it is: the pipeline takes a RuntimeError for the device's own."""
        seen: list[int] = []

        def progress(done: int, total: int) -> None:
            seen.append(done)
            if len(seen) >= 2:
                raise kind("enough")

        image = noise(80, 80)
        with Upscaler(plan, tile=20, exact=True) as up:
            with pytest.raises(kind, match="enough") as caught:
                up(image, progress=progress)
            assert caught.type is kind
            assert seen == [1, 2], "it is called no more"
            assert differences(up(image), expected(plan, image)).max() <= 1
            with pytest.raises(kind, match="enough"):
                up([image, image], scale=6, progress=progress)


class TestModels:
    def test_upscale_opens_builds_and_closes(self, model: Path) -> None:
        image = noise(9, 8)
        np.testing.assert_array_equal(upscale(image, model=model, precision="fp32"), repeated(image))
        np.testing.assert_array_equal(srgan_trt.upscale(image, model=str(model), exact=True), repeated(image))

    def test_a_plan_may_be_a_file_or_an_object(self, plan: Plan) -> None:
        assert open_plan(plan) is plan
        assert open_plan(plan.path).body_hash == plan.body_hash
        assert open_plan(str(plan.path)).path == plan.path

    def test_a_model_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match="there is no model"):
            Upscaler(tmp_path / "none.h5")

    def test_without_a_model_the_packaged_one_runs(self) -> None:
        assert upscale(noise(5, 6)).shape == (20, 24, 3)

    def test_facts_are_told(self, plan: Plan) -> None:
        with Upscaler(plan, precision="fp32") as up:
            up(noise(30, 20))
            facts = up.info
        assert (facts["model"], facts["scale"], facts["device"], facts["precision"]) == ("small", 4, "cpu", "fp32")
        assert (facts["tile"], facts["tiles"], facts["halo"]) == ((30, 20), 1, 3)

    def test_values_that_are_not_finite_are_told_once(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.WARNING)
        with Upscaler(small_plan(tmp_path, last="Log")) as up:
            up([noise(9, 9), noise(9, 9)])
        assert caplog.text.count("not finite") == 1


def test_threads_share_an_upscaler(plan: Plan) -> None:
    images = [noise(30 + 7 * i, 50 - 4 * i, seed=i) for i in range(6)]
    with Upscaler(plan, precision="fp32", tile=24) as up:
        alone = up(images)
        together: list[Any] = [None] * len(images)

        def work(i: int) -> None:
            together[i] = up(images[i])

        threads = [threading.Thread(target=work, args=(i,)) for i in range(len(images))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.full
def test_a_real_network_on_a_real_photo_hides_its_seams(shared_images: Path) -> None:
    """The paper's generator: the default halo within a level, bf16 within 50 dB, exact tiles exact up to float32's
    rounding: OpenVINO adds in another order for another width on some processors (on AVX2 without AVX512: 7 of 576,000
    values fell to the next level)."""
    try:
        plan = open_plan("srresnet-x4")
    except MissingPackageError as error:
        pytest.skip(str(error))
    photo = np.asarray(Image.open(shared_images / "test/Set5/HR/img_003.png").convert("RGB"))[:120, :100]
    with Upscaler(plan, exact=True) as up:
        whole = up(photo)
    with Upscaler(plan, exact=True, tile=96) as up:
        apart = differences(up(photo), whole)
        assert apart.max() <= 1
        assert (apart == 0).mean() > 0.9999
        assert up.info["tiles"] > 1
    with Upscaler(plan, precision="fp32", tile=64) as up:
        apart = differences(up(photo), whole)
        assert apart.max() <= 1
    with Upscaler(plan) as up:
        error = differences(up(photo), whole)
    assert 10 * np.log10(255**2 / max(float(np.mean(error**2.0)), 1e-9)) > 50


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_exact_is_refused_of_a_plan_that_is_not(tmp_path: Path, precision: str) -> None:
    plan = small_plan(tmp_path, precision=precision)
    with pytest.raises(SrganTrtError, match=f"is in {precision}, which is not exact"):
        Upscaler(plan, exact=True)
