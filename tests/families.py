"""A small SigLIP with random weights and a tokenizer, as its repository would hold it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from places import REFERENCE
from safetensors.torch import load_file, save_file

VOCAB_SIZES = {"siglip1": 1055, "siglip2": 1301}


def make_siglip(folder: Path, kind: str = "siglip2") -> Path:
    """The reference's model with a table for all tokens of the reference's tokenizer."""
    folder.mkdir()
    of_model = REFERENCE / "models" / f"{kind}_open_clip"
    tensors = load_file(of_model / "open_clip_model.safetensors")
    width = tensors["text.token_embedding.weight"].shape[1]
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(VOCAB_SIZES[kind], width, generator=generator)
    tensors["text.token_embedding.weight"] = table.half()
    save_file(tensors, folder / "open_clip_model.safetensors")
    config = json.loads((of_model / "open_clip_config.json").read_text(encoding="utf-8"))
    config["model_cfg"]["text_cfg"]["vocab_size"] = VOCAB_SIZES[kind]
    (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(REFERENCE / "tokenizers" / kind / name, folder)
    return folder
