"""`label = any: word | word`: each word a class, their probabilities summed, the best cosine."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from program import Result

from clipcli.embedding.embedder import Embedder
from clipcli.errors import UsageError
from clipcli.labelling.classifier import Classifier, build_classifier
from clipcli.labelling.zero_shot import label_photos
from clipcli.labels.label import Label, Text, labels_file_line, prompts_of_classes, read_labels_file
from clipcli.models.score import Score

POODLE, BEAGLE = Text("poodle"), Text("beagle")


def read_line(path: Path, line: str) -> Label:
    path.write_text(line, encoding="utf-8")
    (label,) = read_labels_file(str(path))
    return label


@pytest.mark.parametrize(
    ("line", "label"),
    [
        ("dog = any: poodle | beagle", Label("dog", (POODLE, BEAGLE), is_any=True)),
        ("dog=any:poodle|beagle # both", Label("dog", (POODLE, BEAGLE), is_any=True)),
        ("dog = poodle | beagle", Label("dog", (POODLE, BEAGLE))),
        ("dog = any: poodle", Label("dog", (POODLE,), is_any=True)),
        ('dog = any: "a b." | poodle', Label("dog", (Text("a b.", True), POODLE), is_any=True)),
        ("dog = anybody", Label("dog", (Text("anybody"),))),
        ('dog = "any: poodle"', Label("dog", (Text("any: poodle", True),))),
        ("any: poodle", Label("any: poodle", (Text("any: poodle"),))),
    ],
)
def test_any_opens_the_texts_of_a_label(tmp_path: Path, line: str, label: Label) -> None:
    assert read_line(tmp_path / "labels.txt", line) == label


def test_any_of_nothing_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"labels\.txt, line 1: an empty text"):
        read_line(tmp_path / "labels.txt", "dog = any:")


@pytest.mark.parametrize(
    "label",
    [
        Label("dog", (Text("dog"),)),
        Label("dog", (POODLE, BEAGLE), is_any=True),
        Label("dog", (Text("dog"),), is_any=True),
        Label("dog", (POODLE, Text('the "big" one = | #', True)), is_any=True),
        Label("C# = a \\", (Text("a page of C#"), Text(" spaces stay ", True))),
        Label("猫", (Text("cat"),)),
        Label("animal/dog", (Text("dog"),)),
        Label("animal/dog", (Text("animal/dog"),)),
    ],
)
def test_a_written_label_is_read_as_it_was(tmp_path: Path, label: Label) -> None:
    assert read_line(tmp_path / "labels.txt", labels_file_line(label)) == label


def test_every_text_of_any_is_a_class_in_all_templates() -> None:
    label = Label("dog", (POODLE, Text("a beagle.", True)), is_any=True)
    templates = ["a {}.", "the {}."]
    assert prompts_of_classes(label, templates) == [["a poodle.", "the poodle."], ["a beagle."]]
    averaged = Label("dog", label.texts)
    assert prompts_of_classes(averaged, templates) == [["a poodle.", "the poodle.", "a beagle."]]


def test_probabilities_are_summed_and_the_best_cosine_is_kept() -> None:
    """cat 0.5, poodle 0.48, beagle 0.47 under a scale of 100: logits 50, 48, 47."""
    photo = np.array([[0.5, 0.48, 0.47]], dtype=np.float32)
    axes = np.eye(3, dtype=np.float32)
    (best,) = label_photos(photo, Classifier(("cat", "dog"), axes, Score(100.0), (1, 2)), 2)
    total = 1 + math.exp(-2) + math.exp(-3)
    assert [one.label for one in best] == ["cat", "dog"]
    assert [one.probability for one in best] == pytest.approx(
        [1 / total, (math.exp(-2) + math.exp(-3)) / total], rel=1e-5
    )
    assert [one.similarity for one in best] == pytest.approx([0.5, 0.48])


def test_two_good_classes_together_beat_a_better_one() -> None:
    """Logits 50 against 49.5 twice: 1 against 2 exp(-0.5) = 1.213."""
    photo = np.array([[0.5, 0.495, 0.495]], dtype=np.float32)
    axes = np.eye(3, dtype=np.float32)
    (best,) = label_photos(photo, Classifier(("cat", "dog"), axes, Score(100.0), (1, 2)), 1)
    (dog,) = best
    assert dog.label == "dog"
    assert dog.probability == pytest.approx(2 / (2 + math.exp(0.5)), rel=1e-5)
    assert dog.similarity == pytest.approx(0.495)


def test_scores_of_real_photographs_are_a_hand_written_sum_and_maximum(
    lite: str, example_photos: Path, tmp_path: Path, cli: Callable[..., Result]
) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("pet = any: cat | dog | rabbit\nrocket\nscene = galaxies | coffee\n")
    arguments = ("--model", lite, "--precision", "fp32")
    found = cli(
        "classify", example_photos, *arguments, "--labels-file", path, "--top-k", 3,
        "--template", "a {}.", "--template", "a photo of a {}.", "--format", "jsonl",
    )  # fmt: skip
    assert found.code == 0
    photos = cli("embed", example_photos, *arguments, "--format", "jsonl").objects
    embedder = Embedder.open(lite, precision="fp32")
    words = ("cat", "dog", "rabbit", "rocket", "galaxies", "coffee")

    def texts(*some: str) -> np.ndarray:
        filled = [t.format(word) for word in some for t in ("a {}.", "a photo of a {}.")]
        mean = embedder.encode_texts(filled).astype(np.float64).mean(axis=0)
        return mean / np.linalg.norm(mean)

    classes = np.stack([*(texts(word) for word in words[:4]), texts(*words[4:])])
    for photo, record in zip(photos, found.objects, strict=True):
        cosines = classes @ np.array(photo["embedding"])
        exponentials = np.exp(embedder.spec.score.scale * cosines)
        shares = exponentials / exponentials.sum()
        expected = {
            "pet": (shares[:3].sum(), cosines[:3].max()),
            "rocket": (shares[3], cosines[3]),
            "scene": (shares[4], cosines[4]),
        }
        predictions = {p["label"]: p for p in record["predictions"]}
        order = sorted(expected, key=lambda name: -expected[name][0])
        assert list(predictions) == order
        for name, (probability, cosine) in expected.items():
            assert predictions[name]["probability"] == pytest.approx(probability, abs=1e-5)
            assert predictions[name]["similarity"] == pytest.approx(cosine, abs=1e-5)


def test_a_classifier_says_how_many_classes_a_label_has(lite: str) -> None:
    labels = [Label("dog", (POODLE, BEAGLE), is_any=True), Label("cat", (Text("cat"),))]
    classifier = build_classifier(Embedder.open(lite), labels, ["a {}."])
    assert classifier.n_classes == (2, 1)
    assert classifier.embeddings.shape[0] == 3


def test_eval_and_classify_agree_on_labels_of_several_classes(
    lite: str, example_photos: Path, tmp_path: Path, cli: Callable[..., Result]
) -> None:
    (tmp_path / "labels.txt").write_text("animal = any: cat | dog\nrocket\nother = any: coffee\n")
    (tmp_path / "truth.csv").write_text(
        f"{example_photos}/cat.jpg,animal\n{example_photos}/rocket.jpg,rocket\n"
        f"{example_photos}/coffee.jpg,other\n"
    )
    result = cli(
        "eval", tmp_path / "truth.csv", "--model", lite,
        "--labels-file", tmp_path / "labels.txt", "--format", "json",
    )  # fmt: skip
    assert json.loads(result.stdout)["top1"] == 1.0
