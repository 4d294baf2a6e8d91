"""Every command with a SigLIP: scores of each label on its own, and its own tokenizer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from families import make_siglip
from PIL import Image
from program import Result

from clipcli.embedding.embedder import Embedder
from clipcli.models.siglip_tokenizer import TOKENIZER_FILE

Cli = Callable[..., Result]
LABELS = "cat,coffee,rocket"


@pytest.fixture(scope="module", params=["siglip1", "siglip2"])
def either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_siglip(tmp_path_factory.mktemp("models") / str(request.param), request.param)


@pytest.fixture(scope="module")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_siglip(tmp_path_factory.mktemp("models") / "siglip2")


def test_probabilities_are_a_sigmoid_of_each_cosine(
    cli: Cli, either: Path, example_photos: Path
) -> None:
    done = cli("classify", example_photos, "--labels", LABELS, "--top-k", 3, "--model", either)
    assert done.code == 0
    embedder = Embedder.open(str(either))
    scale, bias = embedder.spec.score.scale, embedder.spec.score.bias
    assert bias == -3.25
    rows = done.rows
    assert {row["scoring"] for row in rows} == {"sigmoid"}
    for row in rows:
        logit = scale * float(row["similarity"]) + bias
        assert float(row["probability"]) == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-4)
    sums = [sum(float(row["probability"]) for row in rows[at : at + 3]) for at in (0, 3, 6)]
    assert all(abs(total - 1) > 0.05 for total in sums)
    assert "do not add up to 1" in done.stderr
    arguments = ("classify", example_photos, "--labels", LABELS, "--format", "json")
    as_json = cli(*arguments, "--model", either)
    assert {one["scoring"] for one in json.loads(as_json.stdout)} == {"sigmoid"}


def test_presence_and_unknowns_are_judged_by_the_same_probability(
    cli: Cli, siglip: Path, example_photos: Path
) -> None:
    arguments = ("classify", example_photos, "--labels", LABELS, "--model", siglip)
    alone = {
        (row["path"], row["label"]): row["probability"]
        for row in cli(*arguments, "--top-k", 3).rows
    }
    there = cli(*arguments, "--multi-label", "--min-probability", 0)
    assert {(row["path"], row["label"]): row["probability"] for row in there.rows} == alone
    assert {row["scoring"] for row in there.rows} == {"sigmoid"}
    assert "guesses" not in there.stderr
    unknown = cli(*arguments, "--unknown", "other").rows
    for row in unknown:
        best = max(float(chance) for (path, _), chance in alone.items() if path == row["path"])
        assert (row["label"] == "other") == (best < 0.5)


def test_a_squashed_picture_is_never_said_to_be_judged_by_its_middle(
    cli: Cli, siglip: Path, example_photos: Path, tmp_path: Path
) -> None:
    with Image.open(example_photos / "rocket.jpg") as picture:
        picture.resize((640, 100)).save(tmp_path / "wide.jpg")
    for fit, is_cropped in ((), True), (("--fit", "squash"), False):
        # what one model saw of the picture is not remembered of the other
        of_lite = cli("embed", tmp_path, *fit, "--model", "lite")
        assert ("the middle alone" in of_lite.stderr) == is_cropped
        for _ in range(2):
            done = cli("embed", tmp_path, *fit, "--model", siglip)
            assert done.code == 0
            assert "2:1" not in done.stderr
    default, squashed, padded = (
        cli("embed", tmp_path, *fit, "--model", siglip).stdout
        for fit in ((), ("--fit", "squash"), ("--fit", "pad"))
    )
    assert default == squashed != padded


def test_a_label_of_several_classes_has_the_best_of_them(
    cli: Cli, siglip: Path, example_photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "labels.txt").write_text("animal = any: cat | dog\nrocket\n", encoding="utf-8")
    arguments = ("classify", example_photos / "cat.jpg", "--model", siglip, "--top-k", 9)
    joined = cli(*arguments, "--labels-file", tmp_path / "labels.txt")
    apart = cli(*arguments, "--labels", "cat,dog,rocket")
    chances = {row["label"]: float(row["probability"]) for row in apart.rows}
    found = {row["label"]: float(row["probability"]) for row in joined.rows}
    assert found == {"animal": max(chances["cat"], chances["dog"]), "rocket": chances["rocket"]}


def test_a_warm_run_needs_no_model_and_a_new_text_does(
    cli: Cli, siglip: Path, example_photos: Path
) -> None:
    arguments = ("classify", example_photos, "--labels", LABELS, "--model", siglip)
    first = cli(*arguments)
    again = cli(*arguments)
    assert again.stdout == first.stdout
    assert "all known from before" in again.stderr
    assert cli("similar", "a dog", example_photos, "--model", siglip).code == 0


def test_other_letters_are_no_matter_to_a_model_of_many_languages(
    cli: Cli, either: Path, example_photos: Path
) -> None:
    done = cli("classify", example_photos, "--labels", "кошка,cat", "--model", either)
    assert done.code == 0  # these tables are small, so both count as English
    assert "not in Latin letters" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("eval", "{}"),
        ("eval", "{}", "--templates", "imagenet80"),
        ("prompts", "choose", "{}"),
        ("calibrate", "{}", "-o", "{}.cal"),
        ("probe", "fit", "{}", "-o", "{}.probe"),
        ("embed", "{}"),
        ("embed", "--text", "a dog"),
        ("similar", "--text", "a dog", "{}"),
    ],
    ids=" ".join,
)
def test_command_works_with_a_sigmoid(
    cli: Cli, siglip: Path, labelled: Path, arguments: tuple[str, ...]
) -> None:
    done = cli(*(one.format(labelled) for one in arguments), "--model", siglip)
    assert "Traceback" not in done.stderr
    # random weights tell nothing about the labels, and ten photographs are the least for words
    honest = {"calibrate": "are no nearer to their own labels", "prompts": "10"}
    if done.code:
        assert honest[arguments[0]] in done.stderr
    else:
        assert done.stdout or arguments[0] in ("calibrate", "probe")


def test_training_goes_on_from_a_clip_only(cli: Cli, siglip: Path, labelled: Path) -> None:
    done = cli("train", labelled, "--init", siglip, "-o", labelled.parent / "run")
    assert done.code == 2
    assert "not built as CLIP is (SigLIP" in done.last_line


def test_without_a_tokenizer_only_pictures_are_encoded(
    cli: Cli, siglip: Path, example_photos: Path, tmp_path: Path
) -> None:
    bare = Path(shutil.copytree(siglip, tmp_path / "bare"))
    (bare / TOKENIZER_FILE).unlink()
    assert cli("embed", example_photos, "--model", bare).code == 0
    done = cli("classify", example_photos, "--labels", LABELS, "--model", bare)
    assert done.code == 1
    assert done.stdout == b""
    assert "expected the model's tokenizer beside its weights" in done.last_line


def test_another_tokenizer_is_another_model(siglip: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(siglip, tmp_path / "other"))
    before = Embedder.open(str(other)).spec.fingerprint
    path = other / TOKENIZER_FILE
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert Embedder.open(str(other)).spec.fingerprint != before
