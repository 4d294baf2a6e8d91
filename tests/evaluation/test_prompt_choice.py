"""Better words and templates: chosen on one half, believed on the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from places import SHARED
from scipy.special import softmax

from clipcli.embedding.embedder import Embedder
from clipcli.errors import UsageError
from clipcli.evaluation.metrics import paired_interval
from clipcli.evaluation.prompt_candidates import (
    Candidate,
    candidate_classifiers,
    own_rewordings,
    plural,
    read_rewordings,
    spelled_out,
    template_candidates,
)
from clipcli.evaluation.prompt_choice import (
    Choice,
    Half,
    Trial,
    choose,
    choose_words,
    halves,
    is_clear_gain,
    right,
)
from clipcli.labelling.classifier import Classifier, build_classifier
from clipcli.labelling.zero_shot import label_photos
from clipcli.labels.folder_labels import folder_labels
from clipcli.labels.label import DEFAULT_TEMPLATE, Label, Text
from clipcli.labels.templates import IMAGENET80, TEMPLATE_SETS
from clipcli.models.score import Score
from clipcli.photos import truth
from clipcli.records import Embedded, Photo

NAMES = ("cat", "rocket", "coffee", "violin")
NONSENSE = ("dax", "wug", "blick", "toma", "zib", "glorp", "fep", "nork", "quib", "plim")


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    return Embedder.open("lite", precision="fp32", cache_dir=tmp_path_factory.mktemp("remembered"))


def words(name: str, *texts: str) -> Label:
    return Label(name, tuple(map(Text, texts)))


def near(embedder: Embedder, names: Sequence[str], n_each: int, seed: int = 0) -> Half:
    """Points around what the model says of each name, in place of photographs."""
    random = np.random.default_rng(seed)
    centres = embedder.encode_texts([DEFAULT_TEMPLATE.format(name) for name in names])
    points = np.repeat(centres, n_each, axis=0).astype(np.float64)
    points += 0.6 * random.normal(size=points.shape) / np.sqrt(points.shape[1])
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return Half(points.astype(np.float32), np.repeat(np.arange(len(names)), n_each))


# --- halves


@pytest.mark.parametrize("counts", [(20, 20, 20), (7, 1, 4, 9), (1, 1, 1), (0, 5, 3)])
def test_halves_share_the_photographs_of_every_label(counts: tuple[int, ...]) -> None:
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))
    first, second = halves(labels, seed=3)
    assert sorted([*first, *second]) == list(range(sum(counts)))
    assert 0 <= len(first) - len(second) <= 1
    for label in range(len(counts)):
        assert abs(int((labels[first] == label).sum() - (labels[second] == label).sum())) <= 1


def test_halves_are_the_seed_s_and_no_other_s() -> None:
    labels = np.repeat(np.arange(4), 25)
    assert [some.tolist() for some in halves(labels, 5)] == [
        some.tolist() for some in halves(labels, 5)
    ]
    assert halves(labels, 5)[0].tolist() != halves(labels, 6)[0].tolist()


# --- scores


@pytest.mark.parametrize("n_classes", [(), (1, 1, 1, 1, 1, 1), (2, 1, 3)])
def test_scores_are_those_that_photographs_are_labelled_by(n_classes: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)

    def units(n: int) -> NDArray[np.float32]:
        values = random.normal(size=(n, 16))
        return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)

    n_labels = len(n_classes) or 6
    classifier = Classifier(tuple(map(str, range(n_labels))), units(6), Score(20.0), n_classes)
    photos = units(50)
    scores = classifier.label_logits(photos)
    labelled = label_photos(photos, classifier, n_labels)
    for row, predictions in zip(softmax(scores, axis=1), labelled, strict=True):
        assert {int(one.label): one.probability for one in predictions} == pytest.approx(
            dict(enumerate(row))
        )
    answers = np.array([int(predictions[0].label) for predictions in labelled])
    assert right(Half(photos, answers), classifier).all()
    assert not right(Half(photos, (answers + 1) % n_labels), classifier).any()


def test_of_labels_in_the_same_words_the_first_is_the_answer(embedder: Embedder) -> None:
    photos = near(embedder, ["cat", "rocket"], 3)
    labels = [words("a", "cat"), words("b", "cat"), words("c", "rocket")]
    classifier = build_classifier(embedder, labels, [DEFAULT_TEMPLATE])
    assert right(photos, classifier).tolist() == [True] * 3 + [False] * 3


# --- what is tried


def test_candidates_are_the_named_sets_first_and_no_two_alike() -> None:
    candidates = template_candidates({"mine.txt": ["{}", "a {}", "{}"], "same": ["a {}"]})
    assert candidates[0] == Candidate("simple", (DEFAULT_TEMPLATE,))
    assert [one.name for one in candidates[:6]] == [*TEMPLATE_SETS, "mine.txt", "same"]
    assert candidates[4].templates == ("{}", "a {}")
    singles = [one.templates for one in candidates[6:]]
    published = set(IMAGENET80) | set(TEMPLATE_SETS["cifar18"])
    assert {some for (some,) in singles} == published - {DEFAULT_TEMPLATE} | {"{}"}
    assert len({one.templates for one in candidates}) == len(candidates)


def test_a_hint_is_one_more_template() -> None:
    hinted = {one.name for one in template_candidates(hint="bird")}
    assert hinted - {one.name for one in template_candidates()} == {
        "a photo of a {}, a type of bird."
    }


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        ("cat", "cats"), ("polar bear", "polar bears"), ("bus", "buses"), ("fox", "foxes"),
        ("bench", "benches"), ("galaxy", "galaxies"), ("day", "days"), ("galaxies", None),
        ("猫", None), ("b747", None), ("", None),
    ],
)  # fmt: skip
def test_plurals_are_regular_or_none(noun: str, expected: str | None) -> None:
    assert plural(noun) == expected


def test_a_label_s_own_rewordings_are_its_name_and_the_plural() -> None:
    assert own_rewordings(words("polar_bear", "white bear")) == [
        words("polar_bear", "polar bear"),
        words("polar_bear", "polar bears"),
    ]


def test_each_text_of_a_rewording_is_tried_alone_and_any_as_one(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text('polar bear = bear | "a polar bear."\ndog = any: poodle | beagle\n')
    labels = folder_labels(["polar_bear", "dog"])
    assert read_rewordings(str(path), labels) == {
        "polar_bear": [
            words("polar_bear", "bear"),
            Label("polar_bear", (Text("a polar bear.", is_prompt=True),)),
        ],
        "dog": [Label("dog", (Text("poodle"), Text("beagle")), is_any=True)],
    }
    path.write_text("cat = kitty\n")
    with pytest.raises(UsageError, match=r"words\.txt: cat is not among the labels; expected re"):
        read_rewordings(str(path), labels)


def test_candidates_classify_as_their_templates_do(embedder: Embedder) -> None:
    labels = [
        Label("pet", (Text("cat"), Text("dog"), Text("a small animal.", is_prompt=True))),
        words("rocket", "rocket"),
        Label("drink", (Text("a cup of tea.", is_prompt=True),)),
        Label("sky", (Text("galaxy"), Text("the moon.", is_prompt=True)), is_any=True),
    ]
    candidates = template_candidates()[:10]
    for candidate, found in candidate_classifiers(embedder, labels, candidates, truncate=False):
        expected = build_classifier(embedder, labels, candidate.templates)
        assert (found.names, found.n_classes) == (expected.names, expected.n_classes)
        assert found.embeddings == pytest.approx(expected.embeddings, abs=1e-6)


def test_a_template_too_long_for_a_label_is_left_out_with_its_sets(embedder: Embedder) -> None:
    long = f"{'very ' * 80}good photo of a {{}}."
    candidates = template_candidates({"long": [long, "{}"]})
    labels = [words(name, name) for name in NAMES]
    found = {one for one, _ in candidate_classifiers(embedder, labels, candidates, False)}
    assert {one.name for one in candidates} - {one.name for one in found} == {"long", long}
    truncated = dict(candidate_classifiers(embedder, labels, candidates, True))
    assert len(truncated) == len(candidates)


@pytest.mark.parametrize(
    ("label", "templates"),
    [
        (words("pet", "cat", "dog"), ["a {}.", "the {}.", "{}"]),
        (Label("pet", (Text("cat"), Text("a dog.", is_prompt=True))), ["a {}.", "the {}."]),
        (Label("pet", (Text("cat"), Text("dog")), is_any=True), ["a {}."]),
    ],
)
def test_a_label_spelled_out_needs_no_templates(
    embedder: Embedder, label: Label, templates: list[str]
) -> None:
    spelled = spelled_out(label, templates)
    assert all(text.is_prompt for text in spelled.texts)
    found, expected = (
        build_classifier(embedder, [some], given).embeddings
        for some, given in ((spelled, ["another {}"]), (label, templates))
    )
    assert (found == expected).all()


# --- choosing


def test_words_are_those_that_make_the_truth_most_probable(embedder: Embedder) -> None:
    """One label among four: its choice is the best of all, counted by hand."""
    photos = near(embedder, NAMES, 6)
    labels = [words("dax", "dax"), *(words(name, name) for name in NAMES[1:])]
    options = [words("dax", text) for text in ("dog", "cat", "kitten", "teapot")]
    found, *others = choose_words(embedder, photos, labels, {"dax": options})
    assert others == labels[1:]

    def mean_probability(option: Label) -> float:
        tried = [option, *labels[1:]]
        classifier = build_classifier(embedder, tried, [DEFAULT_TEMPLATE])
        logits = embedder.spec.score.scale * photos.embeddings @ classifier.embeddings.T
        return float(softmax(logits, axis=1)[np.arange(24), photos.truth].mean())

    assert found == max([labels[0], *options], key=mean_probability) == words("dax", "cat")


def test_labels_are_reworded_one_after_the_other_until_all_are_well(embedder: Embedder) -> None:
    photos = near(embedder, NAMES, 6)
    labels = [words(nonsense, nonsense) for nonsense in NONSENSE[:4]]
    ways = {label.name: [words(label.name, name) for name in NAMES] for label in labels}
    chosen = choose_words(embedder, photos, labels, ways)
    assert [label.texts[0].text for label in chosen] == list(NAMES)
    assert choose_words(embedder, photos, chosen, ways) == chosen


def test_a_gain_is_clear_where_it_is_more_than_its_standard_error() -> None:
    assert not is_clear_gain(np.zeros(9))
    assert not is_clear_gain(np.array([1.0, -1.0, 1.0, -1.0]))
    assert is_clear_gain(np.array([0.2, 0.1, 0.3]))
    one = np.eye(100)[0]
    assert not is_clear_gain(one)  # whatever it gains
    assert is_clear_gain(np.eye(100)[:2].sum(axis=0))


def test_a_trial_is_passed_where_the_interval_of_the_gain_lies_above_zero() -> None:
    before = np.zeros(100, dtype=bool)
    after = before.copy()
    for n_gained, is_passed in ((3, False), (4, False), (5, True), (9, True)):
        after[:n_gained] = True
        trial = Trial(before, after)
        assert trial.interval == paired_interval(before, after)
        assert trial.is_passed == is_passed
        assert not Trial(after, before).is_passed
    assert trial.accuracies == (0.0, 0.09)
    assert not Trial(before, before).is_passed


def test_where_nothing_is_better_a_trial_is_passed_by_chance_alone() -> None:
    """The default's and the candidate's answers, given to either by the toss of a coin."""
    random = np.random.default_rng(0)
    for n_discordant in (5, 8, 12, 20, 40):
        n_passed = 0
        for _ in range(1000):
            gained = random.random(n_discordant) < 0.5
            before, after = np.zeros((2, 100), dtype=bool)
            before[:n_discordant], after[:n_discordant] = ~gained, gained
            n_passed += Trial(before, after).is_passed
        assert n_passed <= 50


def chosen(embedder: Embedder, photos: Half, labels: Sequence[Label], *texts: str) -> Choice:
    """With these texts as rewordings of every label."""
    ways = {label.name: [words(label.name, text) for text in texts] for label in labels}
    return choose(embedder, photos, labels, ways, template_candidates())


def test_planted_words_are_found_and_measured_on_the_other_half(embedder: Embedder) -> None:
    photos = near(embedder, NAMES, 10)
    labels = [words("dax", "dax"), words("wug", "wug"), *(words(n, n) for n in NAMES[2:])]
    choice = chosen(embedder, photos, labels, *NAMES)
    assert choice.beats_default
    assert choice.reworded == [words("dax", "cat"), words("wug", "rocket")]
    assert choice.n_chosen_on == choice.overall.n == 20
    assert choice.words_trial is not None
    assert (choice.overall.before == choice.words_trial.before).all()
    rows = halves(photos.truth, 0)[1]
    held_out = Half(photos.embeddings[rows], photos.truth[rows])
    saved = build_classifier(embedder, choice.labels, ["unused {}"])
    assert right(held_out, saved).tolist() == choice.overall.after.tolist()


def test_where_the_default_is_best_it_is_kept(embedder: Embedder) -> None:
    photos = near(embedder, NAMES, 10)
    labels = [words(name, name) for name in NAMES]
    choice = chosen(embedder, photos, labels, *NONSENSE)
    assert not choice.beats_default
    assert choice.labels == [spelled_out(label, [DEFAULT_TEMPLATE]) for label in labels]
    assert choice.overall.difference == 0.0


def test_labels_that_are_any_of_several_are_tried_in_single_templates(embedder: Embedder) -> None:
    photos = near(embedder, NAMES, 6)
    pets = Label("cat", (Text("cat"), Text("dog")), is_any=True)
    choice = chosen(embedder, photos, [pets, *(words(name, name) for name in NAMES[1:])])
    assert all(len(candidate.templates) == 1 for candidate, _ in choice.ranking)
    assert choice.labels[0].is_any


# --- the bar, on 200 photographs and a model trained on others of the kind


@pytest.fixture(scope="module")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> tuple[Embedder, Half, list[str]]:
    folder = SHARED / "reference" / "cifar"
    embedder = Embedder.open(
        str(folder / "cifar-clip.pt"), precision="fp32", cache_dir=tmp_path_factory.mktemp("cifar")
    )
    known = truth.read_truth(str(folder / "truth.csv"))
    found = list(embedder.embed_photos([Photo(one.path) for one in known.photos]))
    places = [known.labels.index(one.label) for one in known.photos]
    embeddings = [one.embedding for one in found if isinstance(one, Embedded)]
    return embedder, Half(np.stack(embeddings), np.array(places)), known.labels


@pytest.mark.shared
def test_no_false_winner_in_18_of_20_random_relabellings_of_the_templates(
    cifar: tuple[Embedder, Half, list[str]],
) -> None:
    """Twenty templates with their words in another order, beside the published ones."""
    embedder, photos, names = cifar
    labels = folder_labels(names)
    ways = {label.name: own_rewordings(label) for label in labels}
    n_false = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        relabelled = [
            " ".join(random.permutation(template.split()))
            for template in random.choice(IMAGENET80, 20, replace=False)
        ]
        candidates = template_candidates({"relabelled": relabelled})
        n_false += choose(embedder, photos, labels, ways, candidates, seed).beats_default
    assert n_false <= 2


@pytest.mark.shared
@pytest.mark.parametrize("n_planted", [3, 10])
def test_planted_wordings_are_found_in_20_of_20(
    cifar: tuple[Embedder, Half, list[str]], n_planted: int
) -> None:
    """Labels called by words that say nothing; the true ones stand among four others as empty.

    Of the words themselves one in twenty may differ: to this model an empty word is sometimes as
    good a name for what no other label fits.
    """
    embedder, photos, names = cifar
    n_winners = n_words = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        said = random.permutation(NONSENSE).tolist()
        labels = folder_labels(names)
        ways = {label.name: own_rewordings(label) for label in labels}
        planted = random.permutation(len(names))[:n_planted].tolist()
        for place in planted:
            name = names[place]
            labels[place] = words(name, said[place])
            decoys = [word for word in said if word != said[place]][:4]
            ways[name] = [words(name, word) for word in random.permutation([name, *decoys])]
        choice = choose(embedder, photos, labels, ways, template_candidates(), seed)
        n_winners += choice.beats_default
        n_words += sum(names[p] in choice.labels[p].texts[0].text for p in planted)
    assert n_winners == 20
    assert n_words >= 0.95 * 20 * n_planted
