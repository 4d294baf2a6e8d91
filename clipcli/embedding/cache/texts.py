"""Texts that were encoded before, and what their model knew of their words."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from clipcli.embedding.cache.photos import ADD_MODEL, model_key, model_row
from clipcli.embedding.cache.proof import checksum, fits, to_blob, unit_vectors
from clipcli.embedding.cache.store import Cache
from clipcli.models.spec import ModelSpec

if TYPE_CHECKING:
    from clipcli.records import Embedding

_SELECT = "SELECT vector, checksum FROM text WHERE text = ? AND model = ?"
_INSERT = "INSERT OR REPLACE INTO text VALUES (?, ?, ?, ?)"
_YES, _NO = b"\1", b"\0"  # an answer about a word, in place of a vector


class TextMemory:
    """The embeddings that one model, in one precision, gave texts, and which words it knows."""

    def __init__(self, cache: Cache, spec: ModelSpec) -> None:
        self._cache = cache
        self._spec = spec
        self._model = model_key(spec)

    def embeddings(self, texts: Sequence[str], truncate: bool) -> list[Embedding | None]:
        """For each text its embedding, unit float32 [d], or None.

        The embedding of a truncated text is given only where `truncate` allows it.
        """
        keys = [_digest(text, truncate) for text in texts]
        blobs = self._select(keys)
        found = unit_vectors([blob or b"" for blob in blobs], self._spec.embed_dim)
        for key, blob, embedding in zip(keys, blobs, found, strict=True):
            if blob is not None and embedding is None:
                self._cache.note_damage("text", key)
        return found

    def remember(
        self, texts: Sequence[str], truncate: bool, embeddings: Iterable[Embedding]
    ) -> None:
        """Keep the embeddings of these texts."""
        keys = [_digest(text, truncate) for text in texts]
        self._write(keys, [to_blob(embedding) for embedding in embeddings])

    def doubts(self, words: Sequence[str], prompts: Sequence[str]) -> list[bool | None]:
        """For each word and the prompt it stands in, whether the model has no evidence for it."""
        blobs = self._select(list(map(_evidence_digest, words, prompts)))
        return [blob == _YES if blob in (_YES, _NO) else None for blob in blobs]

    def remember_doubts(
        self, words: Sequence[str], prompts: Sequence[str], doubts: Sequence[bool]
    ) -> None:
        """Keep what the model answered."""
        keys = list(map(_evidence_digest, words, prompts))
        self._write(keys, [_YES if doubt else _NO for doubt in doubts])

    def _select(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """What is stored for each key, where it proves to be that."""
        found: list[bytes | None] = []
        rows = self._cache.select(_SELECT, [(key, self._model) for key in keys])
        for key, row in zip(keys, rows, strict=True):
            is_whole = row is not None and fits(row[1], key, self._model, row[0])
            if row is not None and not is_whole:
                self._cache.note_damage("text", key)
            found.append(row[0] if is_whole else None)
        return found

    def _write(self, keys: Sequence[bytes], blobs: Sequence[bytes]) -> None:
        rows = [
            (key, self._model, blob, checksum(key, self._model, blob))
            for key, blob in zip(keys, blobs, strict=True)
        ]
        self._cache.write([(_INSERT, rows), (ADD_MODEL, [model_row(self._spec)])])


def _digest(text: str, truncate: bool) -> bytes:
    kind = "truncated" if truncate else "text"
    return hashlib.sha256(f"{kind}\0{text}".encode("utf-8", "surrogatepass")).digest()


def _evidence_digest(word: str, prompt: str) -> bytes:
    return hashlib.sha256(f"evidence\0{word}\0{prompt}".encode("utf-8", "surrogatepass")).digest()
