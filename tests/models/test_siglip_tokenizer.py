"""SigLIP's two tokenizers against open_clip's ids, which `tests/reference/make_tokenizers.py` kept,
and what is said where there is none to read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from places import REFERENCE

from clipcli.errors import ModelError, TextTooLongError
from clipcli.models.siglip_tokenizer import SiglipTokenizer, canonical

TOKENIZERS = REFERENCE / "tokenizers"
FORMS = ("siglip1", "siglip2")


@pytest.fixture(params=FORMS)
def folder(request: pytest.FixtureRequest) -> Path:
    return TOKENIZERS / str(request.param)


def test_ids_are_open_clips_whole_and_cut(folder: Path) -> None:
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    tokenizer = SiglipTokenizer(folder)
    assert len(expected["texts"]) == 200
    n_cut = 0
    for length, ids in expected["ids"].items():
        found = tokenizer.rows(expected["texts"], int(length), truncate=True)
        assert found == ids
        n_cut += sum(tokenizer.longest([text]) > int(length) for text in expected["texts"])
    assert n_cut > 20  # some were cut indeed


def test_a_text_that_is_too_long_is_refused_unless_it_may_be_cut(folder: Path) -> None:
    tokenizer = SiglipTokenizer(folder)
    text = "a photograph of a very old dog in a boat on the water " * 4
    n_tokens = tokenizer.longest([text])
    assert len(tokenizer.rows([text], n_tokens)[0]) == n_tokens
    with pytest.raises(TextTooLongError, match=f"has {n_tokens} tokens"):
        tokenizer.rows([text], n_tokens - 1)
    (row,) = tokenizer.rows([text], n_tokens - 1, truncate=True)
    assert row[-1] == tokenizer.end_token
    assert len(row) == n_tokens - 1


def test_every_token_needs_a_row_in_the_models_table(folder: Path) -> None:
    tokenizer = SiglipTokenizer(folder)
    assert tokenizer.suits(tokenizer.n_tokens)
    assert tokenizer.suits(tokenizer.n_tokens + 100)  # rows to spare
    assert not tokenizer.suits(tokenizer.n_tokens - 100)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A photo of a DOG.", "a photo of a dog"),
        ("  hot_dog,   &amp; (bun)!", "hot dog bun"),
        ("l\u2019été à Zürich — 5°", "lété à zürich — 5°"),
        ("«Собака», собака?", "«собака» собака"),
        ("...", ""),
    ],
)
def test_texts_are_canonical(text: str, expected: str) -> None:
    assert canonical(text) == expected


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("tokenizer.json", None, "expected the model's tokenizer beside its weights"),
        ("tokenizer.json", "{}", "expected a tokenizer of SigLIP's"),
        ("tokenizer.json", "[" * 10_000, "expected a tokenizer of SigLIP's"),
        ("tokenizer_config.json", "[]", "a list; expected an object of JSON"),
        ("tokenizer_config.json", "{", "expected JSON"),
        ("tokenizer_config.json", '{"padding_side": "left"}', "expected 'right'"),
    ],
)
def test_a_tokenizer_that_cannot_be_read_is_refused_in_one_line(
    file: str, content: str | None, expected: str, tmp_path: Path
) -> None:
    shutil.copytree(TOKENIZERS / "siglip1", tmp_path / "model")
    path = tmp_path / "model" / file
    path.unlink()
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match=expected) as caught:
        SiglipTokenizer(tmp_path / "model")
    assert len(str(caught.value).splitlines()) == 1
