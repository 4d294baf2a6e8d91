"""The tokenizers of SigLIP (SentencePiece) and SigLIP 2 (Gemma's), read from `tokenizer.json`.

Texts are canonical before they are cut into pieces, as in training: lower case, without
punctuation (Zhai et al., 2023; open_clip's "canonicalize"). Without that many photographs get
wrong labels. Rows are padded to the context length, all of which the text encoder sees.
"""

from __future__ import annotations

import hashlib
import html
import json
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ftfy

from clipcli.errors import ModelError, one_line
from clipcli.models.tokenizer import cut

TOKENIZER_FILE = "tokenizer.json"
# which tokens have a meaning; the first of them that is there
SETTINGS_FILES = ("tokenizer_config.json", "special_tokens_map.json")
FILE_LIMIT_BYTES = 100_000_000  # Gemma's has 34 MB
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


class SiglipTokenizer:
    """Pieces of canonical text, an end mark, and padding."""

    def __init__(self, folder: Path) -> None:
        """folder: of the model. Raises ModelError where its tokenizer cannot be read."""
        path = folder / TOKENIZER_FILE
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise ModelError(
                f"{folder}: texts need the package tokenizers; pip install 'clipcli[siglip]'"
            ) from error
        try:
            if path.stat().st_size > FILE_LIMIT_BYTES:
                raise ModelError(
                    f"{path}: {path.stat().st_size:,} bytes; expected at most {FILE_LIMIT_BYTES:,}"
                )
            self._pieces = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ModelError(
                f"{path}: {error.strerror}; expected the model's tokenizer beside its weights;"
                " only its image embeddings can be used here"
            ) from error
        except ModelError:
            raise
        except Exception as error:  # the library raises nothing narrower
            raise ModelError(
                f"{path}: {one_line(str(error))[:200]}; expected a tokenizer of SigLIP's"
            ) from error
        self._pieces.no_truncation()
        self._pieces.no_padding()
        self.n_tokens = self._pieces.get_vocab_size(with_added_tokens=True)
        settings = _settings(folder)
        self.end_token = self._special(path, settings.get("eos_token"), "</s>", "<eos>")
        self.pad_token = self._special(path, settings.get("pad_token"), "<pad>", "</s>")

    def rows(
        self, texts: Sequence[str], context_length: int, truncate: bool = False
    ) -> list[list[int]]:
        """Each text's token ids with its end mark, padded to the context length.

        Raises TextTooLongError for a text of more than `context_length` tokens, unless `truncate`,
        which keeps its beginning and puts the end mark last.
        """
        rows = []
        for text, pieces in zip(texts, self._encode(texts), strict=True):
            row = cut([*pieces, self.end_token], text, context_length, truncate)
            rows.append(row + [self.pad_token] * (context_length - len(row)))
        return rows

    def longest(self, texts: Sequence[str]) -> int:
        """Tokens of the longest text, its end mark included."""
        return max(1 + len(pieces) for pieces in self._encode(texts))

    def suits(self, vocab_size: int) -> bool:
        """Whether every token has a row in a model's table; some tables have rows to spare."""
        return max(self.end_token, self.pad_token) < vocab_size >= self._n_pieces()

    def _n_pieces(self) -> int:
        return int(self._pieces.get_vocab_size(with_added_tokens=False))

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        canonical_texts = [canonical(text) for text in texts]
        encoded = self._pieces.encode_batch(canonical_texts, add_special_tokens=False)
        return [list(one.ids) for one in encoded]

    def _special(self, path: Path, named: str | None, *usual: str) -> int:
        for name in (named, *usual):
            token = None if name is None else self._pieces.token_to_id(name)
            if token is not None:
                return int(token)
        raise ModelError(f"{path}: none of {', '.join(usual)}; expected a tokenizer of SigLIP's")


def canonical(text: str) -> str:
    """Repaired, without HTML's escapes, punctuation of ASCII and capitals, words a blank apart."""
    clean = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(clean.replace("_", " ").translate(_NO_PUNCTUATION).lower().split())


def digest(folder: Path) -> str | None:
    """SHA-256 of the tokenizer's file, or None where there is none."""
    path = folder / TOKENIZER_FILE
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _settings(folder: Path) -> dict[str, str]:
    """The names of special tokens, as far as files beside the tokenizer say them."""
    names: dict[str, str] = {}
    for file in SETTINGS_FILES:
        path = folder / file
        try:
            said: Any = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        except (OSError, ValueError, RecursionError) as error:
            raise ModelError(f"{path}: {one_line(str(error))[:200]}; expected JSON") from error
        if not isinstance(said, dict):
            raise ModelError(f"{path}: a {type(said).__name__}; expected an object of JSON")
        if said.get("padding_side", "right") != "right":
            raise ModelError(
                f"{path}: padding_side is {said['padding_side']!r}; expected 'right', as SigLIP was"
                " trained"
            )
        for role in ("eos_token", "pad_token"):
            token = said.get(role)
            content = token.get("content") if isinstance(token, dict) else token
            if isinstance(content, str):
                names.setdefault(role, content)
    return names
