"""Pictures to tensors, against what the reference made of 27 pictures."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from places import REFERENCE

from clipcli.photos.preprocess import (
    CLIP_MEAN,
    CLIP_STD,
    ImageTransform,
    PreprocessConfig,
    fit_square,
    image_transform,
    normalise,
    pixel_array,
)

PREPROCESS = REFERENCE / "preprocess"
CASES = json.loads((PREPROCESS / "cases.json").read_text(encoding="utf-8"))
SQUARES = sorted((PREPROCESS / "squares").iterdir())
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
BORDER = (123, 117, 104)  # 255 * CLIP_MEAN, rounded


def case_name(case: dict[str, object]) -> str:
    return f"{Path(str(case['image'])).name}-{case['n_px']}"


def striped(size: tuple[int, int]) -> Image.Image:
    """Thirds of red, green and blue along the longer side."""
    picture = Image.new("RGB", size)
    width, height = size
    for index, colour in enumerate((RED, GREEN, BLUE)):
        if width >= height:
            box = (width * index // 3, 0, width * (index + 1) // 3, height)
        else:
            box = (0, height * index // 3, width, height * (index + 1) // 3)
        picture.paste(colour, box)
    return picture


def test_reference_has_all_its_cases() -> None:
    assert len(CASES) == 34
    assert {case["n_px"] for case in CASES} == {224, 336}


@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_pixels_equal_the_reference_to_the_bit(case: dict[str, str]) -> None:
    config = PreprocessConfig(int(case["n_px"]))
    with Image.open(PREPROCESS / case["image"]) as picture:
        found = fit_square(picture, config).convert("RGB")
    with Image.open(PREPROCESS / case["expected"]) as expected:
        np.testing.assert_array_equal(pixel_array(found), np.asarray(expected))


@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_normalised_means_equal_the_reference(case: dict[str, str]) -> None:
    n_px = int(case["n_px"])
    with Image.open(PREPROCESS / case["image"]) as picture:
        tensor = image_transform(n_px)(picture)
    assert tensor.shape == (3, n_px, n_px)
    assert tensor.dtype == torch.float32
    means = tensor.double().mean(dim=(1, 2)).tolist()
    assert means == pytest.approx([float(mean) for mean in case["mean"]], abs=1e-5)


@pytest.mark.parametrize("path", SQUARES, ids=lambda path: path.stem)
def test_squashed_and_padded_pixels_equal_open_clips_to_the_bit(path: Path) -> None:
    name, rule, resample = path.stem.rsplit(".", 2)
    config = PreprocessConfig(64, resample=resample, rule=rule)  # type: ignore[arg-type]
    with Image.open(PREPROCESS / "images" / name) as picture:
        found = pixel_array(fit_square(picture, config).convert("RGB"))
    with Image.open(path) as square:
        expected = np.asarray(square)
    if (name, rule) == ("palette.png", "longest"):
        # open_clip's border has the first colour of the palette, whatever it is; ours is black
        assert not found[:18].any()
        assert not found[45:].any()
        found, expected = found[18:45], expected[18:45]
    np.testing.assert_array_equal(found, expected)


def test_all_rules_were_compared() -> None:
    assert len(SQUARES) == 36


def test_transform_survives_pickling() -> None:
    transform = image_transform(224)
    copy = pickle.loads(pickle.dumps(transform))
    assert copy == transform == ImageTransform(PreprocessConfig(224, CLIP_MEAN, CLIP_STD))
    with Image.open(PREPROCESS / "images/palette_transparent.png") as picture:
        assert torch.equal(copy(picture), transform(picture))


def test_black_and_white_are_normalised_to_known_numbers() -> None:
    pixels = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 2, 1).expand(1, 1, 2, 3)
    tensor = normalise(pixels, PreprocessConfig(2))
    assert tensor.shape == (1, 3, 1, 2)
    black = [-0.48145466 / 0.26862954, -0.4578275 / 0.26130258, -0.40821073 / 0.27577711]
    white = [0.51854534 / 0.26862954, 0.5421725 / 0.26130258, 0.59178927 / 0.27577711]
    assert tensor[0, :, 0, 0].tolist() == pytest.approx(black, abs=1e-6)
    assert tensor[0, :, 0, 1].tolist() == pytest.approx(white, abs=1e-6)


def test_own_mean_and_std_are_used() -> None:
    config = PreprocessConfig(1, mean=(0.5, 0.5, 0.5), std=(0.5, 0.25, 0.125))
    pixels = torch.tensor([[[[255, 0, 255]]]], dtype=torch.uint8)
    assert normalise(pixels, config)[0, :, 0, 0].tolist() == [1.0, -2.0, 4.0]


def test_pixel_array_can_be_written_to() -> None:
    pixels = pixel_array(Image.new("RGB", (2, 3), RED))
    assert pixels.shape == (3, 2, 3)
    assert pixels.flags.writeable


def test_crop_keeps_the_middle_of_a_wide_picture() -> None:
    square = fit_square(striped((36, 12)), PreprocessConfig(12), "crop")
    assert square.size == (12, 12)
    assert square.getcolors() == [(144, GREEN)]


def test_crop_keeps_the_middle_of_a_tall_picture() -> None:
    square = fit_square(striped((12, 36)), PreprocessConfig(12), "crop")
    assert square.getcolors() == [(144, GREEN)]


def test_pad_keeps_all_of_a_wide_picture_between_borders_of_the_mean_colour() -> None:
    square = fit_square(striped((36, 12)), PreprocessConfig(36), "pad")
    assert square.size == (36, 36)
    assert sorted(square.getcolors() or []) == sorted(
        [(36 * 24, BORDER), (144, RED), (144, GREEN), (144, BLUE)]
    )
    assert square.crop((0, 0, 36, 12)).getcolors() == [(432, BORDER)]
    assert square.crop((0, 24, 36, 36)).getcolors() == [(432, BORDER)]
    assert square.crop((0, 12, 36, 24)).tobytes() == striped((36, 12)).tobytes()


def test_pad_keeps_all_of_a_tall_picture_between_borders_of_the_mean_colour() -> None:
    square = fit_square(striped((12, 36)), PreprocessConfig(36), "pad")
    assert square.crop((0, 0, 12, 36)).getcolors() == [(432, BORDER)]
    assert square.crop((24, 0, 36, 36)).getcolors() == [(432, BORDER)]
    assert square.crop((12, 0, 24, 36)).tobytes() == striped((12, 36)).tobytes()


def test_pad_border_is_zero_after_normalisation_within_a_grey_level() -> None:
    config = PreprocessConfig(36)
    square = fit_square(striped((36, 12)), config, "pad")
    tensor = normalise(torch.from_numpy(pixel_array(square))[None], config)
    assert tensor[0, :, 0].abs().max() < 0.5 / 255 / min(CLIP_STD) + 1e-6


def test_pad_border_follows_the_models_own_mean() -> None:
    config = PreprocessConfig(8, mean=(0.0, 0.5, 1.0))
    square = fit_square(Image.new("RGB", (8, 2), RED), config, "pad")
    assert square.getpixel((0, 0)) == (0, 128, 255)


@pytest.mark.parametrize("size", [(1000, 1), (1, 1000)])
def test_pad_keeps_at_least_one_pixel_of_a_thread(size: tuple[int, int]) -> None:
    square = fit_square(Image.new("RGB", size, RED), PreprocessConfig(10), "pad")
    assert sorted(square.getcolors() or []) == sorted([(90, BORDER), (10, RED)])


def test_squash_shows_all_of_a_wide_picture_in_a_square() -> None:
    square = fit_square(striped((360, 12)), PreprocessConfig(36), "squash")
    assert square.size == (36, 36)
    # columns away from the seams are of one colour, over the whole height
    for column, colour in ((0, RED), (6, RED), (18, GREEN), (30, BLUE), (35, BLUE)):
        assert square.crop((column, 0, column + 1, 36)).getcolors() == [(36, colour)]


def test_all_fits_agree_on_a_square_picture() -> None:
    with Image.open(PREPROCESS / "images/rgb_224x224.png") as picture:
        config = PreprocessConfig(96)
        crop, pad, squash = (fit_square(picture, config, fit) for fit in ("crop", "pad", "squash"))
    assert crop.tobytes() == pad.tobytes() == squash.tobytes()


def test_bilinear_config_is_resized_bilinearly() -> None:
    with Image.open(PREPROCESS / "images/rgb_224x224.png") as picture:
        found = fit_square(picture, PreprocessConfig(50, resample="bilinear"))
        expected = picture.resize((50, 50), Image.Resampling.BILINEAR)
    assert found.tobytes() == expected.tobytes()
