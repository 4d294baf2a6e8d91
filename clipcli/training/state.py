"""A training run on disk, to go on from: tensors, and JSON in the file's own header.

model.NAME         the model's tensors
optimizer.KEY.NAME AdamW's `exp_avg`, `exp_avg_sq` and `step` of each parameter
history            float64 [n_steps, 6]: what `log.Step` says of each step
validations        float64 [n, 4]: what `log.Validation` says of each, where there are any

Random numbers need no state: see `batches`.
"""

from __future__ import annotations

import json
from collections.abc import Container
from dataclasses import asdict, dataclass, replace
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
from clipcli.training.optimizer import Schedule
from clipcli.training.start import Frozen, openai_tensors

FORMAT = "clipcli-training"


@dataclass(frozen=True)
class Settings:
    """What must be the same for a run to go on as if it had not stopped."""

    init: str
    data: str  # fingerprint of the pairs
    epochs: int  # the last schedule's end; more of them are a new one
    batch_size: int
    micro_batch: int
    lr: float
    weight_decay: float
    warmup: int | None  # of the last schedule; None for its default
    seed: int
    freeze: Frozen | None
    flip: bool
    truncate: bool
    precision: str
    processes: int
    validate: str | None = None  # the share that is held out, or the fingerprint of other pairs

    def check_same(self, began: dict[str, Any], path: Path, but: Container[str] = ()) -> None:
        """Raises UsageError, by name, for a setting other than those in the file, `began`."""
        for name, value in asdict(self).items():
            if began.get(name) == value or name in but:
                continue
            if name == "data":
                raise UsageError(f"{path}: DATA is not what it was when the run began; begin anew")
            option = "--" + name.replace("_", "-")
            changed = f"the run began with {option} {began.get(name)}, now it is {value}"
            if name == "validate":
                changed = "--validate is not what it was when the run began"
            raise UsageError(f"{path}: {changed}; give the options that it began with")


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    history: float64 [n_steps, 6]; validations: float64 [n, 4]; schedule: the last, which goes on.
    """

    history: Tensor
    validations: Tensor
    schedule: Schedule


def write_state(
    path: Path,
    model: CLIP,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler | None,
    settings: Settings,
    progress: Progress,
) -> None:
    """The file appears whole or not at all."""
    tensors = {f"model.{name}": tensor for name, tensor in openai_tensors(model).items()}
    tensors["history"] = progress.history
    if len(progress.validations):
        tensors["validations"] = progress.validations
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            tensors[f"optimizer.{key}.{names[parameter]}"] = value.detach().cpu().contiguous()
    metadata = {
        "format": FORMAT,
        "settings": json.dumps(
            asdict(replace(settings, warmup=progress.schedule.warm_up)), allow_nan=False
        ),
        "schedule_from": str(progress.schedule.first_step),
        "scaler": json.dumps(scaler.state_dict() if scaler is not None else {}, allow_nan=False),
    }
    write_whole(path, save(tensors, metadata))


def read_state(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler | None,
    settings: Settings,
    n_steps: int,
) -> Progress:
    """Puts a saved run into model, optimizer and scaler.

    n_steps: of the whole run. More epochs than the file's begin a new schedule where it stopped.
    Raises UsageError, by name, for a setting that is not the one that the run began with, and
    CheckpointError for a file that is no such run.
    """
    if not path.is_file():
        raise UsageError(f"--resume: {path} is not there; leave --resume out to begin")
    tensors, metadata = safetensors_file.read(path)
    try:
        if metadata.get("format") != FORMAT:
            raise ValueError(f"format {metadata.get('format')!r}")
        history = tensors["history"]
        if history.ndim != 2 or history.shape[1] != 6:
            raise ValueError(f"history is {list(history.shape)}")
        began = json.loads(metadata["settings"])
        schedule = _schedule(path, began, metadata, settings, n_steps, len(history))
        check_finite(tensors, path)
        model.load_state_dict(_below("model.", tensors))
        _fill(optimizer, model, _below("optimizer.", tensors))
        scaling: dict[str, Any] = json.loads(metadata["scaler"])
        if scaler is not None:
            scaler.load_state_dict(scaling)
        validations = tensors.get("validations", torch.zeros(0, 4, dtype=torch.float64))
        if validations.ndim != 2 or validations.shape[1] != 4:
            raise ValueError(f"validations is {list(validations.shape)}")
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        message = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        raise CheckpointError(f"{path}: {message}; expected a run of clipcli train") from error
    return Progress(history, validations, schedule)


def _schedule(
    path: Path,
    began: dict[str, Any],
    metadata: dict[str, str],
    settings: Settings,
    n_steps: int,
    n_done: int,
) -> Schedule:
    """The one that the run is in, or a new one for more epochs. Raises as `read_state`."""
    if settings.epochs > began["epochs"]:
        settings.check_same(began, path, but=("epochs", "warmup"))
        return Schedule.of(n_done, n_steps, settings.warmup)
    first_step = int(metadata.get("schedule_from", "0"))  # 0.1.0 had only one
    if not 0 <= first_step <= n_done:
        raise ValueError(f"schedule_from is {first_step}")
    schedule = Schedule.of(first_step, n_steps, settings.warmup)
    replace(settings, warmup=schedule.warm_up).check_same(began, path)
    return schedule


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
