"""The model to start from, and the file that it becomes."""

from __future__ import annotations

import difflib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import save
from torch import Tensor

from clipcli.errors import ModelError, UsageError
from clipcli.files.part_file import write_whole
from clipcli.models.checkpoint import checkpoint
from clipcli.models.on_disk import catalogue
from clipcli.models.on_disk.locate import locate
from clipcli.models.tokenizer import clip_tokenizer
from clipcli.network.clip import CLIP
from clipcli.network.config import (
    ClipConfig,
    EfficientNetLiteConfig,
    TextConfig,
    VisionTransformerConfig,
)
from clipcli.photos.preprocess import CLIP_MEAN, CLIP_STD, PreprocessConfig
from clipcli.records import Activation
from clipcli.training.architectures import HEAD_WIDTH, PUBLISHED, SMALL

FROM_SCRATCH = "new:"
CONFIG_FILE = "open_clip_config.json"

Frozen = Literal["image", "text"]


@dataclass(frozen=True)
class Start:
    """A model in float32 on the CPU, its preprocessing, and whether its weights are random."""

    model: CLIP
    preprocess: PreprocessConfig
    is_new: bool


def open_start(
    init: str, seed: int, activation: Activation | None = None, cache_dir: str | None = None
) -> Start:
    """A size by name with random weights (`tiny`, `new:ViT-B/32`), or a checkpoint as `--model`
    takes it. Raises ModelError where there is none, UsageError for one that cannot be trained here.
    """
    sizes = SMALL | {FROM_SCRATCH + name: config for name, config in (PUBLISHED | SMALL).items()}
    if init in sizes:
        config = sizes[init]
        with torch.random.fork_rng(devices=[]):  # what the caller draws afterwards stays the same
            torch.default_generator.manual_seed(seed)
            model = CLIP(config).initialize_parameters()
        return Start(model, PreprocessConfig(config.vision.px), True)
    if init.startswith(FROM_SCRATCH):
        raise UsageError(f"--init {init}: no such size; expected one of {', '.join(sizes)}")
    if catalogue.model_name(init) is None and not os.path.exists(init):
        near = difflib.get_close_matches(init, SMALL, n=1)
        hint = f"; did you mean {near[0]}" if near else catalogue.nearest_name(init)
        raise ModelError(
            f"--init {init}: no such size, file or published model; expected {', '.join(SMALL)},"
            f" {FROM_SCRATCH}NAME, a path, or one of {', '.join(PUBLISHED)}{hint}"
        )
    opened = checkpoint.load(locate(init, cache_dir), activation)
    model = opened.network
    if init == catalogue.LITE or isinstance(model.config.vision, EfficientNetLiteConfig):
        raise UsageError(
            f"--init {init}: its image tower is folded for use and cannot be trained; expected"
            f" {', '.join(SMALL)}, a published model or a checkpoint of one"
        )
    if _has_other_parts(model.config):
        raise UsageError(
            f"--init {init}: not built as CLIP is (SigLIP, PE-Core, or parts of them), and training"
            " is CLIP's; expected a CLIP, and nothing that a file of one cannot say"
        )
    vocab_size = model.config.text.vocab_size
    if vocab_size != clip_tokenizer().n_tokens:
        raise UsageError(
            f"--init {init}: a vocabulary of {vocab_size:,} tokens; expected CLIP's"
            f" {clip_tokenizer().n_tokens:,}"
        )
    return Start(model, opened.preprocess, False)


def _has_other_parts(config: ClipConfig) -> bool:
    """Whether `open_clip_config` cannot describe it, so that what is trained could not be read."""
    vision, text = config.vision, config.text
    is_clip = text == TextConfig(text.context_length, text.vocab_size, text.transformer)
    towers = [text.transformer]
    if isinstance(vision, VisionTransformerConfig):
        is_clip &= vision == VisionTransformerConfig(vision.px, vision.patch_px, vision.transformer)
        towers.append(vision.transformer)
    kinds = {(tower.activation, tower.eps) for tower in towers}
    return not (is_clip and kinds in ({("quickgelu", 1e-5)}, {("gelu", 1e-5)}))


def prepare(model: CLIP, freeze: Frozen | None, device: torch.device) -> CLIP:
    """The model in training on its device, one tower locked if asked for (Zhai et al. 2022, LiT).

    A locked tower gives what it would give in use: its batch norms do not follow the batch.
    """
    model.train().requires_grad_(True)
    if freeze == "image":
        model.visual.requires_grad_(False).eval()
    if freeze == "text":
        for name, parameter in model.named_parameters():
            if not name.startswith("visual.") and name != "logit_scale":
                parameter.requires_grad_(False)
    model.to(device)
    # channels beside each other: two fifths of the time that convolutions take on a CPU
    model.visual.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def openai_tensors(model: CLIP) -> dict[str, Tensor]:
    """All tensors under OpenAI's names, on the CPU, each in its plain order."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}


def write_model(model: CLIP, preprocess: PreprocessConfig, path: Path) -> None:
    """A `.safetensors` for `--model`; it appears whole or not at all. Beside it, in open_clip's
    words, what its tensors do not say and OpenAI's conventions do not either."""
    description = open_clip_config(model.config, preprocess)
    if description is not None:
        described = json.dumps(description, indent=2, allow_nan=False)
        write_whole(path.with_name(CONFIG_FILE), described.encode())
    write_whole(path, save(openai_tensors(model), {"format": "pt"}))


def open_clip_config(config: ClipConfig, preprocess: PreprocessConfig) -> dict[str, object] | None:
    """What a reader must be told: None where heads of 64, QuickGELU and OpenAI's preprocessing,
    which a bare file stands for, are right."""
    vision, text = config.vision, config.text
    assert not isinstance(vision, EfficientNetLiteConfig)  # see `open_start`
    activation = text.transformer.activation
    vision_cfg: dict[str, object] = {"layers": vision.layers, "width": vision.width}
    if isinstance(vision, VisionTransformerConfig):
        vision_cfg["patch_size"] = vision.patch_px
    as_published = (
        activation == "quickgelu"
        and vision.head_width == HEAD_WIDTH
        and text.transformer.width == text.transformer.heads * HEAD_WIDTH
        and asdict(preprocess) == asdict(PreprocessConfig(preprocess.px, CLIP_MEAN, CLIP_STD))
    )
    if as_published:
        return None
    return {
        "model_cfg": {
            "embed_dim": config.embed_dim,
            "quick_gelu": activation == "quickgelu",
            "vision_cfg": vision_cfg | {"image_size": vision.px, "head_width": vision.head_width},
            "text_cfg": {
                "context_length": text.context_length,
                "vocab_size": text.vocab_size,
                "width": text.transformer.width,
                "heads": text.transformer.heads,
                "layers": text.transformer.layers,
            },
        },
        "preprocess_cfg": {
            "mean": list(preprocess.mean),
            "std": list(preprocess.std),
            "interpolation": preprocess.resample,
            "resize_mode": preprocess.rule,
        },
    }
