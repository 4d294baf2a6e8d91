"""Photographs and texts to embeddings, each encoded once: a model, and what it has said before.

The model itself is opened when a photograph or text is met that it has not seen.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Unpack

import numpy as np
from numpy.typing import NDArray

from clipcli.embedding.cache.photos import PhotoMemory
from clipcli.embedding.cache.specs import SpecMemory
from clipcli.embedding.cache.store import FILE_NAME, Cache
from clipcli.embedding.cache.texts import TextMemory
from clipcli.embedding.local import EmbeddedOrNot, EmbeddingRun, RunOptions
from clipcli.errors import CacheError
from clipcli.models.on_disk import catalogue
from clipcli.models.on_disk.fetch import OnProgress
from clipcli.models.on_disk.locate import files_of, locate
from clipcli.models.request import ModelOptions, ModelRequest
from clipcli.models.spec import ModelSpec
from clipcli.photos.find import FoundFile
from clipcli.records import TEXT, EmbeddedText
from clipcli.runtime.process import without_garbage_collection

if TYPE_CHECKING:
    from clipcli.models.encoder import Encoder
    from clipcli.models.text_tokens import TextTokenizer
    from clipcli.records import Embedding

logger = logging.getLogger(__name__)

N_TEXTS_AT_ONCE = 1024  # encoded, then remembered


class Embedder:
    """Embeddings, from the cache where it has them, else from the model.

    `spec` describes the model, which may not be open.
    """

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
        """An open model without a cache."""
        return cls(encoder.spec, lambda: encoder, None)

    @classmethod
    def open(
        cls,
        model: str | ModelRequest,
        *,
        remember: bool = True,
        on_progress: OnProgress | None = None,
        while_opening: Callable[[str], AbstractContextManager[object]] = nullcontext,
        **options: Unpack[ModelOptions],
    ) -> Embedder:
        """A model as `Encoder.open` takes it, with the cache of embeddings unless not `remember`.

        Where the cache knows the model, neither its file nor torch is read. A cache that cannot be
        used is warned of, and the embedder then works without it. while_opening: gets the model's
        name, and is entered for the seconds that opening the model itself takes, in whatever
        thread first needs it.
        """
        request = ModelRequest.of(model, options)
        n_known = partial(_n_photos_known, cache_dir=request.cache_dir) if remember else None
        request = request.resolved(on_progress, n_known)

        def open_encoder(wanted: ModelRequest | ModelSpec) -> Encoder:
            with while_opening(request.name_or_path):
                return _open_encoder(wanted)

        if not remember:
            return cls.of(open_encoder(request))
        try:
            root = catalogue.cache_root(request.cache_dir)
        except CacheError as error:
            logger.warning(f"{error}; nothing is remembered")
            return cls.of(open_encoder(request))
        path = locate(request.name_or_path, root, on_progress)
        cache = Cache(root)
        specs = SpecMemory(cache, files_of(path), request)
        spec = specs.recall(request.name_or_path)
        if spec is None:
            encoder = open_encoder(request)
            specs.remember(encoder.spec)
            return cls(encoder.spec, lambda: encoder, cache)
        if request.precision == "int8" != spec.precision:
            logger.info(f"--precision int8 did not suit this model: {spec.precision} instead")
        spec = replace(spec, compiled=request.compile)  # compiled or not, it is remembered as one
        return cls(spec, lambda: open_encoder(spec), cache)

    def encoder(self) -> Encoder:
        """The model itself, opened now if it was not before."""
        with self._lock:
            if self._encoder is None:
                self._encoder = self._open_encoder()
            return self._encoder

    @property
    def tokenizer(self) -> TextTokenizer:
        """The model's own, which needs no open model."""
        from clipcli.models.text_tokens import open_tokenizer

        return open_tokenizer(self.spec.tokenizer, Path(self.spec.path))

    def embed_photos(
        self, found: Iterable[FoundFile], options: RunOptions = RunOptions()
    ) -> Iterator[EmbeddedOrNot]:
        """The embedding of each photograph, or why there is none, in the order given."""
        for some in self.embed_in_lists(found, options):
            yield from some

    def embed_in_lists(
        self, found: Iterable[FoundFile], options: RunOptions = RunOptions()
    ) -> Iterator[list[EmbeddedOrNot]]:
        """The same, as many at once as are ready."""
        memory = None
        if self._cache is not None:
            decode = options.decode
            memory = PhotoMemory(self._cache, self.spec, decode.name, decode.max_megapixels)
        return EmbeddingRun(self.spec, self.encoder, memory, options).records(found)

    def embed_texts(self, texts: Sequence[str], truncate: bool = False) -> Iterator[EmbeddedText]:
        """The embedding of each text as it stands, in the order given."""
        made_by = self.spec.made_by(TEXT)
        for start in range(0, len(texts), N_TEXTS_AT_ONCE):
            some = texts[start : start + N_TEXTS_AT_ONCE]
            for text, embedding in zip(some, self.encode_texts(some, truncate), strict=True):
                yield EmbeddedText(text, embedding, made_by)

    def encode_texts(self, texts: Sequence[str], truncate: bool = False) -> NDArray[np.float32]:
        """Texts -> unit float32 [n, d]. Raises as `Encoder.encode_texts` does."""
        known: dict[str, Embedding | None] = dict.fromkeys(texts)
        unique = list(known)
        if self._texts is not None:
            known = dict(zip(unique, self._texts.embeddings(unique, truncate), strict=True))
        missing = [text for text in unique if known[text] is None]
        if len(missing) > N_TEXTS_AT_ONCE:  # a text that is too long ends it at once, not late
            self.tokenizer.rows(missing, self.spec.context_length, truncate)
        for start in range(0, len(missing), N_TEXTS_AT_ONCE):
            some = missing[start : start + N_TEXTS_AT_ONCE]
            embeddings = self.encoder().encode_texts(some, truncate)
            if self._texts is not None:
                self._texts.remember(some, truncate, embeddings)
            known.update(zip(some, embeddings, strict=True))
        rows = [known[text] for text in texts]
        return np.array(rows, np.float32).reshape(len(rows), self.spec.embed_dim)

    def warn_of_damage(self) -> None:
        """Say, once for all of them, how many entries of the cache were damaged and not used."""
        if self._cache is not None:
            self._cache.warn_of_damage()

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


def _n_photos_known(name: str, cache_dir: str | os.PathLike[str] | None) -> int:
    """Of how many photographs the embeddings by the model of this name are remembered."""
    from clipcli.embedding.cache import upkeep  # when the default has changed, and then alone

    path = catalogue.cache_root(cache_dir) / FILE_NAME
    if not path.exists():
        return 0
    return sum(model.n_photos for model in upkeep.info(path).models if model.name == name)


def _open_encoder(wanted: ModelRequest | ModelSpec) -> Encoder:
    with without_garbage_collection():
        from clipcli.models.encoder import Encoder

        if isinstance(wanted, ModelSpec):
            return Encoder.from_spec(wanted)
        return Encoder.open(wanted)
