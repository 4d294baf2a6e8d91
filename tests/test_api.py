"""The library: CLIP's own README runs, and paths become records."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from places import REFERENCE

import clipcli
import clipcli as clip


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


def test_every_public_name_can_be_had() -> None:
    assert all(getattr(clipcli, name) is not None for name in clipcli.__all__)
    assert clipcli.preprocess.image_transform(224).config.px == 224
    assert (Path(clipcli.__file__).parent / "py.typed").exists()


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
