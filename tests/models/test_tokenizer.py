"""Texts to token ids, against the ids that the reference tokenizer gave."""

from __future__ import annotations

import json

import pytest
import torch
from places import REFERENCE

from clipcli.errors import TextTooLongError, UsageError
from clipcli.models.tokenizer import clip_tokenizer, shortened, tokenize

LINES = json.loads((REFERENCE / "tokens.json").read_text(encoding="utf-8"))
FITTING = [line for line in LINES if not line["too_long"]]
TOO_LONG = [line for line in LINES if line["too_long"]]


def test_reference_holds_texts_of_both_kinds() -> None:
    assert (len(FITTING), len(TOO_LONG)) == (484, 7)


def test_ids_equal_the_reference() -> None:
    rows = clip_tokenizer().rows([line["text"] for line in FITTING])
    for line, row in zip(FITTING, rows, strict=True):
        assert row == line["tokens"], line["text"]


@pytest.mark.parametrize("line", TOO_LONG, ids=lambda line: line["text"][:20])
def test_text_that_the_reference_refuses_is_refused(line: dict[str, str]) -> None:
    with pytest.raises(TextTooLongError) as caught:
        tokenize(line["text"])
    message = str(caught.value)
    assert message.startswith(shortened(line["text"]))
    assert "the model's context holds 77" in message
    assert "--truncate" in message
    assert len(message.splitlines()) == 1
    assert isinstance(caught.value, UsageError)


@pytest.mark.parametrize("line", TOO_LONG, ids=lambda line: line["text"][:20])
def test_truncated_text_keeps_its_beginning_and_the_end_mark_last(line: dict[str, str]) -> None:
    [row] = clip_tokenizer().rows([line["text"]], truncate=True)
    whole = [49406, *clip_tokenizer().encode(line["text"])]
    assert row == [*whole[:76], 49407]
    assert row == line["tokens"]  # what the reference does with truncate=True


def test_truncate_leaves_fitting_texts_alone() -> None:
    texts = [line["text"] for line in FITTING]
    assert clip_tokenizer().rows(texts, truncate=True) == clip_tokenizer().rows(texts)


def test_text_of_exactly_77_tokens_fits_and_one_more_does_not() -> None:
    assert clip_tokenizer().rows(["cat " * 75]) == [[49406, *[2368] * 75, 49407]]
    with pytest.raises(TextTooLongError, match="has 78 tokens"):
        clip_tokenizer().rows(["cat " * 76])


def test_another_context_length_is_kept() -> None:
    assert tokenize("a photo of a cat", context_length=8).tolist() == [
        [49406, 320, 1125, 539, 320, 2368, 49407, 0]
    ]
    with pytest.raises(TextTooLongError, match="has 7 tokens, the model's context holds 6"):
        tokenize("a photo of a cat", context_length=6)


def test_tokenize_gives_int64_rows_padded_with_zeros() -> None:
    tokens = tokenize([line["text"] for line in FITTING])
    assert tokens.dtype == torch.int64
    assert tokens.shape == (484, 77)
    for line, row in zip(FITTING, tokens.tolist(), strict=True):
        assert row == line["tokens"] + [0] * (77 - len(line["tokens"]))


def test_single_string_is_one_row() -> None:
    tokens = tokenize("a photo of a cat")
    assert tokens.shape == (1, 77)
    assert tokens[0, :8].tolist() == [49406, 320, 1125, 539, 320, 2368, 49407, 0]


def test_no_texts_make_no_rows() -> None:
    assert tokenize([]).shape == (0, 77)


def test_empty_text_is_start_and_end_mark() -> None:
    assert clip_tokenizer().rows(["", "   "]) == [[49406, 49407], [49406, 49407]]


def test_marks_written_in_a_text_are_read_as_marks() -> None:
    assert clip_tokenizer().encode("<|startoftext|>cat<|endoftext|>") == [49406, 2368, 49407]


def test_vocabulary_has_the_published_size() -> None:
    tokenizer = clip_tokenizer()
    assert (tokenizer.n_tokens, tokenizer.start_token, tokenizer.end_token) == (
        49_408,
        49_406,
        49_407,
    )


def test_long_text_is_shortened_in_messages() -> None:
    assert shortened("a" * 60) == repr("a" * 60)
    assert shortened("b" * 61) == repr("b" * 59 + "…")
