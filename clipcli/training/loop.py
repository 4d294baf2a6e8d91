"""A whole training run: yields a `Step` for each update, and keeps its files up to date."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Literal

import torch

from clipcli.embedding.local import default_workers
from clipcli.errors import CheckpointError, ModelError, OutputError, UsageError, one_line
from clipcli.models.checkpoint.finite import check_finite
from clipcli.models.score import Score
from clipcli.network.config import VisionTransformerConfig
from clipcli.photos.preprocess import normalise
from clipcli.records import Failure
from clipcli.runtime.devices import choose_device, has_bfloat16
from clipcli.runtime.process import keep_freed_memory, tune_pillow
from clipcli.training import log
from clipcli.training.batches import Batches, Captions, Plan
from clipcli.training.crops import Pictures
from clipcli.training.distributed import Processes
from clipcli.training.gradient import Batch, backward
from clipcli.training.log import Step
from clipcli.training.loss import MAX_LOGIT_SCALE
from clipcli.training.optimizer import descend, parameter_groups, warm_cosine
from clipcli.training.pairs import Pair
from clipcli.training.start import Start, openai_tensors, prepare, write_model
from clipcli.training.state import Settings, read_state, write_state

TrainingPrecision = Literal["auto", "fp32", "fp16", "bf16"]

MODEL_FILE = "model.safetensors"
# paper, table 18: beta 2 and epsilon of AdamW
RESNET_ADAM, VIT_ADAM = (0.999, 1e-8), (0.98, 1e-6)
SECONDS_BETWEEN_DRAWINGS = 30.0


@dataclass(frozen=True)
class Files:
    """Where a run is kept: in a folder of its own, or beside the `.safetensors` asked for."""

    model: Path
    log: Path
    curves: Path
    state: Path

    @classmethod
    def of(cls, output: str) -> Files:
        path = Path(output)
        if path.suffix == ".safetensors":
            names = (path.with_suffix(f".{end}") for end in ("csv", "png", "state.safetensors"))
            return cls(path, *names)
        names = (path / name for name in ("log.csv", "curves.png", "state.safetensors"))
        return cls(path / MODEL_FILE, *names)

    def make_folder(self) -> None:
        """Raises OutputError where that cannot be done."""
        folder = self.model.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be made: {error.strerror}") from error


@dataclass(frozen=True)
class Precision:
    """How the towers compute; parameters, loss and optimizer are float32."""

    name: Literal["fp32", "fp16", "bf16"]
    device: torch.device

    @classmethod
    def choose(cls, wanted: TrainingPrecision, device_name: str) -> Precision:
        """`auto` is bf16 where the hardware has it, else float16 on CUDA, else float32.

        Raises UsageError for a device that is not here, or float16 on one that is not CUDA.
        """
        device = choose_device(device_name)
        if wanted == "fp16" and device.type != "cuda":
            raise UsageError(f"--precision fp16 on {device}: expected fp32, bf16, or a CUDA device")
        if wanted != "auto":
            return cls(wanted, device)
        if device.type == "cuda":
            has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
            return cls("bf16" if has_bf16 else "fp16", device)
        has_bf16 = device.type == "cpu" and has_bfloat16()
        return cls("bf16" if has_bf16 else "fp32", device)

    def autocast(self) -> AbstractContextManager[object]:
        if self.name == "fp32":
            return nullcontext()
        dtype = torch.bfloat16 if self.name == "bf16" else torch.float16
        return torch.autocast(self.device.type, dtype)

    def scaler(self) -> torch.amp.GradScaler | None:
        """Gradients of float16 vanish unless the loss is scaled up."""
        return torch.amp.GradScaler("cuda") if self.name == "fp16" else None


@dataclass(frozen=True)
class Run:
    """Everything that a run is made of.

    n_threads: that decode ahead, None for one a core; keep_mb: of memory, for resized photographs.
    Raises UsageError for a batch that leaves a process without a pair.
    """

    start: Start
    pairs: list[Pair]
    settings: Settings
    precision: Precision
    files: Files
    processes: Processes
    n_threads: int | None = None
    keep_mb: int = 1024

    def __post_init__(self) -> None:
        if self.settings.batch_size < self.processes.size:
            raise UsageError(
                f"--batch-size {self.settings.batch_size}: {self.processes.size} processes need at"
                " least one pair each"
            )

    @property
    def plan(self) -> Plan:
        chosen = self.settings
        return Plan(len(self.pairs), chosen.batch_size, chosen.epochs, chosen.seed)


def train(
    run: Run,
    *,
    resume: bool = False,
    stop_at: float | None = None,
    on_failure: Callable[[Failure], None] = lambda failure: None,
) -> Iterator[Step]:
    """Train from the first step, or from where a run stopped, to the last.

    Model, log, curves and state are written after each epoch and at the end. stop_at: on the
    clock of `time.monotonic`, after which no step is begun. on_failure: hears once of each
    photograph that cannot be read. Raises UsageError where `run.files` hold another run, and
    ModelError where the loss or a weight is no number any more; the files keep the last epoch.
    """
    plan, processes = run.plan, run.processes
    training = _Training(run)
    if resume:
        training.restore()
    elif run.files.state.exists():
        raise UsageError(
            f"{run.files.state}: a run is here already; pass --resume to go on with it, or"
            " another --output"
        )
    remaining = range(len(training.steps), plan.n_steps)
    batches = _batches(run, on_failure).read(remaining, run.n_threads or default_workers())
    factor = warm_cosine(plan.n_steps, run.settings.warmup)
    updates = descend(
        training.optimizer,
        lambda step: training.backward(next(batches)),
        remaining,
        factor,
        scaler=training.scaler,
    )
    try:
        for step, loss in updates:
            training.settle(step, loss)
            is_late = stop_at is not None and processes.any(
                time.monotonic() > stop_at, run.precision.device
            )
            is_last = is_late or step + 1 == plan.n_steps
            if is_last or (step + 1) % plan.steps_per_epoch == 0:
                training.check_weights(step)
                if processes.is_first:
                    training.save(is_last)
            yield training.steps[-1]
            if is_late:
                break
    finally:
        batches.close()


def _batches(run: Run, on_failure: Callable[[Failure], None]) -> Batches:
    tune_pillow()
    chosen = run.settings
    captions = Captions(run.pairs, run.start.model.config.text.context_length, chosen.truncate)
    paths = [pair.path for pair in run.pairs]
    pictures = Pictures(paths, run.start.preprocess, chosen.flip, run.keep_mb * 1_000_000)
    return Batches(run.pairs, captions, pictures, run.plan, run.processes, on_failure)


class _Training:
    """What changes from step to step: the model, the moments of its gradients, the history."""

    def __init__(self, run: Run) -> None:
        self.run = run
        chosen = run.settings
        if run.precision.device.type == "cpu":
            keep_freed_memory()  # a fifth more images/s for `tiny` (two cores)
        self.model = prepare(run.start.model, chosen.freeze, run.precision.device)
        is_vit = isinstance(self.model.config.vision, VisionTransformerConfig)
        beta, epsilon = VIT_ADAM if is_vit else RESNET_ADAM
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.model.named_parameters(), chosen.weight_decay),
            lr=chosen.lr,
            betas=(0.9, beta),
            eps=epsilon,
            fused=True,
        )
        self.scaler = run.precision.scaler()
        self.steps: list[Step] = []
        self._settled_at = self._drawn_at = time.monotonic()

    def restore(self) -> None:
        """Go back to where the run in its files stopped."""
        rows = read_state(
            self.run.files.state, self.model, self.optimizer, self.scaler, self.run.settings
        )
        self.steps = [Step(int(row[0]), int(row[1]), *row[2:]) for row in rows.tolist()]

    def check_weights(self, step: int) -> None:
        """Whether what is saved can be read again. In every process: all have the same weights.

        Raises ModelError.
        """
        try:
            check_finite(openai_tensors(self.model), self.run.files.model)
            Score(float(self.model.logit_scale.detach().exp()))
        except CheckpointError as error:
            raise ModelError(
                self._diverged(step, "weights that are NaN or infinite; expected finite ones")
            ) from error
        except ValueError as error:
            raise ModelError(self._diverged(step, str(error))) from error

    def _diverged(self, step: int, found: str) -> str:
        kept = "nothing was saved"
        if self.run.files.state.exists():
            kept = f"{self.run.files.model} is as it was last saved"
        return (
            f"step {step + 1} of {self.run.plan.n_steps}: {found}; {kept};"
            f" begin anew with a lower --lr than {self.run.settings.lr:g}"
        )

    def backward(self, batch: Batch) -> float:
        """Leaves the batch's gradients in the model; its loss."""
        run, device = self.run, self.run.precision.device
        pictures = normalise(batch.pictures.to(device), run.start.preprocess)
        tokens, rows = batch.tokens.to(device), batch.rows.to(device)
        return backward(
            self.model,
            Batch(pictures, tokens, rows, batch.captions.to(device)),
            run.settings.micro_batch,
            autocast=run.precision.autocast,
            processes=run.processes,
            scale=self.scaler.scale if self.scaler is not None else lambda loss: loss,
        )

    def settle(self, step: int, loss: float) -> None:
        """After an update: hold the logit scale, and note what happened. Raises ModelError."""
        if not math.isfinite(loss):
            raise ModelError(self._diverged(step, f"a loss of {loss}; expected a finite one"))
        with torch.no_grad():
            self.model.logit_scale.clamp_(max=MAX_LOGIT_SCALE)
        now = time.monotonic()
        self.steps.append(
            Step(
                step + 1,
                step // self.run.plan.steps_per_epoch + 1,
                loss,
                self.optimizer.param_groups[0]["lr"],
                float(self.model.logit_scale.detach().exp()),
                self.run.settings.batch_size / (now - self._settled_at),
            )
        )
        self._settled_at = now

    def save(self, is_last: bool) -> None:
        """Every file anew; the picture, which takes a part of a second, now and then."""
        files = self.run.files
        write_model(self.model, self.run.start.preprocess, files.model)
        log.write_log(files.log, self.steps)
        rows = torch.tensor([astuple(step) for step in self.steps], dtype=torch.float64)
        write_state(files.state, self.model, self.optimizer, self.scaler, self.run.settings, rows)
        is_due = time.monotonic() - self._drawn_at > SECONDS_BETWEEN_DRAWINGS
        if log.can_draw() and (is_last or is_due):
            log.draw_curves(files.curves, self.steps, self._title())
            self._drawn_at = time.monotonic()

    def _title(self) -> str:
        """Which run it is, in one line of a picture: of paths their ends."""
        chosen, init = self.run.settings, Path(self.run.settings.init)
        return one_line(
            f"{Path(*self.run.files.model.parts[-2:])}: {init.name if init.exists() else init},"
            f" {len(self.steps)} of {self.run.plan.n_steps} steps of {chosen.batch_size} pairs"
        )
