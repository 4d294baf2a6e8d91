"""Photographs and texts to embeddings, each encoded once: a model with what it is known to say.

The model itself is opened when something is met that is not known.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clipcli.embedding.cache.photos import PhotoMemory
from clipcli.embedding.cache.specs import SpecMemory
from clipcli.embedding.cache.store import Cache
from clipcli.embedding.cache.texts import TextMemory
from clipcli.embedding.local import Engine, Outcome, RunOptions
from clipcli.models import catalogue
from clipcli.models.default_model import AUTO, resolve_auto
from clipcli.models.locate import files_of, locate
from clipcli.models.spec import ModelSpec
from clipcli.photos.find import Found
from clipcli.records import Activation, Precision

if TYPE_CHECKING:
    from clipcli.models.encoder import Encoder

N_TEXTS_AT_ONCE = 1024  # encoded, then remembered


class Embedder:
    """What the pipeline asks for embeddings. `spec` is the model, open or not."""

    def __init__(
        self, spec: ModelSpec, open_encoder: Callable[[], Encoder], cache: Cache | None
    ) -> None:
        self.spec = spec
        self._open_encoder = open_encoder
        self._encoder: Encoder | None = None
        self._lock = Lock()
        self._cache = cache
        self._texts = TextMemory(cache, spec) if cache is not None else None

    @classmethod
    def of(cls, encoder: Encoder) -> Embedder:
        """An open model, of which nothing is known and nothing kept."""
        return cls(encoder.spec, lambda: encoder, None)

    @classmethod
    def open(
        cls,
        name_or_path: str,
        *,
        device: str = "auto",
        precision: Precision = "auto",
        activation: Activation | None = None,
        compile: bool = False,
        cache_dir: str | os.PathLike[str] | None = None,
        remember: bool = True,
        on_progress: Callable[[int, int | None], None] | None = None,
        on_note: Callable[[str], None] | None = None,
        on_warning: Callable[[str], None] | None = None,
    ) -> Embedder:
        """A model as `Encoder.open` takes it, with the cache in `cache_dir`.

        Where the cache knows the model, neither its file nor torch is read. `on_warning` gets a
        line if the cache cannot be used; the embedder then works without it.
        """
        root = catalogue.cache_root(cache_dir)
        if name_or_path == AUTO:
            name_or_path = resolve_auto(root, on_progress, on_note)
        path = locate(name_or_path, cache_dir, on_progress, on_note)

        def open_encoder(known: ModelSpec | None = None) -> Encoder:
            with _without_garbage_collection():
                from clipcli.models.encoder import Encoder

                return Encoder.open(
                    name_or_path,
                    device=device,
                    precision=precision,
                    activation=activation,
                    compile=compile,
                    cache_dir=cache_dir,
                    on_progress=on_progress,
                    on_note=on_note,
                    known=known,
                )

        cache = Cache(root, on_warning or (lambda line: None)) if remember else None
        if cache is None:
            encoder = open_encoder()
            return cls(encoder.spec, lambda: encoder, None)
        specs = SpecMemory(cache, files_of(path), (device, precision, activation))
        spec = specs.recall(name_or_path)
        if spec is None:
            encoder = open_encoder()
            specs.remember(encoder.spec)
            return cls(encoder.spec, lambda: encoder, cache)
        if precision == "int8" != spec.precision and on_note is not None:
            on_note(f"--precision int8 did not suit this model: {spec.precision} instead")
        return cls(spec, lambda: open_encoder(spec), cache)

    def encoder(self) -> Encoder:
        """The model itself, opened now if it was not before."""
        with self._lock:
            if self._encoder is None:
                self._encoder = self._open_encoder()
            return self._encoder

    def embed(self, found: Iterable[Found], options: RunOptions) -> Iterator[list[Outcome]]:
        """The embedding of each photograph, or why there is none, in the order given."""
        memory = None
        if self._cache is not None:
            memory = PhotoMemory(self._cache, self.spec, options.decode.describe())
        return Engine(self.spec, self.encoder, memory, options).embed(found)

    def encode_texts(self, texts: Sequence[str], truncate: bool = False) -> NDArray[np.float32]:
        """Texts -> unit float32 [n, d]. Raises as `Encoder.encode_texts` does."""
        distinct = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        asked = list(distinct)
        embeddings = np.empty((len(asked), self.spec.embed_dim), dtype=np.float32)
        known = self._texts.embeddings(asked, truncate) if self._texts else [None] * len(asked)
        missing = []
        for row, embedding in enumerate(known):
            if embedding is None:
                missing.append(row)
            else:
                embeddings[row] = embedding
        if len(missing) > N_TEXTS_AT_ONCE:  # a text that is too long ends it at once, not late
            from clipcli.models.tokenizer import token_rows

            token_rows([asked[row] for row in missing], self.spec.context_length, truncate)
        for start in range(0, len(missing), N_TEXTS_AT_ONCE):
            rows = missing[start : start + N_TEXTS_AT_ONCE]
            some = [asked[row] for row in rows]
            embeddings[rows] = self.encoder().encode_texts(some, truncate)
            if self._texts is not None:
                self._texts.remember(some, truncate, list(embeddings[rows]))
        return embeddings[[distinct[text] for text in texts]]

    def lacks_evidence(self, words: Sequence[str], prompts: Sequence[str]) -> list[bool]:
        """For each word and the prompt it stands in, whether it names nothing the model learned."""
        if not self.spec.judges_words:
            return [False] * len(words)
        if self._texts is not None:
            known = [doubt for doubt in self._texts.doubts(words, prompts) if doubt is not None]
            if len(known) == len(words):
                return known
        doubts = self.encoder().lacks_evidence(words, prompts)
        if self._texts is not None:
            self._texts.remember_doubts(words, prompts, doubts)
        return doubts


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Importing torch makes objects that stay; to look for garbage among them takes 0.25 s."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
