"""How photographs get their labels: with words, with a calibration of them, or with a probe.

A `Labeller` holds numbers and names and no model: it can be pickled, and label elsewhere.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from clipcli.embedding.embedder import Embedder
from clipcli.embedding.local import RunOptions
from clipcli.errors import UsageError
from clipcli.files.made_by import check_made_by, precision_note
from clipcli.labelling import calibration_file, multi_label, zero_shot
from clipcli.labelling.calibration_file import Calibration
from clipcli.labelling.classifier import Classifier, build_classifier
from clipcli.labelling.multi_label import MultiLabelClassifier
from clipcli.labelling.probe import Probe
from clipcli.labelling.zero_shot import LabelScores
from clipcli.labels.label import (
    DEFAULT_TEMPLATE,
    Label,
    check_templates,
    check_unknown,
    foreign_labels,
    prompts,
    prompts_in_short,
)
from clipcli.models.on_disk.default_model import PREFERRED
from clipcli.photos.find import FoundFile
from clipcli.records import Classified, Embedded, Failure, MadeBy, PassedOver, Prediction, Scoring

logger = logging.getLogger(__name__)

N_NAMED = 10  # of the labels without evidence


@dataclass(frozen=True)
class Labeller:
    """Embeddings to labels; `made_by` says whose embeddings it understands.

    label: float32 [n, d], unit length -> the labels of each photograph, best first. scoring: what
    their probabilities are, see `Classified`. names: of all labels; score: float32 [n, d] -> what
    each photograph has of every label, given or not.
    """

    made_by: MadeBy
    label: Callable[[NDArray[np.float32]], list[tuple[Prediction, ...]]]
    scoring: Scoring
    names: tuple[str, ...]
    score: Callable[[NDArray[np.float32]], LabelScores]


@dataclass(frozen=True)
class LabelRequest:
    """How to label: exactly one of `labels`, `calibration` (which has labels) and `probe`.

    top_k: labels for each photograph, None for 1, or with multi_label for all there are.
    multi_label: every label that is there, each judged on its own. min_probability: leave out
    labels below it. unknown: the name for photographs that no label fits. source: what messages
    call a calibration or a probe, as its path.
    Raises UsageError for what does not go together.
    """

    labels: tuple[Label, ...] = ()
    templates: tuple[str, ...] = (DEFAULT_TEMPLATE,)
    calibration: Calibration | None = None
    probe: Probe | None = None
    top_k: int | None = None
    multi_label: bool = False
    min_probability: float | None = None
    unknown: str | None = None
    source: str = "the file"

    def __post_init__(self) -> None:
        given = [bool(self.labels), self.calibration is not None, self.probe is not None]
        if sum(given) != 1:
            raise UsageError(
                f"{sum(given)} of labels, a calibration and a probe; expected one of them"
            )
        check_templates(self.templates)
        if self.unknown is not None:
            labels = self.calibration.labels if self.calibration is not None else self.labels
            check_unknown(self.unknown, [label.name for label in labels])
        if self.min_probability is not None and not 0 <= self.min_probability <= 1:
            raise UsageError(f"a min_probability of {self.min_probability}; expected 0 to 1")
        if self.probe is not None and (self.multi_label or self.judges_fit):
            raise UsageError(
                "--probe tells its own labels apart and nothing else; leave --multi-label,"
                " --min-probability and --unknown out"
            )

    @property
    def made_by(self) -> MadeBy | None:
        """Whose embeddings the calibration or the probe understands; None of words."""
        if self.calibration is not None:
            return self.calibration.made_by
        return None if self.probe is None else self.probe.origin.made_by

    @property
    def names(self) -> tuple[str, ...]:
        """Of all labels there are to choose from."""
        if self.probe is not None:
            return self.probe.labels
        labels = self.labels if self.calibration is None else self.calibration.labels
        return tuple(label.name for label in labels)

    @property
    def prompts(self) -> dict[str, str]:
        """In short, those of each label; a probe has none."""
        if self.calibration is not None:
            templates = self.calibration.made_by.templates
            return {one.name: prompts_in_short(one, templates) for one in self.calibration.labels}
        return {one.name: prompts_in_short(one, self.templates) for one in self.labels}

    @property
    def judges_fit(self) -> bool:
        """Whether a photograph may be found to fit no label."""
        return self.unknown is not None or self.min_probability is not None


def classify_photos(
    found: Iterable[FoundFile],
    embedder: Embedder,
    labeller: Labeller,
    options: RunOptions = RunOptions(),
) -> Iterator[Classified | Failure | PassedOver]:
    """The labels of each photograph, or why there are none, in the order given."""
    for some in embedder.embed_in_lists(found, options):
        embeddings = [record.embedding for record in some if isinstance(record, Embedded)]
        labelled = iter(labeller.label(np.stack(embeddings)) if embeddings else ())
        for record in some:
            if isinstance(record, Embedded):
                yield Classified(
                    record.path,
                    next(labelled),
                    labeller.made_by,
                    record.middle_only,
                    record.recalled,
                    labeller.scoring,
                )
            else:
                yield record


def open_labeller(
    request: LabelRequest, embedder: Embedder, preprocessing: str, truncate: bool = False
) -> Labeller:
    """The labeller of a request, its prompts encoded.

    preprocessing: of the photographs to label, as `DecodeOptions.name`. Raises UsageError for
    what was made by another model or of photographs prepared otherwise, and for a bad label.
    """
    now = embedder.spec.made_by(preprocessing)
    if request.probe is not None:
        made_by = request.probe.origin.made_by
        check_made_by(made_by, now, request.source, "fit a probe on this model")
        probe = request.probe
        made_by = replace(now, probe=probe.digest())
        label = partial(probe.label_photos, top_k=request.top_k or 1)
        return Labeller(made_by, label, "probe", probe.labels, probe.label_scores)
    labels, templates = request.labels, request.templates
    backgrounds: tuple[str, ...] = multi_label.BACKGROUND_PROMPTS
    thresholds = None
    if request.calibration is not None:
        calibration = request.calibration
        check_made_by(calibration.made_by, now, request.source, "calibrate again")
        if note := precision_note(calibration.made_by, now, request.source):
            logger.info(note)
        now = replace(now, calibration=calibration_file.digest(calibration))
        labels, templates = calibration.labels, calibration.made_by.templates
        backgrounds, thresholds = calibration.backgrounds, calibration.thresholds
    classifier = build_classifier(embedder, labels, templates, truncate)
    note_labels_without_evidence(embedder, labels)
    if request.calibration is None:
        note_foreign_labels(embedder, labels)
    made_by = replace(now, templates=tuple(templates))
    scoring: Scoring = classifier.score.kind
    if request.multi_label and thresholds is None and scoring == "softmax":
        logger.info(
            f"{embedder.spec.name} guesses which labels are there and how sure that is;"
            " `clipcli calibrate` improves the guess with labelled photographs"
        )
    if not (request.multi_label or request.calibration or request.judges_fit):
        return zero_shot_labeller(classifier, made_by, request.top_k or 1)
    judge = MultiLabelClassifier(classifier, embedder.encode_texts(backgrounds), thresholds)
    if request.multi_label and thresholds is not None:
        scoring = "calibrated"
    elif request.multi_label and scoring == "softmax":
        scoring = "presence"
    label = partial(
        multi_label.label_photos if request.multi_label else multi_label.label_photos_that_fit,
        judge=judge,
        top_k=request.top_k,
        min_probability=request.min_probability,
        unknown=request.unknown,
    )
    score = partial(zero_shot.label_scores, classifier=classifier)
    if request.multi_label:
        score = partial(multi_label.label_scores, judge=judge)
    return Labeller(made_by, label, scoring, classifier.names, score)


def zero_shot_labeller(classifier: Classifier, made_by: MadeBy, top_k: int) -> Labeller:
    """Always the best `top_k` labels. made_by: with the templates around their words."""
    return Labeller(
        made_by,
        partial(zero_shot.label_photos, classifier=classifier, top_k=top_k),
        classifier.score.kind,
        classifier.names,
        partial(zero_shot.label_scores, classifier=classifier),
    )


def note_foreign_labels(embedder: Embedder, labels: Sequence[Label]) -> None:
    """Say, once, that a model which knows English alone is asked in other letters."""
    foreign = [] if embedder.spec.is_multilingual else foreign_labels(labels)
    if foreign:
        logger.info(
            f"{', '.join(foreign[:5])}: not in Latin letters, and {embedder.spec.name} knows"
            f" English; write {foreign[0]} = ENGLISH WORD in a labels file"
        )


def note_labels_without_evidence(embedder: Embedder, labels: Sequence[Label]) -> None:
    """Say, once, which labels name nothing that the model learned, in none of their texts."""
    words = [text.text for label in labels for text in label.texts]
    # one prompt a text, in the template that the test was made for, whatever is scored
    filled = [prompt for label in labels for prompt in prompts(label, [DEFAULT_TEMPLATE])]
    doubts = iter(embedder.lacks_evidence(words, filled))
    unknown = [label.name for label in labels if all(list(islice(doubts, len(label.texts))))]
    if unknown:
        more = f" and {len(unknown) - N_NAMED} more" if len(unknown) > N_NAMED else ""
        logger.info(
            f"{embedder.spec.name} has no evidence for {', '.join(unknown[:N_NAMED])}{more}: it"
            " learned nothing near these words, and its answers to them mean little; a larger"
            f" model may know them: --model {PREFERRED}"
        )
