"""From files to records: what the library offers and the commands call. It never prints.

images.find -> Embedder.embed   -> scoring.label_photos -> writers.RowWriter
Photo          lists of Embedded   Classified             one line or more
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from clipcli.embedding.embedder import Embedder
from clipcli.embedding.local import Outcome, RunOptions
from clipcli.errors import PhotoError, TextTooLongError
from clipcli.files.writers import Record
from clipcli.labelling import zero_shot
from clipcli.labelling.zero_shot import Classifier
from clipcli.labels.label import (
    DEFAULT_TEMPLATE,
    Label,
    check_templates,
    prompts,
    prompts_of_classes,
)
from clipcli.photos.find import Found
from clipcli.records import (
    Classified,
    Embedded,
    EmbeddedText,
    Failure,
    Match,
    PassedOver,
    Photo,
    Prediction,
)
from clipcli.search import nearest

if TYPE_CHECKING:
    from clipcli.files.embedding_file import EmbeddingFile

# float32 [n, d], unit length -> the labels of each, best first
Labeller = Callable[[NDArray[np.float32]], list[tuple[Prediction, ...]]]

_WEIGHT = re.compile(r"(\d+(?:\.\d+)?):(.+)", re.DOTALL)
N_TEXTS_AT_ONCE = 1024  # in memory
N_COMPARED_AT_ONCE = 512


@dataclass(frozen=True)
class QueryPart:
    """One part of a query: words or a photograph, and how much of it; negative takes it away."""

    kind: Literal["text", "image"]
    value: str
    weight: float = 1.0


def build_classifier(
    embedder: Embedder, labels: Sequence[Label], templates: Sequence[str], truncate: bool = False
) -> Classifier:
    """Encode every label's prompts, once. Raises UsageError, naming the label, for a bad one."""
    check_templates(templates)
    of_labels = [prompts_of_classes(label, templates) for label in labels]
    of_classes = [some for classes in of_labels for some in classes]
    flat = [prompt for some in of_classes for prompt in some]
    try:
        embeddings = iter(embedder.encode_texts(flat, truncate))
    except TextTooLongError as error:
        from clipcli.models.tokenizer import longest, shortened

        context_length = embedder.spec.context_length
        name = next(
            label.name
            for label, classes in zip(labels, of_labels, strict=True)
            if any(longest(some) > context_length for some in classes)
        )
        raise TextTooLongError(f"label {shortened(name)}: {error}") from error
    rows = [
        zero_shot.ensemble(np.stack(list(islice(embeddings, len(some))))) for some in of_classes
    ]
    return Classifier(
        tuple(label.name for label in labels),
        np.stack(rows),
        embedder.spec.logit_scale,
        tuple(len(classes) for classes in of_labels),
    )


def labels_without_evidence(embedder: Embedder, labels: Sequence[Label]) -> list[str]:
    """Names of the labels whose every text names nothing that the model learned."""
    words = [text.text for label in labels for text in label.texts]
    # one prompt a text, in the template that the test was made for, whatever is scored
    filled = [prompt for label in labels for prompt in prompts(label, [DEFAULT_TEMPLATE])]
    doubts = iter(embedder.lacks_evidence(words, filled))
    return [label.name for label in labels if all(list(islice(doubts, len(label.texts))))]


def embed(
    found: Iterable[Found], embedder: Embedder, options: RunOptions = RunOptions()
) -> Iterator[Outcome]:
    """The embedding of each photograph, or why there is none, in the order given."""
    for some in embedder.embed(found, options):
        yield from some


def embed_texts(
    texts: Sequence[str], embedder: Embedder, truncate: bool = False
) -> Iterator[EmbeddedText]:
    """The embedding of each text as it stands, in the order given."""
    for start in range(0, len(texts), N_TEXTS_AT_ONCE):
        some = texts[start : start + N_TEXTS_AT_ONCE]
        for text, embedding in zip(some, embedder.encode_texts(some, truncate), strict=True):
            yield EmbeddedText(text, embedding, embedder.spec.name)


def classify(
    found: Iterable[Found],
    embedder: Embedder,
    label_photos: Labeller,
    options: RunOptions = RunOptions(),
) -> Iterator[Classified | Failure | PassedOver]:
    """The labels of each photograph, or why there are none, in the order given."""
    for some in embedder.embed(found, options):
        embeddings = [record.embedding for record in some if isinstance(record, Embedded)]
        labelled = iter(label_photos(np.stack(embeddings)) if embeddings else ())
        for record in some:
            if isinstance(record, Embedded):
                yield Classified(
                    record.path, next(labelled), record.model, record.middle_only, record.recalled
                )
            else:
                yield record


def parse_query_part(kind: Literal["text", "image"], value: str, sign: float) -> QueryPart:
    """`2:sports car` is the words with weight 2; a file whose name looks like that wins."""
    weighted = _WEIGHT.fullmatch(value)
    if weighted is None or (kind == "image" and os.path.exists(value)):
        return QueryPart(kind, value, sign)
    return QueryPart(kind, weighted[2], sign * float(weighted[1]))


def holds(file: EmbeddingFile, part: QueryPart) -> bool:
    """Whether this photograph's embedding stands in the file, so that no model is needed."""
    return part.kind == "image" and not file.is_of_texts and file.find(part.value) is not None


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
        if file is not None and holds(file, part):
            embeddings.append(file.embeddings[file.find(part.value)].astype(np.float32))
            continue
        assert embedder is not None
        if part.kind == "text":
            embeddings.append(embedder.encode_texts([part.value], truncate)[0])
            continue
        (record,) = embed([Photo(part.value)], embedder, options)
        if not isinstance(record, Embedded):
            reason = record.error if isinstance(record, Failure) else "passed over"
            raise PhotoError(f"{part.value}: {reason}; expected a photograph as the query")
        embeddings.append(record.embedding)
    return zero_shot.combine(embeddings, [part.weight for part in parts])


def similar(
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
    best = nearest.Best(top_k, min_similarity)
    waiting: list[Embedded] = []

    def compare() -> None:
        similarities = nearest.cosines(np.stack([one.embedding for one in waiting]), query)
        best.offer([one.path for one in waiting], similarities, is_left_out)

    model = ""
    for record in embedded:
        if isinstance(record, Failure):
            yield record
        elif isinstance(record, Embedded):
            model = record.model
            waiting.append(record)
            if len(waiting) == N_COMPARED_AT_ONCE:
                compare()
                waiting.clear()
    if waiting:
        compare()
    yield from _matches(best, model)


def similar_in_file(
    query: NDArray[np.float32],
    file: EmbeddingFile,
    top_k: int = 10,
    min_similarity: float = -1.0,
    leave_out: Iterable[str] = (),
) -> Iterator[Match]:
    """The same over stored embeddings."""
    best = nearest.Best(top_k, min_similarity)
    nearest.nearest(query, file.paths, file.embeddings, best, _left_out(leave_out))
    return _matches(best, file.header.model)


def _left_out(paths: Iterable[str]) -> Callable[[str], bool]:
    """Whether a path is one of these files, through links or not."""
    identities = {os.path.realpath(path) for path in paths}
    return lambda path: bool(identities) and os.path.realpath(path) in identities


def _matches(best: nearest.Best, model: str) -> Iterator[Match]:
    for rank, (path, similarity) in enumerate(best.kept, start=1):
        yield Match(path, rank, similarity, model)
