"""What is searched for: words and photographs, more of some and less of others."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clipcli.embedding.embedder import Embedder
from clipcli.embedding.local import RunOptions
from clipcli.errors import PhotoError
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

    @classmethod
    def parse(cls, kind: Literal["text", "image"], value: str, sign: float = 1.0) -> QueryPart:
        """`2:sports car` is the words with weight 2; a file whose name looks like that wins."""
        weighted = _WEIGHT.fullmatch(value)
        if weighted is None or (kind == "image" and os.path.exists(value)):
            return cls(kind, value, sign)
        return cls(kind, weighted[2], sign * float(weighted[1]))

    def is_in(self, file: EmbeddingFile) -> bool:
        """Whether this photograph's embedding stands in the file, so that no model is needed."""
        return self.kind == "image" and not file.is_of_texts and file.find(self.value) is not None


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
        if file is not None and part.is_in(file):
            embeddings.append(file.embeddings[file.find(part.value)].astype(np.float32))
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
