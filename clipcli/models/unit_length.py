"""An embedding is a vector of length 1; what a model gives that is none is never an answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clipcli.errors import ModelError

if TYPE_CHECKING:
    from clipcli.records import Embedding, Precision


class NoEmbeddingError(ModelError):
    """A model gave some of what it encoded no embedding.

    reason: what was found, and what to do; embeddings: of each, None where it has none.
    """

    def __init__(self, what: str, reason: str, embeddings: Sequence[Embedding | None]) -> None:
        super().__init__(f"{what}: {reason}")
        self.reason = reason
        self.embeddings = embeddings


def check_unit_length(
    embeddings: NDArray[np.float32], name_of: Callable[[int], str], precision: Precision
) -> None:
    """Raises NoEmbeddingError, with the name of the first, for rows that are not of unit length.

    embeddings: float32 [n, d], normalised, where NaN, infinity, zero, and what is too long for its
    length to be a float32 have all become NaN or zeros.
    """
    is_unit = np.einsum("ij,ij->i", embeddings, embeddings) > 0.5
    if is_unit.all():
        return
    cure = "use another --model" if precision == "fp32" else "pass --precision fp32"
    raise NoEmbeddingError(
        name_of(int(is_unit.argmin())),
        f"the model gave no finite embedding in {precision}; {cure}",
        [row if is_good else None for row, is_good in zip(embeddings, is_unit, strict=True)],
    )
