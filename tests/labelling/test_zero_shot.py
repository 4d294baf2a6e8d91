"""Ensembles, softmax and order, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from clipcli.errors import UsageError
from clipcli.labelling.classifier import Classifier, ensemble
from clipcli.labelling.zero_shot import label_photos, label_scores
from clipcli.models.score import Score
from clipcli.records import Prediction
from clipcli.search.query import weighted_sum

AXES = np.eye(3, dtype=np.float32)
NAMES = ("x", "y", "z")


def label_photo(
    embedding: NDArray[np.float32], classifier: Classifier, top_k: int
) -> tuple[Prediction, ...]:
    """One photograph, alone."""
    (predictions,) = label_photos(embedding[None], classifier, top_k)
    return predictions


def units(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    values = np.random.default_rng(seed).normal(size=shape)
    return (values / np.linalg.norm(values, axis=-1, keepdims=True)).astype(np.float32)


def test_ensemble_is_the_mean_at_unit_length() -> None:
    # (1, 0) and (0.6, 0.8): the sum (1.6, 0.8) has length sqrt(3.2)
    prompts = np.array([[1, 0], [0.6, 0.8]], dtype=np.float32)
    mean = ensemble(prompts)
    assert mean.dtype == np.float32
    assert mean == pytest.approx([0.894427191, 0.447213595], abs=1e-7)


def test_ensemble_of_one_prompt_is_the_prompt_itself() -> None:
    prompt = units(1, 512)
    assert (ensemble(prompt) == prompt[0]).all()


def test_prompt_given_three_times_weighs_three_times() -> None:
    mean = ensemble(AXES[[0, 0, 0, 1]])
    assert mean == pytest.approx([3 / 10**0.5, 1 / 10**0.5, 0], abs=1e-7)


def test_prompts_that_cancel_out_are_refused() -> None:
    with pytest.raises(UsageError, match=r"^the prompts of a label cancel each other out"):
        ensemble(np.array([[1, 0], [-1, 0]], dtype=np.float32))


def test_query_is_a_weighted_sum_at_unit_length() -> None:
    # 2 * x + y - 2 * z has length 3
    query = weighted_sum([AXES[0], AXES[1], AXES[2]], [2, 1, -2])
    assert query == pytest.approx([2 / 3, 1 / 3, -2 / 3], abs=1e-7)
    assert weighted_sum([AXES[0]], [-5]) == pytest.approx([-1, 0, 0])


def test_query_whose_parts_cancel_out_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^the parts of the query cancel each other out"):
        weighted_sum([AXES[0], AXES[0]], [1, -1])


def test_probabilities_are_the_softmax_of_scaled_cosines() -> None:
    # logits 100 * (0.6, 0.62, 0.5): differences of 2 and 12
    photo = np.array([0.6, 0.62, 0.5], dtype=np.float32)
    best = label_photo(photo, Classifier(NAMES, AXES, Score(100.0)), 3)
    total = 1 + np.exp(-2) + np.exp(-12)
    assert [prediction.label for prediction in best] == ["y", "x", "z"]
    assert [prediction.probability for prediction in best] == pytest.approx(
        [1 / total, np.exp(-2) / total, np.exp(-12) / total], rel=1e-4
    )
    assert [prediction.similarity for prediction in best] == pytest.approx([0.62, 0.6, 0.5])


def test_probabilities_sum_to_one_and_survive_a_large_scale() -> None:
    classifier = Classifier(tuple(map(str, range(1000))), units(1000, 64), Score(1e4))
    best = label_photo(units(64, seed=1), classifier, 1000)
    probabilities = [prediction.probability for prediction in best]
    assert sum(probabilities) == pytest.approx(1, abs=1e-12)
    assert probabilities == sorted(probabilities, reverse=True)
    assert np.isfinite(probabilities).all()


def test_probabilities_do_not_depend_on_top_k() -> None:
    classifier = Classifier(NAMES, AXES, Score(10.0))
    photo = units(3)
    assert label_photo(photo, classifier, 1) == label_photo(photo, classifier, 3)[:1]


def test_top_k_beyond_the_labels_gives_all() -> None:
    assert len(label_photo(AXES[0], Classifier(NAMES, AXES, Score(1.0)), 10)) == 3


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_equal_scores_are_ordered_as_the_labels_were_given(order: tuple[int, ...]) -> None:
    shared = units(64)
    names = tuple(NAMES[index] for index in order)
    classifier = Classifier(names, np.stack([shared] * 3), Score(100.0))
    best = label_photo(units(64, seed=1), classifier, 3)
    assert [prediction.label for prediction in best] == list(names)


def test_order_is_that_of_plain_numpy() -> None:
    labels, photos = units(50, 32), units(20, 32, seed=1)
    classifier = Classifier(tuple(map(str, range(50))), labels, Score(100.0))
    for photo in photos:
        expected = np.argsort(-(labels.astype(np.float64) @ photo))[:5]
        best = label_photo(photo, classifier, 5)
        assert [int(prediction.label) for prediction in best] == expected.tolist()


def test_the_rank_of_any_label_is_its_place_in_the_whole_list_also_among_equals() -> None:
    directions = units(6, 8)[[0, 1, 2, 0, 3, 0, 4, 5]]  # three labels are the same
    classifier = Classifier(tuple("abcdefgh"), directions, Score(20.0))
    photos = units(40, 8, seed=1)
    scores = label_scores(photos, classifier)
    for label, name in enumerate(classifier.names):
        ranks = scores.ranks(np.full(40, label))
        listed = label_photos(photos, classifier, 8)
        assert [
            [one.label for one in predictions].index(name) + 1 for predictions in listed
        ] == ranks.tolist()
