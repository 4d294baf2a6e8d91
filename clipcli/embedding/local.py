"""Photographs to embeddings: known ones are recalled, the others decoded ahead of the encoder.

_recall -> _read_ahead -> _in_batches -> _encode_ahead

Each passes lists on, in the order given. Threads, not processes: Pillow lets other threads run
while it decodes and resizes, as do hashing, SQLite and torch. The model is opened when the first
photograph needs it, while others are being decoded.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from clipcli.embedding import read_photo
from clipcli.embedding.cache.photos import Learned, PhotoMemory
from clipcli.embedding.read_photo import Read
from clipcli.models.spec import ModelSpec
from clipcli.photos.decode import DecodeOptions
from clipcli.photos.find import Found
from clipcli.records import Embedded, Failure, PassedOver, Photo

if TYPE_CHECKING:
    from clipcli.models.encoder import Encoder

N_RECALLED_AT_ONCE = 512
N_HELD = 4096  # results that may wait behind a photograph that is not ready
N_REMEMBERED_AT_ONCE = 256  # renamed photographs, which are read and not encoded
N_AHEAD = 64  # photographs decoded while the model, which knows its batch size, is being opened

Outcome = Embedded | PassedOver | Failure
Item = Outcome | Read  # settled, or on its way to be


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


@dataclass(frozen=True)
class Engine:
    """How photographs become embeddings under one model.

    `open_encoder` gives the model, if it is needed at all; `memory` is None where nothing is to
    be remembered.
    """

    spec: ModelSpec
    open_encoder: Callable[[], Encoder]
    memory: PhotoMemory | None
    options: RunOptions

    def embed(self, found: Iterable[Found]) -> Iterator[list[Outcome]]:
        """The embedding, or the reason why there is none, of each file, in the order given.

        Memory does not grow with their number: some batches of pixels, and N_HELD embeddings.
        """
        with self._workshop() as workshop:
            ahead = workshop.read_ahead(self._recall(found))
            yield from workshop.encode_ahead(workshop.in_batches(ahead))

    def _recall(self, found: Iterable[Found]) -> Iterator[list[Outcome | Photo]]:
        """What is known by its path as an embedding, everything else as it is."""
        remaining = iter(found)
        while some := list(islice(remaining, N_RECALLED_AT_ONCE)):
            if self.memory is None:
                yield list(some)
                continue
            photos = [record.path for record in some if isinstance(record, Photo)]
            known = iter(self.memory.by_path(photos))
            yield [
                Embedded(record.path, one.embedding, self.spec.name, one.middle_only, recalled=True)
                if isinstance(record, Photo) and (one := next(known)) is not None
                else record
                for record in some
            ]

    @contextmanager
    def _workshop(self) -> Iterator[_Workshop]:
        pillow_limit = Image.MAX_IMAGE_PIXELS  # Pillow's own is lower than ours, and global
        Image.MAX_IMAGE_PIXELS = int(self.options.decode.max_megapixels * 1e6)
        workers = self.options.workers or default_workers()
        decoding = ThreadPoolExecutor(workers, thread_name_prefix="decode")
        # on CUDA a second batch is copied there while the first is computed
        n_encoding = 2 if self.spec.device.startswith("cuda") else 1
        encoding = ThreadPoolExecutor(n_encoding, thread_name_prefix="encode")
        try:
            yield _Workshop(self, decoding, encoding)
        finally:
            decoding.shutdown(wait=True, cancel_futures=True)
            encoding.shutdown(wait=True, cancel_futures=True)
            Image.MAX_IMAGE_PIXELS = pillow_limit


class _Workshop:
    """The threads of one run."""

    def __init__(
        self, engine: Engine, decoding: ThreadPoolExecutor, encoding: ThreadPoolExecutor
    ) -> None:
        self.engine = engine
        self.decoding = decoding
        self.encoding = encoding
        self.opening: Future[Encoder] | None = None

    def read_ahead(self, chunks: Iterable[list[Outcome | Photo]]) -> Iterator[list[Item]]:
        """Each photograph read, while up to two batches are being read ahead of it."""
        ahead: deque[Outcome | Future[Read | Failure]] = deque()
        n_reading = 0
        for chunk in chunks:
            ready: list[Item] = []
            for record in chunk:
                if isinstance(record, Photo):
                    ahead.append(self._start_reading(record))
                    n_reading += 1
                else:
                    ahead.append(record)
                while ahead and (
                    n_reading > self._n_ahead() or len(ahead) > N_HELD or _is_ready(ahead[0])
                ):
                    first = ahead.popleft()
                    n_reading -= isinstance(first, Future)
                    ready.append(_finished(first))
                if n_reading and ready:  # what follows may take its time
                    yield ready
                    ready = []
            yield ready
        while ahead:
            yield [_finished(ahead.popleft())]

    def in_batches(self, items: Iterable[list[Item]]) -> Iterator[list[Item]]:
        """As many as make one batch of pixels, with what stands between them."""
        batch: list[Item] = []
        n_read = n_pixels = 0
        for some in items:
            for item in some:
                batch.append(item)
                if isinstance(item, Read):
                    n_read += 1
                    n_pixels += item.pixels is not None
                if (n_pixels and n_pixels == self._batch_size()) or len(batch) == N_HELD:
                    yield batch
                    batch, n_read, n_pixels = [], 0, 0
            if not n_read or (not n_pixels and n_read >= N_REMEMBERED_AT_ONCE):
                yield batch
                batch, n_read = [], 0
        yield batch

    def encode_ahead(self, batches: Iterable[list[Item]]) -> Iterator[list[Outcome]]:
        """Each batch encoded and remembered, while the next is being read."""
        encoding: Future[list[Outcome]] | None = None
        for batch in batches:
            following = self.encoding.submit(self._encode, batch) if batch else None
            if encoding is not None:
                yield encoding.result()
            encoding = following
        if encoding is not None:
            yield encoding.result()

    def _start_reading(self, photo: Photo) -> Future[Read | Failure]:
        engine = self.engine
        return self.decoding.submit(
            read_photo.read,
            photo.path,
            engine.spec.preprocess,
            engine.options.decode,
            engine.memory,
        )

    def _batch_size(self) -> int:
        if self.engine.options.batch_size is not None:
            return self.engine.options.batch_size
        if self.opening is None:
            self.opening = self.encoding.submit(self.engine.open_encoder)
        return self.opening.result().default_batch_size

    def _n_ahead(self) -> int:
        if self.engine.options.batch_size is None and (
            self.opening is None or not self.opening.done()
        ):
            return N_AHEAD
        return 2 * self._batch_size()

    def _encode(self, batch: list[Item]) -> list[Outcome]:
        """In the thread that encodes: what it has encoded is remembered before it goes on."""
        engine = self.engine
        pixels = [
            item.pixels for item in batch if isinstance(item, Read) and item.pixels is not None
        ]
        fresh = iter(engine.open_encoder().encode_pixels(np.stack(pixels)) if pixels else ())
        outcomes: list[Outcome] = []
        learned: list[Learned] = []
        for item in batch:
            if not isinstance(item, Read):
                outcomes.append(item)
                continue
            embedding = item.embedding
            if embedding is None:
                embedding = next(fresh)
            recalled = item.embedding is not None
            outcomes.append(
                Embedded(item.path, embedding, engine.spec.name, item.middle_only, recalled)
            )
            if item.learned is not None:
                learned.append(item.learned if recalled else item.learned.with_embedding(embedding))
        if engine.memory is not None:
            engine.memory.remember(learned)
        return outcomes


def _is_ready(item: Outcome | Future[Read | Failure]) -> bool:
    return not isinstance(item, Future) or item.done()


def _finished(item: Outcome | Future[Read | Failure]) -> Item:
    return item.result() if isinstance(item, Future) else item
