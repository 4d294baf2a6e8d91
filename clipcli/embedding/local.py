"""Photographs to embeddings: known ones are recalled, the others decoded ahead of the encoder.

_recall -> _read_ahead -> _in_batches -> _encode_ahead

Each passes lists on, in the order given. Threads, not processes: Pillow lets other threads run
while it decodes and resizes, as do hashing, SQLite and torch.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from clipcli.embedding import read_photo
from clipcli.embedding.cache.photos import PhotoEntry, PhotoMemory
from clipcli.embedding.read_photo import ReadPhoto
from clipcli.models.spec import ModelSpec
from clipcli.models.unit_length import NoEmbeddingError
from clipcli.photos.decode import DecodeOptions
from clipcli.photos.find import FoundFile
from clipcli.records import Embedded, Failure, PassedOver, Photo
from clipcli.runtime.process import tune_pillow

if TYPE_CHECKING:
    from clipcli.models.encoder import Encoder
    from clipcli.records import Embedding

N_RECALLED_AT_ONCE = 512
N_HELD = 4096  # results that may wait behind a photograph that is not decoded yet
N_REMEMBERED_AT_ONCE = 256  # renamed photographs, which are read and not encoded
N_EXPECTED_ON_CUDA = 32  # photographs in a batch, until the open model says how many

EmbeddedOrNot = Embedded | PassedOver | Failure  # how a file ends
BatchItem = EmbeddedOrNot | ReadPhoto


def default_workers() -> int:
    """One decoding thread for each core that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True)
class RunOptions:
    """How photographs are decoded and batched; None lets the machine decide."""

    decode: DecodeOptions = field(default_factory=DecodeOptions)
    batch_size: int | None = None
    workers: int | None = None


class EmbeddingRun:
    """One run over photographs in this process: some threads decode, ahead of one that encodes.

    `open_encoder` gives the model; it is called as soon as a photograph that needs it has been
    decoded, once or never. `memory` is None where nothing is to be remembered.
    """

    def __init__(
        self,
        spec: ModelSpec,
        open_encoder: Callable[[], Encoder],
        memory: PhotoMemory | None,
        options: RunOptions,
    ) -> None:
        self.spec = spec
        self.open_encoder = open_encoder
        self.memory = memory
        self.options = options
        self.made_by = spec.made_by(options.decode.name)
        self._n_expected = spec.bounded(N_EXPECTED_ON_CUDA)
        # None on CUDA, where the open model says it
        self._batch_size = options.batch_size or spec.batch_size(default_workers())
        self._decoding = ThreadPoolExecutor(options.workers or default_workers(), "decode")
        # on CUDA a second batch is copied there while the first is computed
        self._encoding = ThreadPoolExecutor(2 if spec.device.startswith("cuda") else 1, "encode")
        self._opening: Future[Encoder] | None = None
        self._lock = Lock()

    def records(self, found: Iterable[FoundFile]) -> Iterator[list[EmbeddedOrNot]]:
        """The embedding, or the reason why there is none, of each file, in the order given.

        To be called once. Memory does not grow with the number of files: some batches of pixels,
        and N_HELD embeddings.
        """
        tune_pillow()
        try:
            ahead = self._read_ahead(self._recall(found))
            yield from self._encode_ahead(self._in_batches(ahead))
        finally:  # no thread is left when the run ends, whatever ends it
            # first, so that what is still being decoded does not have the model opened
            self._encoding.shutdown(wait=False, cancel_futures=True)
            self._decoding.shutdown(cancel_futures=True)
            self._encoding.shutdown()

    def _recall(self, found: Iterable[FoundFile]) -> Iterator[list[EmbeddedOrNot | Photo]]:
        """Photographs that the cache knows by their path as embeddings, or as failures; all else as
        it is."""
        remaining = iter(found)
        while some := list(islice(remaining, N_RECALLED_AT_ONCE)):
            known: dict[str, EmbeddedOrNot] = {}
            if self.memory is not None:
                paths = [record.path for record in some if isinstance(record, Photo)]
                known = dict(self._known(paths, self.memory))
            yield [
                known.get(record.path, record) if isinstance(record, Photo) else record
                for record in some
            ]

    def _known(
        self, paths: Sequence[str], memory: PhotoMemory
    ) -> Iterator[tuple[str, EmbeddedOrNot]]:
        unknown = []
        for path, one in zip(paths, memory.by_path(paths), strict=True):
            if one is None:
                unknown.append(path)
            else:
                record = Embedded(path, one.embedding, self.made_by, one.middle_only, recalled=True)
                yield path, record
        if unknown:
            for path, error in zip(unknown, memory.failures(unknown), strict=True):
                if error is not None:
                    yield path, Failure(path, error)

    def _read_ahead(
        self, chunks: Iterable[list[EmbeddedOrNot | Photo]]
    ) -> Iterator[list[BatchItem]]:
        """Each photograph read, while up to two batches are being read ahead of it."""
        ahead: deque[EmbeddedOrNot | Future[ReadPhoto | Failure]] = deque()
        n_reading = 0
        for chunk in chunks:
            ready: list[BatchItem] = []
            for record in chunk:
                if isinstance(record, Photo):
                    ahead.append(self._decoding.submit(self._read, record))
                    n_reading += 1
                else:
                    ahead.append(record)
                while ahead and (
                    not isinstance(ahead[0], Future)
                    or n_reading > 2 * (self._batch_size or self._n_expected)
                    or len(ahead) > N_HELD
                ):
                    first = ahead.popleft()
                    n_reading -= isinstance(first, Future)
                    ready.append(_finished(first))
                if n_reading and ready:  # the next one may still be decoding: do not wait for it
                    yield ready
                    ready = []
            yield ready
        while ahead:
            yield [_finished(ahead.popleft())]

    def _in_batches(self, items: Iterable[list[BatchItem]]) -> Iterator[list[BatchItem]]:
        """Lists with one batch of pixels each, and with the other items in between."""
        batch: list[BatchItem] = []
        n_read = n_pixels = 0
        for some in items:
            for item in some:
                batch.append(item)
                if isinstance(item, ReadPhoto):
                    n_read += 1
                    n_pixels += item.pixels is not None
                if n_pixels and self._batch_size is None:
                    self._batch_size = self._model().result().default_batch_size
                if n_pixels == self._batch_size or len(batch) == N_HELD:
                    yield batch
                    batch, n_read, n_pixels = [], 0, 0
            if not n_read or (not n_pixels and n_read >= N_REMEMBERED_AT_ONCE):
                yield batch
                batch, n_read = [], 0
        yield batch

    def _encode_ahead(self, batches: Iterable[list[BatchItem]]) -> Iterator[list[EmbeddedOrNot]]:
        """Each batch encoded and remembered, while the next is being read."""
        encoding: Future[list[EmbeddedOrNot]] | None = None
        for batch in batches:
            following = self._encoding.submit(self._encode, batch) if batch else None
            if encoding is not None:
                yield encoding.result()
            encoding = following
        if encoding is not None:
            yield encoding.result()

    def _read(self, photo: Photo) -> ReadPhoto | Failure:
        """In a thread that decodes."""
        read = read_photo.read(photo.path, self.spec.preprocess, self.options.decode, self.memory)
        if isinstance(read, ReadPhoto) and read.pixels is not None:
            self._model()
        return read

    def _model(self) -> Future[Encoder]:
        """The model, which a thread that encodes begins to open when it is first asked for."""
        with self._lock:
            if self._opening is None:
                self._opening = self._encoding.submit(self.open_encoder)
            return self._opening

    def _encode(self, batch: list[BatchItem]) -> list[EmbeddedOrNot]:
        """In a thread that encodes: what is new is remembered before the next batch begins.

        A record is `recalled` if its embedding was known when the photograph was read.
        """
        embeddings = self._embeddings(batch)
        records: list[EmbeddedOrNot] = []
        entries: list[PhotoEntry] = []
        for item in batch:
            if not isinstance(item, ReadPhoto):
                records.append(item)
                continue
            embedding, entry = item.embedding, item.entry
            recalled = embedding is not None
            if embedding is None:
                found = embeddings[item.picture]
                if isinstance(found, str):
                    records.append(Failure(item.path, found))
                    continue
                embedding = found.copy()  # an array of its own for each record
                entry = entry and replace(entry, embedding=embedding)
            records.append(Embedded(item.path, embedding, self.made_by, item.middle_only, recalled))
            if entry is not None:
                entries.append(entry)
        if self.memory is not None:
            self.memory.remember(entries)
        return records

    def _embeddings(self, batch: list[BatchItem]) -> dict[bytes | int, Embedding | str]:
        """By `ReadPhoto.picture`, of those whose pixels were not known when they were read; or why
        the model has none for it.

        Equal pictures are encoded once; one that an earlier batch has remembered meanwhile, not at
        all. On CUDA two batches run at once, and a picture that is in both is encoded twice.
        """
        pixels = {
            item.picture: item.pixels
            for item in batch
            if isinstance(item, ReadPhoto) and item.pixels is not None
        }
        embeddings: dict[bytes | int, Embedding | str] = {}
        for picture in pixels:
            if self.memory is not None and isinstance(picture, bytes):
                known = self.memory.by_pixels(picture)
                if known is not None:
                    embeddings[picture] = known
        new = [picture for picture in pixels if picture not in embeddings]
        if new:
            encoder = self._model().result()  # asked for when the first of them was decoded
            try:
                fresh = encoder.encode_pixels(np.stack([pixels[picture] for picture in new]))
                embeddings.update(zip(new, fresh, strict=True))
            except NoEmbeddingError as error:
                others = (error.reason if one is None else one for one in error.embeddings)
                embeddings.update(zip(new, others, strict=True))
        return embeddings


def _finished(item: EmbeddedOrNot | Future[ReadPhoto | Failure]) -> BatchItem:
    return item.result() if isinstance(item, Future) else item
