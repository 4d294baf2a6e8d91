"""Words and templates chosen on one half of some labelled photographs, tested on the other.

halves -> choose_words -> Trial -> rank_templates -> Trial -> Choice

Two questions, one after the other: which words stand for a label, and which templates around
them. An answer is chosen on the first half, and kept if on the second the 95 % interval of its
gain in accuracy, over what stood before it, lies above zero. The second half took no part in
choosing, so it does not matter how many answers the first has looked at: where nothing is better
than the default, each question finds a false winner in about one split of forty.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clipcli.embedding.embedder import Embedder
from clipcli.evaluation import metrics
from clipcli.evaluation.metrics import Floats, Indices, Interval, Right
from clipcli.evaluation.prompt_candidates import (
    DEFAULT,
    Candidate,
    candidate_classifiers,
    spelled_out,
)
from clipcli.labelling.calibration import stratified_folds
from clipcli.labelling.classifier import Classifier, build_classifier
from clipcli.labels.label import DEFAULT_TEMPLATE, Label

N_PHOTOS_LEAST = 10  # with five held out, five gained and none lost are just beyond chance
N_PHOTOS_AT_ONCE = 1024  # whose scores of all labels are in memory


class Half(NamedTuple):
    """Photographs, float32 [n, d], and their true labels' indices, int [n]."""

    embeddings: NDArray[np.float32]
    truth: Indices


@dataclass(frozen=True)
class Trial:
    """Which photographs held out were right before a change, and which are after it."""

    before: Right
    after: Right

    @property
    def n(self) -> int:
        return len(self.before)

    @property
    def accuracies(self) -> tuple[float, float]:
        return float(self.before.mean()), float(self.after.mean())

    @property
    def difference(self) -> float:
        return self.accuracies[1] - self.accuracies[0]

    @property
    def interval(self) -> Interval:
        return metrics.paired_interval(self.before, self.after)

    @property
    def is_passed(self) -> bool:
        return self.interval.low > 0


@dataclass(frozen=True)
class Choice:
    """What came out. A trial is None where the first half found nothing to test.

    `labels` hold whole prompts alone: the best that is known, the default where nothing beat it.
    `reworded` and `candidate` are what was tested, kept or not; `ranking` are the candidates with
    how many of `n_chosen_on` they had right, best first; `overall` compares the default and
    `labels` on the photographs held out.
    """

    labels: list[Label]
    n_chosen_on: int
    reworded: list[Label]
    words_trial: Trial | None
    candidate: Candidate
    templates_trial: Trial | None
    ranking: list[tuple[Candidate, int]]
    overall: Trial

    @property
    def beats_default(self) -> bool:
        return any(trial is not None and trial.is_passed for trial in self.trials)

    @property
    def trials(self) -> tuple[Trial | None, Trial | None]:
        return self.words_trial, self.templates_trial


def choose(
    embedder: Embedder,
    photos: Half,
    labels: Sequence[Label],
    rewordings: Mapping[str, Sequence[Label]],
    candidates: Sequence[Candidate],
    seed: int = 0,
    truncate: bool = False,
) -> Choice:
    """The words and templates that are better than `labels` in the default template.

    photos: all of them, at least N_PHOTOS_LEAST. rewordings: for a label's name, other ways to
    say it, each tried in its place. Raises TextTooLongError for labels that do not fit; a
    template too long for one of them is no candidate.
    """
    first, second = halves(photos.truth, seed)
    chosen_on = Half(photos.embeddings[first], photos.truth[first])
    held_out = Half(photos.embeddings[second], photos.truth[second])

    def judged(labels: Sequence[Label], templates: Sequence[str]) -> Right:
        classifier = build_classifier(embedder, labels, templates, truncate)
        return right(held_out, classifier)

    default = before = judged(labels, [DEFAULT_TEMPLATE])
    labels = list(labels)
    worded = choose_words(embedder, chosen_on, labels, rewordings, truncate)
    reworded = [new for new, old in zip(worded, labels, strict=True) if new != old]
    words_trial = None
    if reworded:
        words_trial = Trial(before, judged(worded, [DEFAULT_TEMPLATE]))
        if words_trial.is_passed:
            labels, before = worded, words_trial.after
    ranking = rank_templates(embedder, chosen_on, labels, candidates, truncate)
    candidate = ranking[0][0]
    templates_trial = None
    kept = DEFAULT
    if candidate.templates != DEFAULT.templates:
        templates_trial = Trial(before, judged(labels, candidate.templates))
        if templates_trial.is_passed:
            kept, before = candidate, templates_trial.after
    return Choice(
        [spelled_out(label, kept.templates) for label in labels],
        len(chosen_on.truth),
        reworded,
        words_trial,
        candidate,
        templates_trial,
        ranking,
        Trial(default, before),
    )


def halves(truth: Indices, seed: int) -> tuple[Indices, Indices]:
    """Indices of two halves, in rising order, with the same share of every label in each."""
    folds = stratified_folds(truth, 2, seed)
    return np.flatnonzero(folds == 0), np.flatnonzero(folds == 1)


def choose_words(
    embedder: Embedder,
    half: Half,
    labels: Sequence[Label],
    rewordings: Mapping[str, Sequence[Label]],
    truncate: bool = False,
) -> list[Label]:
    """The labels, each in the words that make the truth most probable, in the default template.

    By the mean probability of the true labels, since a label has too few photographs to count
    which are right. One label after the other, the others as they then are, until no change of
    one is a clear gain; each raises that mean, so there is an end.
    """
    options = [list(dict.fromkeys([label, *rewordings.get(label.name, ())])) for label in labels]
    flat = [option for some in options for option in some]
    of_options = build_classifier(embedder, flat, [DEFAULT_TEMPLATE], truncate)
    starts = np.cumsum([0, *map(len, options)]).tolist()
    scores = np.concatenate(list(_scores(half, _part(of_options, starts[:-1]))))
    of_truth = np.take_along_axis(scores, half.truth[:, None], axis=1)  # [n, 1]
    total = np.logaddexp.reduce(scores, axis=1, keepdims=True)  # [n, 1], log of the softmax's sum
    chosen = [0] * len(labels)
    is_settled = False
    while not is_settled:
        is_settled = True
        for label, some in enumerate(options):
            if len(some) == 1:
                continue
            places = range(starts[label], starts[label + 1])
            columns = _part(of_options, places).label_logits(half.embeddings)  # [n, n_options]
            current = columns[:, [chosen[label]]]
            with np.errstate(divide="ignore"):  # of a label that has all the probability
                others = total + np.log(-np.expm1(np.minimum(current - total, 0.0)))
            totals = np.logaddexp(others, columns)
            is_its_own = (half.truth == label)[:, None]
            probabilities = np.exp(np.where(is_its_own, columns, of_truth) - totals)
            best = int(probabilities.mean(axis=0).argmax())
            if is_clear_gain(probabilities[:, best] - probabilities[:, chosen[label]]):
                chosen[label] = best
                total = totals[:, [best]]
                of_truth = np.where(is_its_own, columns[:, [best]], of_truth)
                is_settled = False
    return [some[place] for some, place in zip(options, chosen, strict=True)]


def rank_templates(
    embedder: Embedder,
    half: Half,
    labels: Sequence[Label],
    candidates: Sequence[Candidate],
    truncate: bool = False,
) -> list[tuple[Candidate, int]]:
    """Candidates with how many answers they bring right, best first, equal ones as given.

    The default comes first unless the best is a clear gain over it.
    """
    if any(label.is_any for label in labels):  # a labels file cannot say it, see spelled_out
        candidates = [candidate for candidate in candidates if len(candidate.templates) == 1]
    candidates = list(dict.fromkeys([DEFAULT, *candidates]))
    rights = {
        candidate: right(half, classifier)
        for candidate, classifier in candidate_classifiers(embedder, labels, candidates, truncate)
    }
    ranking = sorted(
        (candidate for candidate in candidates if candidate in rights),
        key=lambda candidate: -int(rights[candidate].sum()),
    )
    if not is_clear_gain(rights[ranking[0]].astype(float) - rights[DEFAULT]):
        ranking = [DEFAULT, *(one for one in ranking if one != DEFAULT)]
    return [(candidate, int(rights[candidate].sum())) for candidate in ranking]


def right(half: Half, classifier: Classifier) -> Right:
    """Which photographs get their true label: bool [n]."""
    # of those equal in float32 the first, as everywhere
    answers = [scores.astype(np.float32).argmax(axis=1) for scores in _scores(half, classifier)]
    is_right: Right = np.concatenate(answers) == half.truth
    return is_right


def is_clear_gain(gains: Floats) -> bool:
    """Whether the sum of photographs' gains [n] is more than its standard error around zero.

    The rule of one standard error (Breiman et al. 1984, 3.4.3): near the best, the simplest. What
    one photograph alone gains is no reason to change anything.
    """
    return bool(gains.sum() > sqrt((gains**2).sum()))


def _scores(half: Half, classifier: Classifier) -> Iterator[Floats]:
    """Logits of labels, [n, n_labels], of some photographs after the other."""
    for start in range(0, len(half.embeddings), N_PHOTOS_AT_ONCE):
        yield classifier.label_logits(half.embeddings[start : start + N_PHOTOS_AT_ONCE])


def _part(classifier: Classifier, labels: Sequence[int]) -> Classifier:
    """A classifier of these labels of another, by their places."""
    ends = np.cumsum(classifier.n_classes)
    n_classes = tuple(classifier.n_classes[label] for label in labels)
    rows = [
        row
        for label, n in zip(labels, n_classes, strict=True)
        for row in range(ends[label] - n, ends[label])
    ]
    names = tuple(classifier.names[label] for label in labels)
    return Classifier(names, classifier.embeddings[rows], classifier.score, n_classes)
