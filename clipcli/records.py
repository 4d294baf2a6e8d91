"""What travels from a path to a row: small frozen records, one for each stage.

A file ends as exactly one of `PassedOver`, `Failure`, or a result (`Classified`, `Embedded`).
Results carry their `MadeBy`: two models' answers are not to be mixed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Embedding = NDArray[np.float32]

Fit = Literal["crop", "pad", "squash"]  # crop: as the model was trained, of most the middle
RawFiles = Literal["alone", "always"]  # alone: where no JPEG of their name lies beside them
Precision = Literal["auto", "fp32", "fp16", "bf16", "int8"]
Activation = Literal["quickgelu", "gelu", "gelu_tanh"]
Scoring = Literal["softmax", "sigmoid", "presence", "calibrated", "probe"]


@dataclass(frozen=True)
class MadeBy:
    """Where an answer comes from: whose embeddings, and what they were held against.

    model: as it was called, which may change; fingerprint: of its tensors, architecture and
    preprocessing, which does not. preprocessing: how photographs were brought into its square, as
    `DecodeOptions.name`, or TEXT. templates: around the labels' words. calibration and probe:
    SHA-256 of what was learned from labelled photographs. See `files.made_by` for checks.
    """

    model: str
    fingerprint: str
    precision: str
    preprocessing: str
    templates: tuple[str, ...] = ()
    calibration: str | None = None
    probe: str | None = None


TEXT = "text"  # in place of a preprocessing, where no photograph was looked at


@dataclass(frozen=True)
class Photo:
    """A file to try. `path` is printed as the user typed it plus what lies below it."""

    path: str


@dataclass(frozen=True)
class PassedOver:
    """A file in a folder that is not looked at, and why: hidden, excluded, of a suffix that is no
    picture's, the raw file of a JPEG."""

    path: str
    reason: str = ""


@dataclass(frozen=True)
class Failure:
    """A file, folder or PATH that could not be read, and the reason in one line."""

    path: str
    error: str


@dataclass(frozen=True)
class Prediction:
    """One label of one photograph. `probability` is what the record's `scoring` makes of it,
    `similarity` the cosine between the photograph and the label's prompts.

    `is_unknown`: no label fits, and `label` is the name for that, which is no label of its own.
    `is_accepted`: the label is meant to stand, and is not merely listed behind the best one.
    """

    label: str
    probability: float
    similarity: float
    is_unknown: bool = False
    is_accepted: bool = False


class _Answer:
    """A record of which is known where it comes from."""

    made_by: MadeBy

    @property
    def model(self) -> str:
        """The model's name."""
        return self.made_by.model


@dataclass(frozen=True)
class Classified(_Answer):
    """A photograph and its best labels, best first.

    `scoring` says what the probabilities are: of the `softmax` over all labels; of each label on
    its own, as a model with a `sigmoid` has it; of each label's `presence`, whatever the others
    are, as another model guesses it or `calibrated` with photographs; or of the softmax of a
    `probe`.
    """

    path: str
    predictions: tuple[Prediction, ...]
    made_by: MadeBy
    middle_only: bool = False
    recalled: bool = False
    scoring: Scoring = "softmax"
    moved_to: str | None = None  # where the file goes, whose path stays what it was

    @property
    def standing(self) -> tuple[Prediction, ...]:
        """The labels that are meant to stand: accepted, and no name for a photograph that fits
        none."""
        return tuple(one for one in self.predictions if one.is_accepted and not one.is_unknown)


@dataclass(frozen=True)
class Embedded(_Answer):
    """A photograph and its embedding: float32 [d], unit length.

    `middle_only`: the picture is longer than twice its short side and was cropped, so the
    embedding speaks for its middle. `recalled`: it was encoded in an earlier run.
    """

    path: str
    embedding: Embedding
    made_by: MadeBy
    middle_only: bool = False
    recalled: bool = False


@dataclass(frozen=True)
class EmbeddedText(_Answer):
    """A text and its embedding: float32 [d], unit length."""

    text: str
    embedding: Embedding
    made_by: MadeBy


@dataclass(frozen=True)
class Match(_Answer):
    """One answer of a search. `similarity` is the cosine to the query."""

    path: str
    rank: int
    similarity: float
    made_by: MadeBy


Record = Classified | Embedded | EmbeddedText | Match | Failure  # what a writer takes
