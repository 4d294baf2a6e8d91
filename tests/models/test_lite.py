"""The embedded model, on real photographs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from program import Result

import clipcli
from clipcli.models.encoder import Encoder
from clipcli.models.on_disk import catalogue

Cli = Callable[..., Result]
NAMES = ["astronaut", "cat", "coffee", "galaxies", "photographer", "rocket"]


def test_every_example_photograph_is_labelled_right(cli: Cli, example_photos: Path) -> None:
    labels = ",".join(NAMES)
    rows = cli("classify", example_photos, "--labels", labels, "--model", "lite").rows
    assert [row["label"] for row in rows] == NAMES


def test_words_find_the_photograph(cli: Cli, example_photos: Path) -> None:
    for query, name in (("a kitten", "cat"), ("a cup of coffee", "coffee"), ("a rocket", "rocket")):
        arguments = ("--text", "--model", "lite", "--top-k", 1)
        (row,) = cli("similar", query, example_photos, *arguments).rows
        assert Path(row["path"]).stem == name


def test_labels_without_evidence_are_named_once(cli: Cli, example_photos: Path) -> None:
    labels = "invoice,joy,honesty,dog"
    result = cli("classify", example_photos, "--labels", labels, "--model", "lite")
    (warning,) = [line for line in result.stderr.splitlines() if "no evidence" in line]
    assert "lite has no evidence for invoice, joy, honesty:" in warning
    assert "--model datacomp-b32-256" in warning


def test_dog_cat_tiger_are_known(cli: Cli, example_photos: Path) -> None:
    arguments = ("--labels", "dog,cat,tiger", "--model", "lite")
    assert "evidence" not in cli("classify", example_photos / "cat.jpg", *arguments).stderr


def test_lite_is_a_clip_in_python(example_photos: Path) -> None:
    model, preprocess = clipcli.load("lite", device="cpu")
    pictures = torch.stack(
        [preprocess(Image.open(example_photos / f"{name}.jpg")) for name in NAMES]
    )
    texts = clipcli.tokenize([f"a photo of a {name}." for name in NAMES])
    assert pictures.shape == (6, 3, 260, 260)
    with torch.inference_mode():
        logits_per_image, logits_per_text = model(pictures, texts)
    assert logits_per_image.argmax(dim=1).tolist() == list(range(6))
    assert torch.equal(logits_per_text, logits_per_image.t())


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precisions_give_the_same_labels(example_photos: Path, precision: str) -> None:
    full = Encoder.open("lite", device="cpu", precision="fp32")
    half = Encoder.open("lite", device="cpu", precision=precision)  # type: ignore[arg-type]
    pixels = np.stack(
        [
            np.array(Image.open(p).convert("RGB").resize((260, 260)))
            for p in example_photos.glob("*.jpg")
        ]
    )
    cosines = (full.encode_pixels(pixels) * half.encode_pixels(pixels)).sum(axis=1)
    assert cosines.min() > 0.99


def test_the_card_says_what_it_is_bad_at(cli: Cli) -> None:
    card = cli("models", "show", "lite").stdout.decode()
    for words in ("Apache-2.0", "WordNet", "counting", "colours", "CIFAR-10", "ImageNet"):
        assert words in card


def test_the_file_is_small_enough_for_a_wheel() -> None:
    assert catalogue.lite_path().stat().st_size < 36_000_000
