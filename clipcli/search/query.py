"""What is searched for: words and photographs, more of some and less of others."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clipcli.embedding.embedder import Embedder
from clipcli.embedding.local import RunOptions
from clipcli.errors import PhotoError, UsageError
from clipcli.files.embedding_file import EmbeddingFile
from clipcli.labelling.classifier import unit
from clipcli.records import Embedded, Failure, Photo

_WEIGHT = re.compile(r"(\d+(?:\.\d+)?):(.+)", re.DOTALL)


@dataclass(frozen=True)
class QueryPart:
    """One part of a query: words or a photograph, and how much of it; negative takes it away."""

    kind: Literal["text", "image"]
    value: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        """Raises UsageError for a weight that is no number."""
        if not math.isfinite(self.weight):
            raise UsageError(f"{self.value}: a weight of {self.weight}; expected a finite number")

    @classmethod
    def parse(cls, kind: Literal["text", "image"], value: str, sign: float = 1.0) -> QueryPart:
        """`2:sports car` is the words with weight 2; a file whose name looks like that wins."""
        weighted = _WEIGHT.fullmatch(value)
        if weighted is None or (kind == "image" and os.path.exists(value)):
            return cls(kind, value, sign)
        return cls(kind, weighted[2], sign * float(weighted[1]))

    def row_in(self, file: EmbeddingFile) -> int | None:
        """Where this photograph's embedding stands in the file, so that no model is needed."""
        return None if self.kind == "text" or file.is_of_texts else file.find(self.value)


def encode_query(
    parts: Sequence[QueryPart],
    embedder: Embedder | None,
    options: RunOptions = RunOptions(),
    truncate: bool = False,
    file: EmbeddingFile | None = None,
) -> NDArray[np.float32]:
    """The weighted sum of the parts, unit float32 [d].

    Photographs that `file` holds are taken from it; `embedder` may be None if it holds all parts.
    Raises PhotoError if a photograph of the query cannot be read, UsageError if the parts cancel
    each other out.
    """
    embeddings = []
    for part in parts:
        row = part.row_in(file) if file is not None else None
        if file is not None and row is not None:
            embeddings.append(file.row(row))
            continue
        assert embedder is not None
        if part.kind == "text":
            embeddings.append(embedder.encode_texts([part.value], truncate)[0])
            continue
        (record,) = embedder.embed_photos([Photo(part.value)], options)
        if not isinstance(record, Embedded):
            reason = record.error if isinstance(record, Failure) else "passed over"
            raise PhotoError(f"{part.value}: {reason}; expected a photograph as the query")
        embeddings.append(record.embedding)
    return weighted_sum(embeddings, [part.weight for part in parts])


def weighted_sum(
    embeddings: Sequence[NDArray[np.float32]], weights: Sequence[float]
) -> NDArray[np.float32]:
    """Of unit embeddings, unit length again: [d]. Raises UsageError if it is zero."""
    total = np.asarray(weights, dtype=np.float64) @ np.asarray(embeddings, dtype=np.float64)
    return unit(total, "the parts of the query")
