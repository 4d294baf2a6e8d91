"""Answers of two models, or of photographs prepared in two ways, are not mixed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clipcli.errors import EmbeddingFileError, UsageError
from clipcli.files.made_by import as_options, check_made_by, precision_note, stored_name
from clipcli.records import TEXT, MadeBy

MADE_BY = MadeBy("lite", "ab" * 32, "fp32", "crop")


def test_the_same_model_under_another_name_in_another_precision_passes() -> None:
    now = replace(MADE_BY, model="./a/copy.safetensors", precision="bf16", templates=("a {}.",))
    check_made_by(MADE_BY, now, "pets.json", "calibrate again")


def test_another_model_is_refused_by_name_and_fingerprint() -> None:
    now = replace(MADE_BY, model="ViT-B/32", fingerprint="cd" * 32)
    with pytest.raises(UsageError) as refused:
        check_made_by(MADE_BY, now, "pets.json", "calibrate again")
    assert str(refused.value) == (
        "pets.json: made by lite (abababababab), and this is ViT-B/32 (cdcdcdcdcdcd); pass --model"
        " lite, or calibrate again"
    )


def test_another_model_of_the_same_name_is_refused_too() -> None:
    now = replace(MADE_BY, fingerprint="cd" * 32)
    with pytest.raises(EmbeddingFileError, match=r"lite \(abab.*lite \(cdcd"):
        check_made_by(MADE_BY, now, "photos.npy", "embed again", EmbeddingFileError)


def test_photographs_prepared_otherwise_are_refused_with_the_options_to_type() -> None:
    now = replace(MADE_BY, preprocessing="pad exact")
    with pytest.raises(UsageError) as refused:
        check_made_by(MADE_BY, now, "the probe", "fit a probe on this model")
    assert str(refused.value) == (
        "the probe: its photographs were prepared with --fit crop, these with --fit pad --exact;"
        " pass --fit crop, or fit a probe on this model"
    )


def test_texts_are_prepared_in_no_way() -> None:
    check_made_by(MADE_BY, replace(MADE_BY, preprocessing=TEXT), "photos.npy", "embed again")
    check_made_by(replace(MADE_BY, preprocessing=TEXT), MADE_BY, "texts.npy", "embed again")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("crop", "--fit crop"),
        ("squash", "--fit squash"),
        ("pad exact", "--fit pad --exact"),
        ("reference", "--reference"),
    ],
)
def test_names_on_disk_are_no_options_but_those_of_0_1_0_are_read(name: str, options: str) -> None:
    assert as_options(name) == options
    assert stored_name(options) == name
    assert stored_name(name) == name


def test_another_precision_is_worth_a_note() -> None:
    assert precision_note(MADE_BY, MADE_BY, "pets.json") is None
    note = precision_note(MADE_BY, replace(MADE_BY, precision="bf16"), "pets.json")
    assert note is not None
    assert "--precision fp32 is exact" in note
