"""A checkpoint on disk to a CLIP in memory. Nothing that lies in a file is ever executed.

`read` brings the tensors under OpenAI's names and the configuration together; `load` builds
the model. The first bytes say which format it is, not the suffix.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from clipcli.errors import CheckpointError
from clipcli.models import siglip_tokenizer
from clipcli.models.checkpoint import (
    config_files,
    keymaps,
    lite_file,
    outline,
    safetensors_file,
    shapes,
    torch_archive,
)
from clipcli.models.checkpoint.finite import check_finite
from clipcli.models.model import Model
from clipcli.models.on_disk.locate import find_weights, kind_of
from clipcli.network.clip import CLIP
from clipcli.network.config import ClipConfig
from clipcli.photos.preprocess import PreprocessConfig
from clipcli.records import Activation

# not floats of 8 bits and fewer, which need scales that a checkpoint of CLIP does not hold
FLOAT_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Checkpoint:
    """Tensors under OpenAI's names, with the architecture and the preprocessing they need."""

    tensors: dict[str, Tensor]
    config: ClipConfig
    preprocess: PreprocessConfig


def read(path: Path, activation: Activation | None = None) -> Checkpoint:
    """Read a checkpoint file, or a directory in Hugging Face's or open_clip's layout.

    `activation` says what the tensors of a bare file cannot; None means QuickGELU, as published.
    Raises CheckpointError, in one line, for whatever is no CLIP or not safe to read.
    """
    weights_path = find_weights(path)
    tensors, metadata = _read_tensors(weights_path)
    if metadata.get("format") == lite_file.FORMAT:
        return Checkpoint(*lite_file.read(tensors, metadata, path))
    described = config_files.read_beside(weights_path)
    if described is None and activation is None and weights_path.name.startswith("open_clip_"):
        raise CheckpointError(
            f"{path}: no open_clip_config.json beside it, and the tensors do not show whether"
            " open_clip trained it with GELU or QuickGELU; put the config file beside it or"
            " pass --activation gelu or --activation quickgelu"
        )
    if described is not None and activation not in (None, described.activation):
        raise CheckpointError(
            f"{path}: --activation {activation}, but {described.source} says"
            f" {described.activation}; leave the option out"
        )
    tensors = keymaps.openai_names(tensors, path)
    shapes.check_integers(tensors, path)
    try:
        if described is None:
            tower = shapes.Tower(activation=activation or "quickgelu")
            config = shapes.deduce(tensors, shapes.Unseen(vision=tower, text=tower))
            preprocess = PreprocessConfig(config.vision.px)
        else:
            config = shapes.deduce(tensors, described.unseen)
            described.check(config)
            preprocess = described.preprocess(config.vision.px)
    except shapes.ShapeError as error:
        raise CheckpointError(f"{path}: {error}; expected the tensors of a CLIP") from error
    except ValueError as error:
        raise CheckpointError(f"{path}: preprocessing: {error}") from error
    return Checkpoint(tensors, config, preprocess)


def load(path: Path, activation: Activation | None = None, as_stored: bool = False) -> Model:
    """The model on the CPU, in float32, ready to encode.

    as_stored: in the precision of the file instead, for whoever converts it part by part: of a
    file of tensors, what is not used takes no memory. The embedded model is always float32.
    Raises CheckpointError as `read` does, and for numbers that make no answer.
    """
    checkpoint = read(path, activation)
    with torch.device("meta"):  # no memory and no random numbers for weights about to be replaced
        network = CLIP(checkpoint.config)
    tensors = {
        name: tensor
        for name, tensor in checkpoint.tensors.items()
        if name not in shapes.PUBLISHED_INTEGERS
    }
    _check_strictly(network, tensors, path)
    check_finite(tensors, path)
    if not as_stored or checkpoint.config.evidence is not None:
        for name, tensor in tensors.items():
            tensors[name] = tensor.float() if tensor.is_floating_point() else tensor
    network.load_state_dict(tensors, strict=True, assign=True)
    model = Model(network.requires_grad_(False).eval(), checkpoint.preprocess)
    if checkpoint.config.sigmoid:
        folder = find_weights(path).parent
        model = replace(model, tokenizer="siglip", tokenizer_sha256=siglip_tokenizer.digest(folder))
    try:
        _ = model.score
    except ValueError as error:
        scale = float(network.logit_scale)
        raise CheckpointError(f"{path}: logit_scale is {scale:g}: {error}") from error
    return model


def _read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by name, and the metadata of a format that has any."""
    if kind_of(path) == "archive":
        return torch_archive.read(path), {}
    tensors, metadata = safetensors_file.read(path)
    outlined = {name: tensor.to("meta") for name, tensor in tensors.items()}
    outline.check(outlined, path.stat().st_size, path)
    return tensors, metadata


def _check_strictly(network: CLIP, tensors: dict[str, Tensor], path: Path) -> None:
    """Raises CheckpointError unless these are the model's tensors, of the same shapes and kinds."""
    wanted = network.state_dict()
    problems = [f"{name} is missing" for name in wanted if name not in tensors]
    problems += [f"{name} has no place in it" for name in tensors if name not in wanted]
    for name, want in wanted.items():
        found = tensors.get(name)
        if found is None:
            continue
        if found.shape != want.shape:
            problems.append(f"{name} is {list(found.shape)}, expected {list(want.shape)}")
        elif found.dtype not in (FLOAT_DTYPES if want.is_floating_point() else (torch.int64,)):
            problems.append(f"{name} is {found.dtype}, expected {want.dtype}")
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise CheckpointError(
            f"{path}: its shapes do not make a CLIP: {problems[0]}{more}; expected a whole"
            " checkpoint of one of the published architectures"
        )
