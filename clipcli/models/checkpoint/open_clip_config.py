"""`open_clip_config.json`: open_clip's own towers, and timm's of SigLIP and PE-Core."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from clipcli.errors import CheckpointError
from clipcli.models.checkpoint.description import Description, Seen, count, norm_eps, triple
from clipcli.models.checkpoint.shapes import Tower, Unseen
from clipcli.photos.preprocess import CLIP_MEAN, CLIP_STD
from clipcli.records import Activation

_MODEL_KEYS = {
    "embed_dim",
    "quick_gelu",
    "custom_text",
    "init_logit_bias",
    "vision_cfg",
    "text_cfg",
}
_VISION_KEYS = {"image_size", "layers", "width", "head_width", "patch_size", "mlp_ratio"}
_TIMM_KEYS = {"image_size", "timm_model_name", "timm_model_pretrained", "timm_pool", "timm_proj"}
_TEXT_KEYS = {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio"} | {
    *("no_causal_mask", "pool_type", "eos_id", "proj_bias", "norm_kwargs", "act_kwargs"),
    *("hf_tokenizer_name", "tokenizer_kwargs"),
}

_SIGLIP = re.compile(r"vit_(base|large|so400m|giantopt)_patch(\d+)_siglip_(\d+)")
_SIGLIP_HEADS = {"base": 12, "large": 16, "so400m": 16, "giantopt": 16}
# whose GELU timm approximates by tanh; of others it is exact
_SIGLIP_TANH = re.compile(r"base_patch32_|large_patch16_siglip_512|so400m_patch16_|giantopt_")
_PE_CORE = re.compile(r"vit_pe_core_(tiny|small|base|large)_patch(\d+)_(\d+)")
_PE_HEADS = {"tiny": 3, "small": 6, "base": 12, "large": 16}
_PE_POOL_HEADS = 8


def describe(config: dict[str, Any], path: Path) -> Description:
    """Raises CheckpointError, KeyError or ValueError for what is not built here."""
    model = config["model_cfg"]
    vision, text = model["vision_cfg"], model["text_cfg"]
    is_timm = "timm_model_name" in vision
    if is_timm and not (
        _SIGLIP.fullmatch(vision["timm_model_name"])
        or _PE_CORE.fullmatch(vision["timm_model_name"])
    ):
        raise CheckpointError(
            f"{path}: an image encoder of timm's, {vision['timm_model_name']}, is not built here;"
            " expected open_clip's own, a SigLIP's or a PE-Core's of size T, S, B or L"
        )
    if "hf_model_name" in text:
        raise CheckpointError(
            f"{path}: a text encoder of Hugging Face's, {text['hf_model_name']}, is not built here;"
            " expected open_clip's own"
        )
    unknown = vision.keys() - (_TIMM_KEYS if is_timm else _VISION_KEYS)
    unknown |= (text.keys() - _TEXT_KEYS) | (model.keys() - _MODEL_KEYS)
    if unknown:
        raise CheckpointError(
            f"{path}: {', '.join(sorted(unknown))} is not known here; expected a CLIP with"
            " open_clip's own towers and nothing but sizes"
        )
    quick_gelu = model.get("quick_gelu", False)
    if not isinstance(quick_gelu, bool):
        raise ValueError(f"quick_gelu is {quick_gelu!r}")
    activation: Activation = "quickgelu" if quick_gelu else "gelu"
    own = _timm(vision) if is_timm else _vision(vision, activation)
    unseen, expected = own
    pool_type = text.get("pool_type", "argmax")
    if pool_type not in ("argmax", "eos", "last"):
        raise ValueError(f"pool_type is {pool_type!r} of the text encoder")
    eps = norm_eps(text.get("norm_kwargs", {}).get("eps", 1e-5))
    tower = Tower(count(text.get("heads", 8)), _text_activation(text, activation), eps)
    unseen = Unseen(
        vision=unseen.vision,
        text=tower,
        pool=unseen.pool,
        px=count(vision["image_size"]),
        rotary=unseen.rotary,
        causal=not text.get("no_causal_mask", False),
        text_pool="last" if pool_type == "last" else "end",
        end_token=count(text["eos_id"]) if pool_type == "eos" else None,
    )
    expected = expected | {
        "embed_dim": model["embed_dim"],
        "image size": vision["image_size"],
        "context length": text.get("context_length"),
        "vocabulary": text.get("vocab_size"),
        "text width": text.get("width"),
        "text layers": text.get("layers"),
    }
    return Description(path.name, unseen, expected, _seen(config.get("preprocess_cfg", {}), path))


def _vision(vision: dict[str, Any], activation: Activation) -> tuple[Unseen, dict[str, object]]:
    """open_clip's own ViT or ResNet, and what its shapes must say."""
    is_resnet = isinstance(vision["layers"], list)
    width = count(vision.get("width", 64 if is_resnet else 768))
    head_width = count(vision.get("head_width", 64))
    heads, left_over = divmod(width * 32 if is_resnet else width, head_width)
    if left_over:
        raise ValueError(f"width {width} is no multiple of head_width {head_width}")
    layers = tuple(vision["layers"]) if is_resnet else vision["layers"]
    expected: dict[str, object] = {"vision width": width, "vision layers": layers}
    return Unseen(vision=Tower(count(heads), activation)), expected


def _timm(vision: dict[str, Any]) -> tuple[Unseen, dict[str, object]]:
    name, px = vision["timm_model_name"], vision["image_size"]
    if vision.get("timm_pool") != "map" or vision.get("timm_proj") not in (None, "none"):
        raise ValueError(f"{name} with pool {vision.get('timm_pool')!r}; expected 'map'")
    if siglip := _SIGLIP.fullmatch(name):
        activation: Activation = "gelu_tanh" if _SIGLIP_TANH.search(name) else "gelu"
        tower = Tower(_SIGLIP_HEADS[siglip[1]], activation, 1e-6)
        unseen, own_px = Unseen(vision=tower, pool=tower), siglip[3]
    else:
        pe_core = _PE_CORE.fullmatch(name)
        assert pe_core is not None
        tower = Tower(_PE_HEADS[pe_core[1]], "gelu", 1e-5)
        pool = Tower(_PE_POOL_HEADS, "gelu", 1e-5)
        unseen, own_px = Unseen(vision=tower, pool=pool, rotary=True), pe_core[3]
    if px != int(own_px):
        raise ValueError(f"{name} with pictures of {px} pixels; expected its own {own_px}")
    return unseen, {}


def _text_activation(text: dict[str, Any], activation: Activation) -> Activation:
    arguments = text.get("act_kwargs", {})
    if arguments not in ({}, {"approximate": "tanh"}, {"approximate": "none"}):
        raise ValueError(f"act_kwargs is {arguments!r}")
    if arguments.get("approximate") == "tanh" and activation == "gelu":
        return "gelu_tanh"
    return activation


def _seen(preprocess: dict[str, Any], path: Path) -> Seen:
    rule = preprocess.get("resize_mode", "shortest")
    interpolation = preprocess.get("interpolation", "bicubic")
    fill = preprocess.get("fill_color", 0)
    if (
        rule not in ("shortest", "squash", "longest")
        or interpolation not in ("bicubic", "bilinear")
        or fill != 0
    ):
        raise CheckpointError(
            f"{path}: resize_mode {rule!r}, interpolation {interpolation!r}, fill_color {fill!r};"
            " expected 'shortest', 'squash' or 'longest' with 'bicubic' or 'bilinear' and 0"
        )
    return Seen(
        mean=triple(preprocess.get("mean", CLIP_MEAN)),
        std=triple(preprocess.get("std", CLIP_STD)),
        resample=interpolation,
        rule=rule,
    )
