"""A training run on disk, to go on from: tensors, and JSON in the file's own header.

model.NAME         the model's tensors
optimizer.KEY.NAME AdamW's `exp_avg`, `exp_avg_sq` and `step` of each parameter
history            float64 [n_steps, 6]: what `log.Step` says of each step

Random numbers need no state: see `batches`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from clipcli.errors import CheckpointError, UsageError
from clipcli.files.part_file import write_whole
from clipcli.models.checkpoint import safetensors_file
from clipcli.models.checkpoint.finite import check_finite
from clipcli.network.clip import CLIP
from clipcli.training.start import Frozen, openai_tensors

FORMAT = "clipcli-training"


@dataclass(frozen=True)
class Settings:
    """What must be the same for a run to go on as if it had not stopped."""

    init: str
    data: str  # fingerprint of the pairs
    epochs: int
    batch_size: int
    micro_batch: int
    lr: float
    weight_decay: float
    warmup: int
    seed: int
    freeze: Frozen | None
    flip: bool
    truncate: bool
    precision: str
    processes: int


def write_state(
    path: Path,
    model: CLIP,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler | None,
    settings: Settings,
    history: Tensor,
) -> None:
    """The file appears whole or not at all."""
    tensors = {f"model.{name}": tensor for name, tensor in openai_tensors(model).items()}
    tensors["history"] = history
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            tensors[f"optimizer.{key}.{names[parameter]}"] = value.detach().cpu().contiguous()
    metadata = {
        "format": FORMAT,
        "settings": json.dumps(asdict(settings), allow_nan=False),
        "scaler": json.dumps(scaler.state_dict() if scaler is not None else {}, allow_nan=False),
    }
    write_whole(path, save(tensors, metadata))


def read_state(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler | None,
    settings: Settings,
) -> Tensor:
    """Puts a saved run into model, optimizer and scaler; its history, float64 [n_steps, 6].

    Raises UsageError, by name, for a setting that is not the one that the run began with, and
    CheckpointError for a file that is no such run.
    """
    if not path.is_file():
        raise UsageError(f"--resume: {path} is not there; leave --resume out to begin")
    tensors, metadata = safetensors_file.read(path)
    try:
        if metadata.get("format") != FORMAT:
            raise ValueError(f"format {metadata.get('format')!r}")
        _check(path, json.loads(metadata["settings"]), asdict(settings))
        check_finite(tensors, path)
        model.load_state_dict(_below("model.", tensors))
        _fill(optimizer, model, _below("optimizer.", tensors))
        scaling: dict[str, Any] = json.loads(metadata["scaler"])
        if scaler is not None:
            scaler.load_state_dict(scaling)
        if tensors["history"].ndim != 2 or tensors["history"].shape[1] != 6:
            raise ValueError(f"history is {list(tensors['history'].shape)}")
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        message = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        raise CheckpointError(f"{path}: {message}; expected a run of clipcli train") from error
    return tensors["history"]


def _check(path: Path, began: dict[str, Any], now: dict[str, Any]) -> None:
    for name, value in now.items():
        if began.get(name) == value:
            continue
        if name == "data":
            raise UsageError(f"{path}: DATA is not what it was when the run began; begin anew")
        option = "--" + name.replace("_", "-")
        raise UsageError(
            f"{path}: the run began with {option} {began.get(name)}, now it is {value};"
            " give the options that it began with"
        )


def _fill(optimizer: torch.optim.Optimizer, model: nn.Module, tensors: dict[str, Tensor]) -> None:
    parameters = dict(model.named_parameters())
    states: dict[nn.Parameter, dict[str, Tensor]] = {}
    for key_and_name, tensor in tensors.items():
        key, _, name = key_and_name.partition(".")
        parameter = parameters[name]
        if key != "step" and tensor.shape != parameter.shape:
            raise ValueError(f"{key} of {name} is {list(tensor.shape)}")
        if key != "step":
            # in the parameter's order of memory, which the fused AdamW takes for granted
            tensor = torch.empty_like(parameter, requires_grad=False).copy_(tensor)
        states.setdefault(parameter, {})[key] = tensor
    packed = optimizer.state_dict()
    order = [p for group in optimizer.param_groups for p in group["params"]]
    packed["state"] = {index: states[p] for index, p in enumerate(order) if p in states}
    optimizer.load_state_dict(packed)


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
