"""What travels from a path to a row: small frozen records, one for each stage.

A file ends as exactly one of `PassedOver`, `Failure`, or a result (`Classified`, `Embedded`).
Results name the model that gave them: two models' answers are not to be mixed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Embedding = NDArray[np.float32]

Fit = Literal["crop", "pad", "squash"]
Precision = Literal["auto", "fp32", "fp16", "bf16", "int8"]
Activation = Literal["quickgelu", "gelu"]


@dataclass(frozen=True)
class Photo:
    """A file to try. `path` is printed as the user typed it plus what lies below it."""

    path: str


@dataclass(frozen=True)
class PassedOver:
    """A file in a folder that is no photograph: hidden, excluded, or of another suffix."""

    path: str


@dataclass(frozen=True)
class Failure:
    """A file, folder or PATH that could not be read, and the reason in one line."""

    path: str
    error: str


@dataclass(frozen=True)
class Prediction:
    """One label of one photograph. `probability` is after the softmax over all labels,
    `similarity` the cosine between the photograph and the label's prompts."""

    label: str
    probability: float
    similarity: float


@dataclass(frozen=True)
class Classified:
    """A photograph and its best labels, best first."""

    path: str
    predictions: tuple[Prediction, ...]
    model: str
    middle_only: bool = False
    recalled: bool = False


@dataclass(frozen=True)
class Embedded:
    """A photograph and its embedding: float32 [d], unit length.

    `middle_only`: the picture is longer than twice its short side and was cropped, so the
    embedding speaks for its middle. `recalled`: it was encoded in an earlier run.
    """

    path: str
    embedding: Embedding
    model: str
    middle_only: bool = False
    recalled: bool = False


@dataclass(frozen=True)
class EmbeddedText:
    """A text and its embedding: float32 [d], unit length."""

    text: str
    embedding: Embedding
    model: str


@dataclass(frozen=True)
class Match:
    """One answer of a search. `similarity` is the cosine to the query."""

    path: str
    rank: int
    similarity: float
    model: str
