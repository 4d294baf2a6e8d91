"""What is known of a model that is not open: its spec, kept as JSON, and its batch size."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clipcli.models.score import Score
from clipcli.models.spec import ModelSpec
from clipcli.photos.preprocess import PreprocessConfig

SPEC = ModelSpec(
    name="lite",
    path="/models/lite.safetensors",
    activation=None,
    fingerprint="ab" * 32,
    preprocess=PreprocessConfig(260),
    embed_dim=384,
    context_length=77,
    tokenizer="clip",
    score=Score(20.0, mixes_classes=True),
    judges_words=True,
    device="cpu",
    precision="fp32",
    compiled=True,
)


def test_spec_comes_back_from_json() -> None:
    assert ModelSpec.from_json(SPEC.to_json()) == SPEC


@pytest.mark.parametrize(
    ("device", "compiled", "n_cores", "expected"),
    [("cpu", False, 2, 32), ("cpu", False, 64, 256), ("cpu", True, 2, 256), ("mps", False, 2, 256),
     ("cuda", False, 2, None), ("cuda:1", True, 2, None)],
)  # fmt: skip
def test_batch_size_is_known_without_the_model_except_on_cuda(
    device: str, compiled: bool, n_cores: int, expected: int | None
) -> None:
    spec = replace(SPEC, device=device, compiled=compiled)
    assert spec.batch_size(n_cores) == expected
