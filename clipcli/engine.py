"""Photographs to embeddings: worker threads decode ahead of the encoder, and order is kept.

Threads, not processes: Pillow lets other threads run while it decodes and resizes.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from PIL import Image

from clipcli.decode import Decoded, DecodeOptions, decode
from clipcli.encoder import Encoder
from clipcli.errors import PhotoError
from clipcli.images import Found
from clipcli.preprocess import PreprocessConfig
from clipcli.records import Embedded, Failure, PassedOver, Photo

Outcome = Embedded | PassedOver | Failure


def default_workers() -> int:
    """One decoding thread for each core that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def embed(
    found: Iterable[Found],
    encoder: Encoder,
    options: DecodeOptions,
    *,
    batch_size: int | None = None,
    workers: int | None = None,
) -> Iterator[Outcome]:
    """The embedding, or the reason why there is none, of each file, in the order given.

    At most three batches of decoded photographs are in memory, however many there are.
    """
    batch_size = batch_size or encoder.default_batch_size
    pillow_limit = Image.MAX_IMAGE_PIXELS  # Pillow's own is lower than ours, and global
    Image.MAX_IMAGE_PIXELS = int(options.max_megapixels * 1e6)
    pool = ThreadPoolExecutor(workers or default_workers(), thread_name_prefix="decode")
    try:
        batch: list[Decoded | PassedOver | Failure] = []
        paths: list[str] = []
        n_decoded = 0
        for path, outcome in _decode_ahead(found, pool, encoder.preprocess, options, batch_size):
            if not isinstance(outcome, Decoded) and not batch:
                yield outcome  # nothing waits to be encoded before it
                continue
            batch.append(outcome)
            paths.append(path)
            n_decoded += isinstance(outcome, Decoded)
            if n_decoded == batch_size:
                yield from _encode(paths, batch, encoder)
                batch, paths, n_decoded = [], [], 0
        yield from _encode(paths, batch, encoder)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        Image.MAX_IMAGE_PIXELS = pillow_limit


def _decode_ahead(
    found: Iterable[Found],
    pool: ThreadPoolExecutor,
    config: PreprocessConfig,
    options: DecodeOptions,
    batch_size: int,
) -> Iterator[tuple[str, Decoded | PassedOver | Failure]]:
    """Each file's pixels in order, with up to two batches decoded or being decoded ahead."""
    ahead: deque[tuple[str, Future[Decoded | Failure] | PassedOver | Failure]] = deque()
    for record in found:
        if isinstance(record, Photo):
            future = pool.submit(_decode_or_fail, record.path, config, options)
            ahead.append((record.path, future))
        else:
            ahead.append((record.path, record))
        if len(ahead) > 2 * batch_size:
            yield _finished(*ahead.popleft())
    while ahead:
        yield _finished(*ahead.popleft())


def _finished(
    path: str, outcome: Future[Decoded | Failure] | PassedOver | Failure
) -> tuple[str, Decoded | PassedOver | Failure]:
    return path, outcome.result() if isinstance(outcome, Future) else outcome


def _decode_or_fail(
    path: str, config: PreprocessConfig, options: DecodeOptions
) -> Decoded | Failure:
    try:
        return decode(path, config, options)
    except PhotoError as error:
        return Failure(path, str(error))


def _encode(
    paths: list[str], batch: list[Decoded | PassedOver | Failure], encoder: Encoder
) -> Iterator[Outcome]:
    pixels = [item.pixels for item in batch if isinstance(item, Decoded)]
    embeddings = iter(encoder.encode_pixels(np.stack(pixels)) if pixels else ())
    for path, item in zip(paths, batch, strict=True):
        if isinstance(item, Decoded):
            yield Embedded(path, next(embeddings), encoder.name, item.middle_only)
        else:
            yield item
