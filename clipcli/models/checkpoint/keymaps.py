"""Tensor names of other libraries to OpenAI's, which are ours."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from clipcli.errors import CheckpointError

# Hugging Face's CLIPModel; the misspelt "pre_layrnorm" is theirs
_HF_TOP = {
    "logit_scale": "logit_scale",
    "text_projection.weight": "text_projection",
    "visual_projection.weight": "visual.proj",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm.weight": "visual.ln_pre.weight",
    "vision_model.pre_layrnorm.bias": "visual.ln_pre.bias",
    "vision_model.post_layernorm.weight": "visual.ln_post.weight",
    "vision_model.post_layernorm.bias": "visual.ln_post.bias",
}
_HF_TRANSPOSED = ("text_projection.weight", "visual_projection.weight")
_HF_TOWERS = {"text_model": "transformer", "vision_model": "visual.transformer"}
_HF_BLOCK = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
# positions 0, 1, 2, ... that old versions of the library saved with the weights
_HF_DERIVED = re.compile(r"(text|vision)_model\.embeddings\.position_ids")
_HF_LAYER = re.compile(r"(text_model|vision_model)\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")


def openai_names(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The same tensors under OpenAI's names; those already there pass as they are."""
    if "text_model.embeddings.token_embedding.weight" in tensors:
        return _from_hugging_face(tensors, path)
    return tensors


def _from_hugging_face(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    renamed: dict[str, Tensor] = {}
    qkv: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if _HF_DERIVED.fullmatch(name):
            continue
        if name in _HF_TOP:
            renamed[_HF_TOP[name]] = tensor
            if name in _HF_TRANSPOSED and tensor.ndim == 2:
                renamed[_HF_TOP[name]] = tensor.t().contiguous()
            continue
        match = _HF_LAYER.fullmatch(name)
        if match is None:
            raise CheckpointError(f"{path}: unknown tensor {name}; expected those of a CLIPModel")
        tower, layer, part, kind = match.groups()
        block = f"{_HF_TOWERS[tower]}.resblocks.{layer}"
        if part in _HF_BLOCK:
            renamed[f"{block}.{_HF_BLOCK[part]}.{kind}"] = tensor
        elif part in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"):
            qkv.setdefault(f"{block}.attn.in_proj_{kind}", {})[part[10]] = tensor
        else:
            raise CheckpointError(f"{path}: unknown tensor {name}; expected those of a CLIPModel")
    for name, parts in qkv.items():
        shapes = {part.shape for part in parts.values()}
        if set(parts) != set("qkv") or len(shapes) != 1 or shapes == {()}:
            raise CheckpointError(
                f"{path}: {name} needs q, k and v of one shape, found"
                f" { ({key: list(part.shape) for key, part in sorted(parts.items())}) };"
                " expected the tensors of a CLIPModel"
            )
        renamed[name] = torch.cat([parts[key] for key in "qkv"])
    return renamed
