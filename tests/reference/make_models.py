"""Makes the small models of random weights in `models/`, and what open_clip and Hugging Face's
transformers make of them.

    pip install "torch>=2.6,<2.14" open_clip_torch==3.3.0 timm==1.0.31 transformers==5.24.0
    python tests/reference/make_models.py

The tests need none of these. Weights are rounded to float16, in which they are kept; outputs are
computed in float32. Pictures are kept as squares of 8 pixels, which a test repeats.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import open_clip
import timm
import torch
import transformers
from open_clip.model import CLIP, CLIPVisionCfg, CustomTextCLIP
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

MODELS = Path(__file__).parent / "models"
SQUARE_PX = 8
HALF = [0.5, 0.5, 0.5]

SIGLIP_TEXT = {
    "context_length": 64,
    "vocab_size": 300,
    "width": 48,
    "heads": 4,
    "layers": 2,
    "no_causal_mask": True,
    "proj_bias": True,
    "pool_type": "last",
    "norm_kwargs": {"eps": 1e-6},
}
# timm's model with fewer and narrower blocks; all that its name stands for stays
TRUNK = {"embed_dim": 48, "depth": 2}


def timm_vision(name: str, px: int, proj: str | None) -> dict[str, Any]:
    return {
        "image_size": px,
        "timm_model_name": name,
        "timm_model_pretrained": False,
        "timm_pool": "map",
        "timm_proj": proj,
    }


CASES: dict[str, dict[str, Any]] = {
    "siglip1_open_clip": {
        "model_cfg": {
            "embed_dim": 48,
            "init_logit_bias": -10,
            "custom_text": True,
            "vision_cfg": timm_vision("vit_base_patch16_siglip_224", 224, "none"),
            "text_cfg": SIGLIP_TEXT,
        },
        "preprocess_cfg": {
            "mean": HALF, "std": HALF, "interpolation": "bicubic", "resize_mode": "squash",
        },
    },
    "siglip2_open_clip": {
        "model_cfg": {
            "embed_dim": 48,
            "init_logit_bias": -10,
            "custom_text": True,
            "vision_cfg": timm_vision("vit_base_patch32_siglip_256", 256, "none"),
            "text_cfg": SIGLIP_TEXT | {"act_kwargs": {"approximate": "tanh"}},
        },
        "preprocess_cfg": {
            "mean": HALF, "std": HALF, "interpolation": "bicubic", "resize_mode": "squash",
        },
    },
    "pe_core_open_clip": {
        "model_cfg": {
            "embed_dim": 32,
            "custom_text": True,
            "vision_cfg": timm_vision("vit_pe_core_tiny_patch16_384", 384, None),
            "text_cfg": {
                "context_length": 32, "vocab_size": 300, "width": 64, "heads": 2, "layers": 2,
            },
        },
        "preprocess_cfg": {
            "mean": HALF, "std": HALF, "interpolation": "bilinear", "resize_mode": "squash",
        },
    },
    "clip_longest_open_clip": {
        "model_cfg": {
            "embed_dim": 24,
            "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "patch_size": 16},
            "text_cfg": {
                "context_length": 20, "vocab_size": 300, "width": 32, "heads": 2, "layers": 2,
            },
        },
        "preprocess_cfg": {"interpolation": "bicubic", "resize_mode": "longest"},
    },
    "clip_heads_80_open_clip": {
        "model_cfg": {
            "embed_dim": 24,
            "vision_cfg": {
                "image_size": 64, "layers": 2, "width": 160, "head_width": 80, "patch_size": 16,
                "mlp_ratio": 1.0,
            },
            "text_cfg": {
                "context_length": 20, "vocab_size": 300, "width": 32, "heads": 2, "layers": 2,
                "pool_type": "eos", "eos_id": 2,
            },
        },
        "preprocess_cfg": {"interpolation": "bicubic", "resize_mode": "shortest"},
    },
}  # fmt: skip

# what these do not say is the library's default: 12 heads, SigLIP's GELU, its 64 positions
HF_TOWER = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2}
HF_TEXT = HF_TOWER | {"vocab_size": 300}
HF_CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "siglip1_hf": (
        {
            "model_type": "siglip",
            "text_config": HF_TEXT,
            "vision_config": HF_TOWER | {"image_size": 64},
        },
        {
            "do_resize": True, "do_rescale": True, "do_normalize": True, "image_mean": HALF,
            "image_std": HALF, "resample": 3, "size": {"height": 64, "width": 64},
        },
    ),
    "siglip2_hf": (
        {
            "model_type": "siglip",
            "text_config": HF_TEXT | {
                "hidden_size": 36, "projection_size": 48, "num_attention_heads": 4,
            },
            "vision_config": HF_TOWER | {
                "image_size": 64, "patch_size": 32, "num_attention_heads": 4,
            },
        },
        {
            "do_resize": True, "do_rescale": True, "do_normalize": True, "image_mean": HALF,
            "image_std": HALF, "resample": 2, "size": {"height": 64, "width": 64},
        },
    ),
    # an end token below others, so that the highest one is another
    "clip_gelu_hf": (
        {
            "model_type": "clip",
            "projection_dim": 24,
            "text_config": HF_TEXT | {
                "hidden_act": "gelu", "layer_norm_eps": 1e-6, "eos_token_id": 150,
                "max_position_embeddings": 20,
            },
            "vision_config": HF_TOWER | {
                "image_size": 64, "hidden_act": "gelu", "layer_norm_eps": 1e-6,
            },
        },
        {"do_center_crop": True, "crop_size": 64, "do_resize": True, "size": 64},
    ),
}  # fmt: skip


def build(config: dict[str, Any]) -> nn.Module:
    model = config["model_cfg"]
    sizes = {
        "embed_dim": model["embed_dim"],
        "vision_cfg": model["vision_cfg"],
        "text_cfg": model["text_cfg"],
        "init_logit_bias": model.get("init_logit_bias"),
    }
    if not model.get("custom_text"):
        return CLIP(**sizes)
    create = timm.create_model

    def create_small(name: str, **options: Any) -> nn.Module:
        return create(name, **TRUNK, **options)

    timm.create_model = create_small
    try:
        return CustomTextCLIP(**sizes)
    finally:
        timm.create_model = create


def randomise(model: nn.Module) -> None:
    """Every weight random, norms and biases too, so that none could be left out unnoticed."""
    for name, parameter in model.named_parameters():
        nn.init.normal_(parameter, std=0.15)
        if "norm" in name or "ln_" in name:
            parameter.data += name.endswith("weight")
        if name == "logit_scale":
            parameter.data.fill_(2.5)
        if name == "logit_bias":
            parameter.data.fill_(-3.25)
        parameter.data = parameter.data.half().float()


@torch.no_grad()
def make(name: str, config: dict[str, Any]) -> None:
    torch.manual_seed(len(name))
    model = build(config).eval()
    randomise(model)
    text = config["model_cfg"]["text_cfg"]
    squares, images = pictures(config["model_cfg"]["vision_cfg"]["image_size"])
    tokens = token_rows(text["context_length"], text.get("eos_id", 299))
    logits = model.get_logits(images, tokens)
    write(
        name,
        {"open_clip_config.json": config},
        ("open_clip_model.safetensors", model),
        {
            "squares": squares,
            "tokens": tokens,
            "image_features": model.encode_image(images),
            "text_features": model.encode_text(tokens),
            "logits_per_image": logits[0],
            "logits_per_text": logits[1],
        },
    )


@torch.no_grad()
def make_hugging_face(name: str, config: dict[str, Any], seen: dict[str, Any]) -> None:
    torch.manual_seed(len(name))
    is_clip = config["model_type"] == "clip"
    kind, of_kind = (CLIPModel, CLIPConfig) if is_clip else (SiglipModel, SiglipConfig)
    full = of_kind.from_dict(config)
    model = kind(full).eval()
    randomise(model)
    squares, images = pictures(full.vision_config.image_size)
    end = full.text_config.eos_token_id if is_clip else 299
    tokens = token_rows(full.text_config.max_position_embeddings, end)
    found = model(input_ids=tokens, pixel_values=images)
    write(
        name,
        {"config.json": config, "preprocessor_config.json": seen},
        ("model.safetensors", model),
        {
            "squares": squares,
            "tokens": tokens,
            "image_features": model.get_image_features(pixel_values=images).pooler_output,
            "text_features": model.get_text_features(input_ids=tokens).pooler_output,
            "logits_per_image": found.logits_per_image,
            "logits_per_text": found.logits_per_text,
        },
    )


def pictures(px: int) -> tuple[Tensor, Tensor]:
    """What is kept, and what the model sees."""
    squares = torch.randn(2, 3, px // SQUARE_PX, px // SQUARE_PX).half()
    return squares, squares.float().repeat_interleave(SQUARE_PX, 2).repeat_interleave(SQUARE_PX, 3)


def token_rows(context_length: int, end: int) -> Tensor:
    """Five texts of a vocabulary of 300: an end token, then padding."""
    tokens = torch.randint(3, 299, (5, context_length))
    for row, length in enumerate((4, 9, 14, 19, 11)):
        tokens[row, length - 1] = end
        tokens[row, length:] = 0
    return tokens


def write(
    name: str,
    configs: dict[str, Any],
    weights: tuple[str, nn.Module],
    expected: dict[str, Tensor],
) -> None:
    folder = MODELS / name
    folder.mkdir(parents=True, exist_ok=True)
    for file_name, config in configs.items():
        (folder / file_name).write_text(json.dumps(config, indent=1) + "\n")
    file_name, model = weights
    tensors = {key: tensor.half().contiguous() for key, tensor in model.state_dict().items()}
    save_file(tensors, folder / file_name)
    save_file(
        {key: one.contiguous() for key, one in expected.items()}, folder / "expected.safetensors"
    )


if __name__ == "__main__":
    print(f"open_clip {open_clip.__version__}, timm {timm.__version__}, torch {torch.__version__}")
    print(f"transformers {transformers.__version__}")
    assert CLIPVisionCfg is not None
    for name, config in CASES.items():
        if not sys.argv[1:] or name in sys.argv[1:]:
            make(name, config)
    for name, (config, seen) in HF_CASES.items():
        if not sys.argv[1:] or name in sys.argv[1:]:
            make_hugging_face(name, config, seen)
