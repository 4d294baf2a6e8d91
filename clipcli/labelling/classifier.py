"""Labels as the embeddings of their prompts, which photographs are compared with.

Sums are in float64, so that a score does not depend on what stands beside it in a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from clipcli.embedding.embedder import Embedder
from clipcli.errors import TextTooLongError, UsageError
from clipcli.labels.label import (
    Label,
    prompts_of_classes,
)
from clipcli.models.score import Floats, Score


@dataclass(frozen=True)
class Classifier:
    """Labels with the unit embeddings of their classes: float32 [n_classes, d].

    `n_classes[i]` consecutive rows are label i's: one, or several for a label that is any of them.
    """

    names: tuple[str, ...]
    embeddings: NDArray[np.float32]
    score: Score
    n_classes: tuple[int, ...] = ()  # one each, if empty

    @property
    def has_any(self) -> bool:
        """Whether a label is any of several classes."""
        return any(n != 1 for n in self.n_classes)

    def class_cosines(self, embeddings: NDArray[np.float32]) -> Floats:
        """Of each photograph [n, d] and class: [n, n_classes]."""
        return cosines_between(embeddings, self.embeddings)

    def over_labels(self, join: np.ufunc, by_class: Floats) -> Floats:
        """[n, n_classes] -> [n, n_labels]: what `join` makes of each label's classes."""
        if not self.has_any:
            return by_class
        joined: Floats = join.reduceat(by_class, np.cumsum((0, *self.n_classes[:-1])), axis=1)
        return joined

    def label_cosines(self, embeddings: NDArray[np.float32]) -> Floats:
        """Of each photograph [n, d] and label, the best of a label's classes: [n, n_labels]."""
        return self.over_labels(np.maximum, self.class_cosines(embeddings))

    def label_logits(self, embeddings: NDArray[np.float32]) -> Floats:
        """The logits of which the probabilities are made: [n, n_labels].

        Of a label of several classes, the logarithm of the sum of their exponentials.
        """
        logits = self.score.logits(self.class_cosines(embeddings))
        return self.over_labels(self.score.join_logits, logits)


def build_classifier(
    embedder: Embedder, labels: Sequence[Label], templates: Sequence[str], truncate: bool = False
) -> Classifier:
    """Encode every label's prompts, once. Raises UsageError, naming the label, for a bad one."""
    of_labels = [prompts_of_classes(label, templates) for label in labels]
    of_classes = [some for classes in of_labels for some in classes]
    flat = [prompt for some in of_classes for prompt in some]
    try:
        embeddings = iter(embedder.encode_texts(flat, truncate))
    except TextTooLongError as error:
        from clipcli.models.tokenizer import shortened

        context_length = embedder.spec.context_length
        name = next(
            label.name
            for label, classes in zip(labels, of_labels, strict=True)
            if any(embedder.tokenizer.longest(some) > context_length for some in classes)
        )
        raise TextTooLongError(f"label {shortened(name)}: {error}") from error
    rows = [ensemble(np.stack(list(islice(embeddings, len(some))))) for some in of_classes]
    return Classifier(
        tuple(label.name for label in labels),
        np.stack(rows),
        embedder.spec.score,
        tuple(len(classes) for classes in of_labels),
    )


def ensemble(prompt_embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of one label's prompt embeddings, unit length again (paper, 3.1.4).

    prompt_embeddings: float32 [n_prompts, d], unit length. Returns float32 [d].
    Raises UsageError if they cancel out.
    """
    if len(prompt_embeddings) == 1:
        only: NDArray[np.float32] = prompt_embeddings[0]
        return only
    return unit(prompt_embeddings.mean(axis=0, dtype=np.float64), "the prompts of a label")


def unit(vector: Floats, what: str) -> NDArray[np.float32]:
    """`vector` [d] at length 1. Raises UsageError, naming `what`, where it has no direction."""
    length = np.linalg.norm(vector)
    if not length > 1e-6:
        raise UsageError(f"{what} cancel each other out; leave one of them out")
    return (vector / length).astype(np.float32)


def cosines_between(embeddings: NDArray[np.float32], others: NDArray[np.float32]) -> Floats:
    """Of unit embeddings [n, d] and others [m, d]: float64 [n, m]."""
    product: Floats = embeddings.astype(np.float64) @ others.astype(np.float64).T
    return product
