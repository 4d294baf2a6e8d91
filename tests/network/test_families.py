"""SigLIP, PE-Core and CLIPs against the outputs of open_clip and of Hugging Face's transformers, in
every form in which they are computed. `tests/reference/make_models.py` made these."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from places import REFERENCE, SHARED
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from clipcli.errors import CheckpointError
from clipcli.models.checkpoint import checkpoint
from clipcli.runtime.cpu_transformer import FastVisionTransformer
from clipcli.runtime.forward import image_forward, int8_image_forward, text_forward

# how pictures become squares, and the GELU of both towers
MODELS = {
    "siglip1_open_clip": ("squash", "bicubic", "gelu", "gelu"),
    "siglip2_open_clip": ("squash", "bicubic", "gelu_tanh", "gelu_tanh"),
    "pe_core_open_clip": ("squash", "bilinear", "gelu", "gelu"),
    "clip_longest_open_clip": ("longest", "bicubic", "gelu", "gelu"),
    "clip_heads_80_open_clip": ("shortest", "bicubic", "gelu", "gelu"),
    "siglip1_hf": ("squash", "bicubic", "gelu_tanh", "gelu_tanh"),
    "siglip2_hf": ("squash", "bilinear", "gelu_tanh", "gelu_tanh"),
    "clip_gelu_hf": ("shortest", "bicubic", "gelu", "gelu"),
}
SQUARE_PX = 8
CPU = torch.device("cpu")


def expected_of(name: str) -> dict[str, Tensor]:
    expected = load_file(REFERENCE / "models" / name / "expected.safetensors")
    squares = expected.pop("squares").float()
    images = squares.repeat_interleave(SQUARE_PX, 2).repeat_interleave(SQUARE_PX, 3)
    return expected | {"images": images}


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", MODELS)
def test_outputs_are_the_references(name: str) -> None:
    expected = expected_of(name)
    model = checkpoint.load(REFERENCE / "models" / name)
    network = model.network
    with torch.inference_mode():
        assert_close(network.encode_image(expected["images"]), expected["image_features"])
        assert_close(network.encode_text(expected["tokens"]), expected["text_features"])
        per_image, per_text = network(expected["images"], expected["tokens"])
    assert_close(per_image, expected["logits_per_image"])
    assert_close(per_text, expected["logits_per_text"])
    seen, config = model.preprocess, network.config
    assert (seen.rule, seen.resample, config.vision.transformer.activation) == MODELS[name][:3]  # type: ignore[union-attr]
    assert config.text.transformer.activation == MODELS[name][3]


@pytest.mark.shared
def test_outputs_are_hugging_faces_siglip() -> None:
    expected = load_file(SHARED / "reference/models/siglip.expected.safetensors")
    network = checkpoint.load(SHARED / "reference/models/siglip_hf").network
    with torch.inference_mode():
        images = F.normalize(network.encode_image(expected["images"]), dim=-1)
        texts = F.normalize(network.encode_text(expected["tokens"]), dim=-1)
        per_image, _ = network(expected["images"], expected["tokens"])
    assert_close(images, expected["image_embeds"])
    assert_close(texts, expected["text_embeds"])
    assert_close(per_image, expected["logits_per_image"])


@pytest.mark.parametrize("name", MODELS)
def test_the_fast_forms_compute_the_same(name: str) -> None:
    model = checkpoint.load(REFERENCE / "models" / name)
    visual, seen, px = model.network.visual, model.preprocess, model.preprocess.px
    generator = torch.Generator().manual_seed(1)
    squares = torch.randint(256, (3, 3, -(-px // 8), -(-px // 8)), generator=generator)
    pixels = squares.repeat_interleave(8, 2).repeat_interleave(8, 3)[:, :, :px, :px]
    pixels = pixels.permute(0, 2, 3, 1).to(torch.uint8).contiguous()
    tokens = expected_of(name)["tokens"]
    with torch.inference_mode():
        plain = image_forward(copy.deepcopy(visual), seen, torch.float32, CPU)(pixels)
        texts = F.normalize(model.network.encode_text(tokens), dim=-1)
        in_steps = FastVisionTransformer(copy.deepcopy(visual), seen, torch.float32)(pixels)
        in_bf16 = image_forward(copy.deepcopy(visual), seen, torch.bfloat16, CPU)(pixels)
        in_int8 = int8_image_forward(visual, seen, torch.bfloat16)(pixels)
        texts_in_bf16 = text_forward(model.network, torch.bfloat16, CPU)(tokens)
    torch.testing.assert_close(F.normalize(in_steps, dim=-1), plain, atol=1e-5, rtol=0)
    for found, of, least in (
        (in_bf16, plain, 0.999),
        (in_int8, plain, 0.98),
        (texts_in_bf16, texts, 0.999),
    ):
        assert float((found * of).sum(dim=1).min()) > least


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("siglip2_open_clip", "visual.trunk.patch_embed.proj.bias"),
        ("siglip2_open_clip", "text.text_projection.bias"),
        ("siglip2_open_clip", "logit_bias"),
        ("siglip2_open_clip", "visual.trunk.attn_pool.q.weight"),
        ("pe_core_open_clip", "visual.trunk.cls_token"),
        ("pe_core_open_clip", "visual.trunk.norm_pre.weight"),
        ("pe_core_open_clip", "visual.trunk.head.bias"),
        ("pe_core_open_clip", "visual.trunk.attn_pool.latent"),
    ],
)
def test_a_part_that_is_missing_is_refused(name: str, missing: str, tmp_path: Path) -> None:
    folder = REFERENCE / "models" / name
    tensors = load_file(folder / "open_clip_model.safetensors")
    del tensors[missing]
    save_file(tensors, tmp_path / "open_clip_model.safetensors")
    config = (folder / "open_clip_config.json").read_bytes()
    (tmp_path / "open_clip_config.json").write_bytes(config)
    with pytest.raises(CheckpointError, match="expected") as caught:
        checkpoint.load(tmp_path)
    assert len(str(caught.value).splitlines()) == 1
