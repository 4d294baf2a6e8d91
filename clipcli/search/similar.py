"""The photographs nearest to a query, among files or among stored embeddings."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from clipcli.files.embedding_file import EmbeddingFile
from clipcli.records import Embedded, Failure, MadeBy, Match, PassedOver, Record
from clipcli.search.nearest import Best, cosines, nearest

N_COMPARED_AT_ONCE = 512


def similar_photos(
    query: NDArray[np.float32],
    embedded: Iterable[Record | PassedOver],
    top_k: int = 10,
    min_similarity: float = -1.0,
    leave_out: Iterable[str] = (),
) -> Iterator[Match | Failure]:
    """What could not be read as it is met, then the photographs nearest to the query, best first.

    query: unit float32 [d]; `leave_out`: files that are no answer, such as the query's own.
    """
    is_left_out = _left_out(leave_out)
    best = Best(top_k, min_similarity)
    waiting: list[Embedded] = []
    made_by = None

    def compare() -> None:
        similarities = cosines(np.stack([one.embedding for one in waiting]), query)
        best.offer([one.path for one in waiting], similarities, is_left_out)

    for record in embedded:
        if isinstance(record, Failure):
            yield record
        elif isinstance(record, Embedded):
            made_by = record.made_by
            waiting.append(record)
            if len(waiting) == N_COMPARED_AT_ONCE:
                compare()
                waiting.clear()
    if waiting:
        compare()
    if made_by is not None:
        yield from _matches(best, made_by)


def similar_in_file(
    query: NDArray[np.float32],
    file: EmbeddingFile,
    top_k: int = 10,
    min_similarity: float = -1.0,
    leave_out: Iterable[str] = (),
) -> Iterator[Match]:
    """The same over stored embeddings. Raises EmbeddingFileError for one that is none."""
    best = Best(top_k, min_similarity)
    nearest(query, file.paths, file.embeddings, best, _left_out(leave_out), file.row)
    return _matches(best, file.header.made_by)


def _left_out(paths: Iterable[str]) -> Callable[[str], bool]:
    """Whether a path is one of these files, through links or not."""
    identities = {os.path.realpath(path) for path in paths}
    return lambda path: bool(identities) and os.path.realpath(path) in identities


def _matches(best: Best, made_by: MadeBy) -> Iterator[Match]:
    for rank, (path, similarity) in enumerate(best.kept, start=1):
        yield Match(path, rank, similarity, made_by)
