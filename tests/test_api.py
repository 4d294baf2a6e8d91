"""The library: CLIP's own README runs, and paths become records."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from places import REFERENCE, TESTS
from program import Result

import clipcli
import clipcli as clip
from clipcli import Classified, Label, LabelRequest, MadeBy, Text, UsageError
from clipcli.labelling import calibration_file

WORDS = ("astronaut", "cat", "coffee", "galaxies", "photographer", "rocket")
LABELS = tuple(Label(word, (Text(word),)) for word in WORDS)
CALIBRATION = TESTS / "made_by_0_1_0" / "calibration.json"
PROBE = TESTS / "made_by_0_1_0" / "labels.probe"
FINGERPRINT = "bf990aa2fee3bda4292d5e45ce217c90f9f3607df272b996fc841ae4aab05440"
TEMPLATE = "a photo of a {}."


def calibrated(**more: Any) -> LabelRequest:
    return LabelRequest(calibration=clipcli.read_calibration(str(CALIBRATION)), **more)


# what the command is told, and what Python is
WAYS_TO_LABEL: dict[str, tuple[tuple[object, ...], Callable[[], LabelRequest]]] = {
    "zero-shot": (
        ("--labels", ",".join(WORDS), "--top-k", 3),
        lambda: LabelRequest(LABELS, top_k=3),
    ),
    "templates": (
        ("--labels", ",".join(WORDS), "--template", "a {}.", "--template", "one {}."),
        lambda: LabelRequest(LABELS, templates=("a {}.", "one {}.")),
    ),
    "multi-label": (
        ("--labels", ",".join(WORDS[:3]), "--multi-label", "--unknown", "other"),
        lambda: LabelRequest(LABELS[:3], multi_label=True, unknown="other"),
    ),
    "min-probability": (
        ("--labels", ",".join(WORDS), "--min-probability", 0.9),
        lambda: LabelRequest(LABELS, min_probability=0.9),
    ),
    "calibration": (("--calibration", CALIBRATION), calibrated),
    "calibrated multi-label": (
        ("--calibration", CALIBRATION, "--multi-label", "--unknown", "other", "--top-k", 1),
        lambda: calibrated(multi_label=True, unknown="other", top_k=1),
    ),
    "probe": (
        ("--probe", PROBE, "--top-k", 2),
        lambda: LabelRequest(probe=clipcli.read_probe(str(PROBE)), top_k=2),
    ),
}
# of the ways whose probabilities are not the softmax over all labels
SCORING = {"multi-label": "presence", "calibrated multi-label": "calibrated", "probe": "probe"}


@pytest.fixture(scope="module")
def encoder() -> clipcli.Encoder:
    return clipcli.Encoder.open("lite", device="cpu", precision="fp32")


def python(script: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program of a user's own, in its own process."""
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env=os.environ | environment,
    )


def stacked(records: Iterable[object]) -> NDArray[np.float32]:
    """The embeddings of all that was embedded: float32 [n, d]."""
    return np.stack([one.embedding for one in records if isinstance(one, clipcli.Embedded)])


def classified(
    request: LabelRequest, encoder: clipcli.Encoder, folder: Path
) -> list[clipcli.Classified]:
    records = clipcli.classify(folder, request, encoder)
    return [record for record in records if isinstance(record, Classified)]


def test_the_code_of_clips_readme_runs(lite: str, example_photos: Path) -> None:
    model, preprocess = clip.load(lite, device="cpu")
    image = preprocess(Image.open(example_photos / "cat.jpg")).unsqueeze(0)
    text = clip.tokenize(["a diagram", "a dog", "a cat"])
    with torch.no_grad():
        image_features = model.encode_image(image)
        text_features = model.encode_text(text)
        logits_per_image, logits_per_text = model(image, text)
        probabilities = logits_per_image.softmax(dim=-1).numpy()
    assert (image_features.shape, text_features.shape) == ((1, 384), (3, 384))
    assert (logits_per_image.shape, logits_per_text.shape) == ((1, 3), (3, 1))
    cosines = torch.cosine_similarity(image_features, text_features)
    expected = (model.logit_scale.exp() * cosines).softmax(dim=-1).numpy()
    np.testing.assert_allclose(probabilities[0], expected, atol=1e-6)
    assert image.dtype == torch.float32
    assert pickle.loads(pickle.dumps(preprocess)) == preprocess


def test_the_published_models_are_available_by_name() -> None:
    published = REFERENCE / "published_models.json"
    assert clip.available_models() == list(json.loads(published.read_text()))


def test_preprocessing_is_had_as_clips_users_write_it() -> None:
    assert clipcli.preprocess.image_transform(224).config.px == 224
    assert (Path(clipcli.__file__).parent / "py.typed").exists()


def test_a_path_of_labels_is_shown_by_its_last_part(lite: str, example_photos: Path) -> None:
    encoder = clipcli.Encoder.open(lite)
    whole, last = (
        [*clipcli.classify(example_photos / "cat.jpg", labels, encoder)]
        for labels in (["animal/cat", "thing/cup"], ["cat", "cup"])
    )
    assert [one.label for one in whole[0].predictions] == ["animal/cat"]
    assert whole[0].predictions[0].similarity == last[0].predictions[0].similarity
    with pytest.raises(UsageError, match=r"labels: a\|b: a \| in a label"):
        clipcli.classify(example_photos, ["a|b"], encoder)


def test_paths_become_records(lite: str, example_photos: Path) -> None:
    encoder = clipcli.Encoder.open(lite)
    records = list(clipcli.classify([example_photos], ["dog", "cat"], encoder, top_k=2))
    labelled = [record for record in records if isinstance(record, clipcli.Classified)]
    passed_over = [record for record in records if isinstance(record, clipcli.PassedOver)]
    assert (len(labelled), len(passed_over)) == (6, 1)
    assert {p.label for p in labelled[0].predictions} == {"dog", "cat"}

    (embedded,) = clipcli.embed([example_photos / "cat.jpg"], encoder)
    assert isinstance(embedded, clipcli.Embedded)
    assert np.isclose(np.linalg.norm(embedded.embedding), 1, atol=1e-6)

    query = str(example_photos / "cat.jpg")
    best, *others = clipcli.similar(query, [example_photos], encoder)
    assert isinstance(best, clipcli.Match)
    assert best.path != query
    assert len(others) == 4


@pytest.mark.parametrize("way", WAYS_TO_LABEL)
def test_python_labels_as_the_command_does(
    cli: Callable[..., Result], encoder: clipcli.Encoder, example_photos: Path, way: str
) -> None:
    options, request = WAYS_TO_LABEL[way]
    model = ("--model", "lite", "--device", "cpu", "--precision", "fp32", "--format", "jsonl")
    printed = cli("classify", example_photos, *options, *model).objects
    assert [
        {
            "path": record.path,
            "predictions": [
                {
                    "label": one.label,
                    "probability": round(one.probability, 6),
                    "similarity": round(one.similarity, 6),
                    "accepted": one.is_accepted,
                }
                for one in record.predictions
            ],
            "scoring": record.scoring,
            "model": record.model,
        }
        for record in classified(request(), encoder, example_photos)
    ] == printed
    assert len(printed) == 6
    assert {one["scoring"] for one in printed} == {SCORING.get(way, "softmax")}


def test_what_no_answer_could_be_read_by_is_refused_before_a_model_is_opened() -> None:
    cat = (Label("cat", (Text("cat"),)),)
    for unknown in ("cat", " Cat "):
        with pytest.raises(UsageError, match="cat is one of the labels"):
            LabelRequest(cat, unknown=unknown)
    with pytest.raises(UsageError, match="nature is one of the labels"):
        calibrated(unknown="Nature")
    with pytest.raises(UsageError, match="an empty name"):
        LabelRequest(cat, unknown=" ")
    with pytest.raises(UsageError, match=r"has 2 {} for the label"):
        LabelRequest(cat, templates=("{} {}",))


def test_no_label_is_an_unknown(encoder: clipcli.Encoder, example_photos: Path) -> None:
    predictions = [
        one
        for _, request in WAYS_TO_LABEL.values()
        for record in classified(request(), encoder, example_photos)
        for one in record.predictions
    ]
    assert {one.label for one in predictions if one.is_unknown} == {"other"}
    assert "other" not in {one.label for one in predictions if not one.is_unknown}


def test_every_record_says_where_it_comes_from(
    encoder: clipcli.Encoder, example_photos: Path
) -> None:
    made_by = MadeBy("lite", FINGERPRINT, "fp32", "pad exact")
    options = clipcli.RunOptions(clipcli.DecodeOptions(fit="pad", exact=True))
    cat = example_photos / "cat.jpg"
    (embedded,) = clipcli.embed(cat, encoder, options=options)
    (labelled,) = clipcli.classify(
        cat, ["cat"], encoder, templates=["a {}.", "{}"], options=options
    )
    best, *_ = clipcli.similar("a cat", example_photos, encoder, is_text=True, options=options)
    (text,) = clipcli.Embedder.of(encoder).embed_texts(["a cat"])
    assert [record.made_by for record in (embedded, labelled, best, text)] == [
        made_by,
        MadeBy("lite", FINGERPRINT, "fp32", "pad exact", templates=("a {}.", "{}")),
        made_by,
        MadeBy("lite", FINGERPRINT, "fp32", "text"),
    ]
    assert {record.model for record in (embedded, labelled, best, text)} == {"lite"}


@pytest.mark.parametrize("way", WAYS_TO_LABEL)
def test_labels_say_what_photographs_were_held_against(
    encoder: clipcli.Encoder, example_photos: Path, way: str
) -> None:
    request = WAYS_TO_LABEL[way][1]()
    expected = MadeBy(
        "lite",
        FINGERPRINT,
        "fp32",
        "crop",
        templates=() if request.probe else request.templates,
        calibration=request.calibration and calibration_file.digest(request.calibration),
        probe=request.probe and request.probe.digest(),
    )
    assert {one.made_by for one in classified(request, encoder, example_photos)} == {expected}
    assert clipcli.open_labeller(request, encoder).made_by == expected


LABEL_ELSEWHERE = """
import pickle, sys
from pathlib import Path
labellers, embeddings = pickle.loads(Path(sys.argv[1]).read_bytes())
answers = [labeller.label(embeddings) for labeller in labellers]
Path(sys.argv[2]).write_bytes(pickle.dumps(answers))
assert "torch" not in sys.modules
"""


def test_a_labeller_labels_alike_in_a_process_without_torch(
    encoder: clipcli.Encoder, example_photos: Path, tmp_path: Path
) -> None:
    labellers = [clipcli.open_labeller(request(), encoder) for _, request in WAYS_TO_LABEL.values()]
    embeddings = stacked(clipcli.embed(example_photos, encoder))
    there, back = tmp_path / "there", tmp_path / "back"
    there.write_bytes(pickle.dumps((labellers, embeddings)))
    python(LABEL_ELSEWHERE, there, back)
    assert pickle.loads(back.read_bytes()) == [one.label(embeddings) for one in labellers]
    again = pickle.loads(pickle.dumps(labellers[0]))
    records = clipcli.classify(example_photos, again, encoder)
    labelled = [one.predictions for one in records if isinstance(one, Classified)]
    assert labelled == labellers[0].label(embeddings)


ENCODE_ELSEWHERE = """
import pickle, sys
from pathlib import Path
import clipcli
encoder = clipcli.Encoder.from_spec(pickle.loads(Path(sys.argv[1]).read_bytes()))
photos = [one.embedding for one in clipcli.embed(sys.argv[3:], encoder)]
texts = encoder.encode_texts(["a cat", "a photo of a rocket."])
Path(sys.argv[2]).write_bytes(pickle.dumps((encoder.spec, photos, texts)))
"""


@pytest.mark.parametrize("precision", ["fp32", "auto"])
def test_a_model_opened_from_its_spec_elsewhere_is_the_same_to_the_bit(
    example_photos: Path, tmp_path: Path, precision: Any
) -> None:
    encoder = clipcli.Encoder.open("lite", device="cpu", precision=precision)
    there, back = tmp_path / "there", tmp_path / "back"
    there.write_bytes(pickle.dumps(encoder.spec))
    paths = sorted(map(str, example_photos.glob("*.jpg")))
    python(ENCODE_ELSEWHERE, there, back, *paths)
    spec, photos, texts = pickle.loads(back.read_bytes())
    assert spec == encoder.spec
    assert np.array_equal(np.stack(photos), stacked(clipcli.embed(paths, encoder)))
    assert np.array_equal(texts, encoder.encode_texts(["a cat", "a photo of a rocket."]))


USE = """
import sys, clipcli
embedder = clipcli.Embedder.open("lite")
records = list(clipcli.classify(sys.argv[1], ["cat", "qwertzuiop"], embedder))
assert [type(one).__name__ for one in records] == ["Failure", "Classified"]
"""


@pytest.fixture
def album(tmp_path: Path, example_photos: Path) -> Path:
    """A broken photograph and a good one, beside a cache that is no database."""
    folder = tmp_path / "album"
    folder.mkdir()
    (folder / "broken.jpg").write_bytes(b"no photograph")
    (folder / "cat.jpg").write_bytes((example_photos / "cat.jpg").read_bytes())
    (tmp_path / "embeddings.sqlite").write_bytes(b"no database" * 1000)
    return folder


def test_the_library_is_silent(album: Path) -> None:
    done = python(USE, album, CLIPCLI_CACHE=str(album.parent))
    assert (done.stdout, done.stderr) == ("", "")


def test_a_handler_hears_what_the_library_has_to_say(album: Path, notes: list[str]) -> None:
    embedder = clipcli.Embedder.open("lite", cache_dir=album.parent)
    list(clipcli.classify(album, ["cat", "qwertzuiop"], embedder))
    warning, note = notes
    assert warning.startswith(f"embedding cache {album.parent / 'embeddings.sqlite'}: ")
    assert note.startswith("lite has no evidence for qwertzuiop: ")
