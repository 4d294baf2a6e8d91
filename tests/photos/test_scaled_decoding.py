"""Large JPEGs are scaled by their decoder, to no less than twice what the model looks at."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pictures import ORIENTATIONS, noise, save, save_turned, soft
from PIL import Image
from PIL.Image import Image as Picture

from clipcli.errors import PhotoError
from clipcli.photos.decode import DecodeOptions, decode
from clipcli.photos.preprocess import PreprocessConfig, fit_square, pixel_array
from clipcli.records import Fit

PX = 16
CONFIG = PreprocessConfig(PX)
EXACT = DecodeOptions(exact=True)
FITS: tuple[Fit, ...] = ("crop", "pad", "squash")


@pytest.fixture(scope="module")
def twelve_megapixels(tmp_path_factory: pytest.TempPathFactory, example_photos: Path) -> Path:
    """4000 x 3000 pixels of six photographs side by side, with the grain of a sensor."""
    mosaic = Image.new("RGB", (2000, 1500))
    for index, path in enumerate(sorted(example_photos.glob("*.jpg"))):
        with Image.open(path) as photo:
            tile = photo.convert("RGB").resize((667, 750), Image.Resampling.LANCZOS)
        mosaic.paste(tile, (index % 3 * 667, index // 3 * 750))
    enlarged = np.asarray(mosaic.resize((4000, 3000), Image.Resampling.BICUBIC), dtype=np.int16)
    grain = np.random.default_rng(0).integers(-12, 13, (3000, 4000, 1), dtype=np.int16)
    path = tmp_path_factory.mktemp("large") / "large.jpg"
    Image.fromarray(np.clip(enlarged + grain, 0, 255).astype(np.uint8)).save(path, quality=90)
    return path


def pixels(
    path: Path, options: DecodeOptions | None = None, config: PreprocessConfig = CONFIG
) -> NDArray[np.uint8]:
    return decode(str(path), config, options or DecodeOptions()).pixels


def scaled_by_decoder(path: Path, divisor: int) -> Picture:
    """The JPEG at a half, a quarter or an eighth, as Pillow has it when it is asked for that."""
    with Image.open(path) as picture:
        in_full = picture.size
        if divisor > 1:
            picture.draft(None, (in_full[0] // divisor, in_full[1] // divisor))
        assert picture.size == tuple(math.ceil(side / divisor) for side in in_full)
        return picture.convert("RGB")


def mean_difference(some: NDArray[np.uint8], others: NDArray[np.uint8]) -> float:
    assert some.shape == others.shape
    return float(np.abs(some.astype(int) - others).mean())


# --- hardly different


@pytest.mark.parametrize("fit", FITS)
def test_twelve_megapixels_scaled_look_as_if_decoded_in_full(
    twelve_megapixels: Path, fit: Fit
) -> None:
    config = PreprocessConfig(224)
    scaled = pixels(twelve_megapixels, DecodeOptions(fit), config)
    in_full = pixels(twelve_megapixels, DecodeOptions(fit, exact=True), config)
    assert scaled.shape == (224, 224, 3)
    assert 0 < mean_difference(scaled, in_full) < 4


def test_twelve_megapixels_are_decoded_at_a_quarter_for_224_pixels(twelve_megapixels: Path) -> None:
    config = PreprocessConfig(224)  # 3000 / 4 is 750, and an eighth would be less than 448
    quarter = scaled_by_decoder(twelve_megapixels, 4)
    assert quarter.size == (1000, 750)
    expected = pixel_array(fit_square(quarter, config))
    np.testing.assert_array_equal(pixels(twelve_megapixels, config=config), expected)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_scaled_jpeg_is_turned_as_its_exif_says(tmp_path: Path, orientation: int) -> None:
    upright = np.asarray(soft(320, 240))
    turned = save_turned(tmp_path / "turned.jpg", upright, orientation)
    plain = save(tmp_path / "plain.jpg", Image.fromarray(upright))
    assert (pixels(plain) != pixels(plain, EXACT)).any()
    assert mean_difference(pixels(turned), pixels(plain)) < 2


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_are_scaled_too(tmp_path: Path, mode: str) -> None:
    path = save(tmp_path / "photo.jpg", soft(640, 480).convert(mode))
    assert (pixels(path) != pixels(path, EXACT)).any()
    assert mean_difference(pixels(path), pixels(path, EXACT)) < 4


def test_pictures_of_a_stereo_camera_are_scaled_as_their_first_frame(tmp_path: Path) -> None:
    left, right = soft(640, 480, seed=1), soft(640, 480, seed=2)
    path = tmp_path / "photo.mpo"
    left.save(path, "MPO", save_all=True, append_images=[right])
    with Image.open(path) as picture:
        assert picture.format == "MPO"
    assert (pixels(path) != pixels(path, EXACT)).any()
    assert (pixels(path) == pixels(save(tmp_path / "left.jpg", left))).all()


# --- how much: never below twice the size that is resized to


@pytest.mark.parametrize(
    ("short", "divisor"),
    [(16, 1), (32, 1), (63, 1), (64, 2), (127, 2), (128, 4), (255, 4), (256, 8), (640, 8)],
)
@pytest.mark.parametrize("is_upright", [False, True])
def test_crop_leaves_twice_the_targets_short_side(
    tmp_path: Path, short: int, divisor: int, is_upright: bool
) -> None:
    size = (short, short * 3 // 2) if is_upright else (short * 3 // 2, short)
    path = save(tmp_path / "photo.jpg", noise(*size))
    expected = pixel_array(fit_square(scaled_by_decoder(path, divisor), CONFIG))
    np.testing.assert_array_equal(pixels(path), expected)


@pytest.mark.parametrize(
    ("fit", "size", "divisor"),
    [
        ("pad", (63, 40), 1),  # all of it has to fit: the long side counts
        ("pad", (64, 48), 2),
        ("pad", (48, 128), 4),
        ("squash", (640, 63), 1),  # each side becomes PX: the short one counts
        ("squash", (640, 64), 2),
        ("squash", (128, 130), 4),
    ],
)
def test_pad_and_squash_leave_twice_their_own_target(
    tmp_path: Path, fit: Fit, size: tuple[int, int], divisor: int
) -> None:
    path = save(tmp_path / "photo.jpg", noise(*size))
    expected = pixel_array(fit_square(scaled_by_decoder(path, divisor), CONFIG, fit))
    np.testing.assert_array_equal(pixels(path, DecodeOptions(fit)), expected)


@pytest.mark.parametrize(("short", "divisor"), [(63, 1), (64, 2), (128, 4)])
def test_a_model_that_cuts_its_square_smaller_is_left_more(
    tmp_path: Path, short: int, divisor: int
) -> None:
    config = PreprocessConfig(14, crop_share=0.875)  # as if resized to 16 before the cut
    path = save(tmp_path / "photo.jpg", noise(short, short))
    expected = pixel_array(fit_square(scaled_by_decoder(path, divisor), config))
    np.testing.assert_array_equal(pixels(path, config=config), expected)


@pytest.mark.parametrize(("draft_scale", "divisor"), [(1.0, 8), (2.0, 4), (3.0, 2)])
def test_how_much_is_left_is_the_models_own(
    tmp_path: Path, draft_scale: float, divisor: int
) -> None:
    path = save(tmp_path / "photo.jpg", noise(192, 128))
    config = PreprocessConfig(PX, draft_scale=draft_scale)
    expected = pixel_array(fit_square(scaled_by_decoder(path, divisor), config))
    np.testing.assert_array_equal(pixels(path, config=config), expected)


# --- not at all


@pytest.mark.parametrize("fit", FITS)
def test_small_jpeg_is_decoded_in_full(tmp_path: Path, fit: Fit) -> None:
    path = save(tmp_path / "photo.jpg", noise(63, 60))
    in_full = pixels(path, DecodeOptions(fit, exact=True))
    np.testing.assert_array_equal(pixels(path, DecodeOptions(fit)), in_full)


@pytest.mark.parametrize("suffix", ["png", "webp", "tif", "bmp"])
def test_other_formats_are_decoded_in_full(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"photo.{suffix}", noise(640, 480))
    np.testing.assert_array_equal(pixels(path), pixels(path, EXACT))


def test_exact_decodes_in_full(tmp_path: Path) -> None:
    path = save(tmp_path / "photo.jpg", noise(640, 480))
    with Image.open(path) as picture:
        expected = pixel_array(fit_square(picture, CONFIG))
    np.testing.assert_array_equal(pixels(path, EXACT), expected)
    assert (pixels(path) != expected).any()


def test_reference_decodes_in_full(tmp_path: Path) -> None:
    path = save(tmp_path / "photo.jpg", noise(640, 480))
    np.testing.assert_array_equal(pixels(path, DecodeOptions(reference=True)), pixels(path, EXACT))


# --- what is said of the picture is said of all of it


@pytest.mark.parametrize("options", [DecodeOptions(), EXACT])
def test_a_picture_is_as_long_as_it_was_stored(tmp_path: Path, options: DecodeOptions) -> None:
    path = save(tmp_path / "photo.jpg", noise(259, 129))  # a quarter of it is 65 x 33
    assert decode(str(path), CONFIG, options).middle_only
    path = save(tmp_path / "photo.jpg", noise(258, 129))
    assert not decode(str(path), CONFIG, options).middle_only


def test_the_limit_in_megapixels_is_on_what_is_stored(twelve_megapixels: Path) -> None:
    with pytest.raises(PhotoError, match=r"4000 x 3000 is 12 megapixels, the limit is 11"):
        pixels(twelve_megapixels, DecodeOptions(max_megapixels=11))


@pytest.mark.parametrize("share", [0.3, 0.9])
@pytest.mark.parametrize("is_progressive", [False, True])
def test_truncated_large_jpeg_fails(tmp_path: Path, share: float, is_progressive: bool) -> None:
    path = tmp_path / "photo.jpg"
    soft(1600, 1200).save(path, progressive=is_progressive)
    data = path.read_bytes()
    assert pixels(path).shape == (PX, PX, 3)
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(PhotoError, match="truncated"):
        pixels(path)
