"""Both towers against the reference's outputs, and attention against its formula.

`logits` of the reference differ from ours by how sums are ordered; 1e-4 is what float32 leaves.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from places import REFERENCE, SHARED
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from clipcli.api import classify
from clipcli.embedding.local import RunOptions
from clipcli.models.checkpoint import checkpoint, shapes
from clipcli.models.encoder import Encoder
from clipcli.network.clip import CLIP
from clipcli.network.config import (
    ClipConfig,
    ResNetConfig,
    TextConfig,
    TransformerConfig,
    VisionTransformerConfig,
)
from clipcli.network.resnet import AttentionPool
from clipcli.network.transformer import MLP, Attention, QuickGELU
from clipcli.photos.decode import DecodeOptions
from clipcli.records import Classified

PUBLISHED = json.loads((REFERENCE / "published_models.json").read_text(encoding="utf-8"))
TOLERANCE = 1e-4

TEXT_512 = TextConfig(77, 49_408, TransformerConfig(512, 12, 8, 2048))
TEXT_640 = TextConfig(77, 49_408, TransformerConfig(640, 12, 10, 2560))
TEXT_768 = TextConfig(77, 49_408, TransformerConfig(768, 12, 12, 3072))
TEXT_1024 = TextConfig(77, 49_408, TransformerConfig(1024, 12, 16, 4096))
VIT_B = TransformerConfig(768, 12, 12, 3072)
VIT_L = TransformerConfig(1024, 24, 16, 4096)
# table 19 and 20 of the paper
ARCHITECTURES = {
    "RN50": ClipConfig(1024, ResNetConfig(224, (3, 4, 6, 3), 64, 32), TEXT_512),
    "RN101": ClipConfig(512, ResNetConfig(224, (3, 4, 23, 3), 64, 32), TEXT_512),
    "RN50x4": ClipConfig(640, ResNetConfig(288, (4, 6, 10, 6), 80, 40), TEXT_640),
    "RN50x16": ClipConfig(768, ResNetConfig(384, (6, 8, 18, 8), 96, 48), TEXT_768),
    "RN50x64": ClipConfig(1024, ResNetConfig(448, (3, 15, 36, 10), 128, 64), TEXT_1024),
    "ViT-B/32": ClipConfig(512, VisionTransformerConfig(224, 32, VIT_B), TEXT_512),
    "ViT-B/16": ClipConfig(512, VisionTransformerConfig(224, 16, VIT_B), TEXT_512),
    "ViT-L/14": ClipConfig(768, VisionTransformerConfig(224, 14, VIT_L), TEXT_768),
    "ViT-L/14@336px": ClipConfig(768, VisionTransformerConfig(336, 14, VIT_L), TEXT_768),
}


def vit_path(name: str) -> Path:
    return REFERENCE / "models" / name


@pytest.fixture(scope="module")
def expected() -> dict[str, Tensor]:
    return load_file(vit_path("vit.expected.safetensors"))


@pytest.fixture
def vit() -> CLIP:
    return checkpoint.load(vit_path("vit.pt")).network


def published_shapes(name: str) -> dict[str, Tensor]:
    return {
        key: torch.empty(shape, dtype=getattr(torch, dtype), device="meta")
        for key, (dtype, shape) in PUBLISHED[name]["tensors"].items()
    }


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0)


def assert_outputs(model: CLIP, expected: dict[str, Tensor]) -> None:
    with torch.inference_mode():
        assert_close(model.encode_image(expected["images"]), expected["image_features"])
        assert_close(model.encode_text(expected["tokens"]), expected["text_features"])
        per_image, per_text = model(expected["images"], expected["tokens"])
    assert_close(per_image, expected["logits_per_image"])
    assert_close(per_text, expected["logits_per_text"])


def cosine_distance(found: Tensor, expected: Tensor) -> float:
    cosines = F.cosine_similarity(found.double(), expected.double(), dim=-1)
    return float((1 - cosines).max())


def test_all_nine_published_models_are_known() -> None:
    assert list(PUBLISHED) == list(ARCHITECTURES)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_published_architecture_is_deduced_from_shapes(name: str) -> None:
    config = shapes.deduce(published_shapes(name))
    assert config == ARCHITECTURES[name]
    assert config.vision.px == PUBLISHED[name]["input_resolution"]
    assert config.embed_dim == PUBLISHED[name]["embed_dim"]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_published_model_has_exactly_the_published_tensors(name: str) -> None:
    with torch.device("meta"):
        model = CLIP(ARCHITECTURES[name])
    found = {key: list(tensor.shape) for key, tensor in model.state_dict().items()}
    assert found == {key: shape for key, (_, shape) in PUBLISHED[name]["tensors"].items()}
    assert sum(p.numel() for p in model.parameters()) == PUBLISHED[name]["n_parameters"]


@pytest.mark.parametrize("file", ["vit.pt", "vit_hf", "vit_hf/model.safetensors"])
def test_vision_transformer_gives_the_references_outputs(
    file: str, expected: dict[str, Tensor]
) -> None:
    assert_outputs(checkpoint.load(vit_path(file)).network, expected)


@pytest.mark.parametrize("suffix", ["state_dict.pt", "safetensors"])
def test_vision_transformer_in_other_formats_gives_the_references_outputs(
    suffix: str, expected: dict[str, Tensor], tmp_path: Path
) -> None:
    tensors = checkpoint.read(vit_path("vit.pt")).tensors
    path = tmp_path / f"vit.{suffix}"
    save = save_file if suffix == "safetensors" else torch.save
    save(tensors, path)
    assert_outputs(checkpoint.load(path).network, expected)


@pytest.mark.shared
@pytest.mark.parametrize(
    "file",
    [
        "vit.state_dict.pt",
        "vit.safetensors",
        "vit_hf",
        "resnet.pt",
        "resnet.state_dict.pt",
        "resnet.safetensors",
        "vit_open_clip",
        "vit_open_clip/open_clip_model.safetensors",
    ],
)
def test_shared_models_give_the_references_outputs(file: str) -> None:
    path = SHARED / f"reference/models/{file}"
    name = {"vit_hf": "vit"}.get(file, file.split("/")[0].split(".")[0])
    outputs = load_file(SHARED / f"reference/models/{name}.expected.safetensors")
    assert_outputs(checkpoint.load(path).network, outputs)


@pytest.mark.shared
@pytest.mark.parametrize("run", ["default", "ensemble"])
def test_trained_model_labels_photographs_as_the_reference_does(run: str) -> None:
    folder = SHARED / "reference/cifar"
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    records = classify(
        [folder / "photos"],
        expected["labels"],
        Encoder.open(str(folder / "cifar-clip.pt"), device="cpu", precision="fp32"),
        templates=expected[run]["templates"],
        top_k=10,
        options=RunOptions(DecodeOptions(reference=True)),
    )
    found = {}
    for record in records:
        assert isinstance(record, Classified)
        found[Path(record.path).name] = record.predictions
    assert len(found) == len(expected[run]["rows"]) == 200
    for row in expected[run]["rows"]:
        predictions = found[row["photo"]]
        assert predictions[0].label == row["label"], row["photo"]
        by_label = {prediction.label: prediction for prediction in predictions}
        for label, probability, similarity in zip(
            expected["labels"], row["probabilities"], row["similarities"], strict=True
        ):
            assert by_label[label].probability == pytest.approx(probability, abs=TOLERANCE)
            assert by_label[label].similarity == pytest.approx(similarity, abs=TOLERANCE)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float16, 1e-5), (torch.bfloat16, 1e-3)], ids=["fp16", "bf16"]
)
@pytest.mark.parametrize(
    "name",
    [
        "vit",
        pytest.param("resnet", marks=pytest.mark.shared),
        pytest.param("vit_open_clip", marks=pytest.mark.shared),
    ],
)
def test_half_precision_stays_near_the_reference(
    name: str, dtype: torch.dtype, tolerance: float
) -> None:
    folder = vit_path("") if name == "vit" else SHARED / "reference/models"
    path = folder / ("vit_open_clip" if name == "vit_open_clip" else f"{name}.pt")
    outputs = load_file(folder / f"{name}.expected.safetensors")
    model = checkpoint.load(path).network.to_precision(dtype)
    with torch.inference_mode():
        images = model.encode_image(outputs["images"])
        texts = model.encode_text(outputs["tokens"])
    assert images.dtype == texts.dtype == dtype
    assert cosine_distance(images, outputs["image_features"]) < tolerance
    assert cosine_distance(texts, outputs["text_features"]) < tolerance


def test_half_precision_keeps_norms_and_scale_in_float32(vit: CLIP) -> None:
    vit.to_precision(torch.float16)
    for name, tensor in vit.state_dict().items():
        in_float32 = ".ln_" in f".{name}" or name == "logit_scale"
        assert tensor.dtype == (torch.float32 if in_float32 else torch.float16), name


def test_padding_behind_the_end_mark_does_not_matter(
    vit: CLIP, expected: dict[str, Tensor]
) -> None:
    tokens = expected["tokens"]
    for row, embedding in zip(tokens, expected["text_features"], strict=True):
        length = int(row.argmax()) + 1
        with torch.inference_mode():
            assert_close(vit.encode_text(row[None, :length])[0], embedding)
    filled = torch.where(tokens.cumsum(1) == tokens.sum(1, keepdim=True), 7, tokens)
    filled[tokens > 0] = tokens[tokens > 0]
    assert not torch.equal(filled, tokens)
    with torch.inference_mode():
        assert_close(vit.encode_text(filled), expected["text_features"])


def test_logits_are_cosines_times_the_scale(vit: CLIP, expected: dict[str, Tensor]) -> None:
    images = F.normalize(expected["image_features"].double(), dim=-1)
    texts = F.normalize(expected["text_features"].double(), dim=-1)
    logits = (vit.logit_scale.double().exp() * images @ texts.t()).float()
    assert_close(logits, expected["logits_per_image"])


def softmax_attention(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    """softmax(q k^T / sqrt(d)) v, one query at a time."""
    rows = []
    for place, query in enumerate(q):
        seen = place + 1 if causal else len(k)
        weights = torch.exp(k[:seen] @ query / len(query) ** 0.5)
        rows.append((weights / weights.sum()) @ v[:seen])
    return torch.stack(rows)


@pytest.mark.parametrize("causal", [False, True])
def test_attention_equals_its_formula(causal: bool) -> None:
    torch.manual_seed(0)
    attention = Attention(width=12, heads=3).double()
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    matrix, bias = attention.in_proj_weight, attention.in_proj_bias
    for sample, found in zip(x, attention(x, causal), strict=True):
        q, k, v = (
            sample @ matrix[12 * part : 12 * (part + 1)].t() + bias[12 * part : 12 * (part + 1)]
            for part in range(3)
        )
        heads = [
            softmax_attention(q[:, i : i + 4], k[:, i : i + 4], v[:, i : i + 4], causal)
            for i in (0, 4, 8)
        ]
        mixed = torch.cat(heads, dim=1)
        projected = mixed @ attention.out_proj.weight.t() + attention.out_proj.bias
        torch.testing.assert_close(found, projected, atol=1e-12, rtol=1e-12)


def test_attention_pool_equals_its_formula() -> None:
    torch.manual_seed(0)
    pool = AttentionPool(grid=2, channels=6, heads=2, embed_dim=5).double()
    torch.nn.init.normal_(pool.positional_embedding)
    x = torch.randn(3, 6, 2, 2, dtype=torch.float64)
    for sample, found in zip(x, pool(x), strict=True):
        places = sample.reshape(6, 4).t()
        places = torch.cat([places.mean(dim=0)[None], places]) + pool.positional_embedding
        q, k, v = (
            places @ linear.weight.t() + linear.bias
            for linear in (pool.q_proj, pool.k_proj, pool.v_proj)
        )
        heads = [
            softmax_attention(q[:1, i : i + 3], k[:, i : i + 3], v[:, i : i + 3], causal=False)
            for i in (0, 3)
        ]
        mixed = torch.cat(heads, dim=1)[0]
        pooled = pool.c_proj.weight @ mixed + pool.c_proj.bias
        torch.testing.assert_close(found, pooled, atol=1e-12, rtol=1e-12)


def test_quickgelu_and_gelu_at_known_places() -> None:
    x = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)
    quick = QuickGELU()(x).tolist()
    # x / (1 + exp(-1.702 x)) and x * Phi(x)
    assert quick == pytest.approx([-0.15420423, 0.0, 0.84579577], abs=1e-8)
    exact = MLP(TransformerConfig(2, 1, 1, 4, "gelu"), width=2).gelu(x).tolist()
    assert exact == pytest.approx([-0.15865525, 0.0, 0.84134475], abs=1e-8)


def test_activation_changes_the_outputs(expected: dict[str, Tensor]) -> None:
    model = checkpoint.load(vit_path("vit.pt"), activation="gelu").network
    with torch.inference_mode():
        images = model.encode_image(expected["images"])
    assert not np.allclose(images, expected["image_features"], atol=TOLERANCE)


@pytest.mark.parametrize("name", ["ViT-B/32", "RN50"])
def test_initial_weights_are_complete_and_finite(name: str) -> None:
    text = TextConfig(7, 50, TransformerConfig(64, 1, 1, 256))
    vision = {
        "ViT-B/32": VisionTransformerConfig(32, 16, TransformerConfig(64, 2, 1, 256)),
        "RN50": ResNetConfig(64, (1, 1, 1, 1), 16, 8),
    }[name]
    torch.manual_seed(0)
    model = CLIP(ClipConfig(24, vision, text)).initialize_parameters()
    assert float(model.logit_scale.detach()) == pytest.approx(2.6592600)
    for key, parameter in model.named_parameters():
        assert torch.isfinite(parameter).all(), key
    images, texts = model(torch.zeros(2, 3, vision.px, vision.px), torch.tensor([[48, 3, 49]]))
    assert images.shape == (2, 1)
    assert texts.shape == (1, 2)
