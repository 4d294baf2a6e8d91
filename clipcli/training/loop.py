"""A whole training run: yields a `Step` for each update, and keeps its files up to date."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple
from pathlib import Path

import torch
from torch import Tensor

from clipcli.embedding.local import default_workers
from clipcli.errors import CheckpointError, ModelError, StoppedError, UsageError, one_line
from clipcli.models.checkpoint.finite import check_finite
from clipcli.models.score import Score
from clipcli.network.config import VisionTransformerConfig
from clipcli.photos.preprocess import normalise
from clipcli.records import Failure
from clipcli.runtime.process import keep_freed_memory, tune_pillow
from clipcli.training import log
from clipcli.training.batches import Batches, Captions
from clipcli.training.crops import Pictures
from clipcli.training.gradient import Batch, backward
from clipcli.training.log import Step, Validation
from clipcli.training.loss import MAX_LOGIT_SCALE
from clipcli.training.optimizer import Schedule, descend, parameter_groups
from clipcli.training.run import Run
from clipcli.training.start import openai_tensors, prepare, write_model
from clipcli.training.state import Progress, read_state, write_state
from clipcli.training.validation import HeldOut

logger = logging.getLogger(__name__)

# paper, table 18: beta 2 and epsilon of AdamW
RESNET_ADAM, VIT_ADAM = (0.999, 1e-8), (0.98, 1e-6)
SECONDS_BETWEEN_DRAWINGS = 30.0


def train(
    run: Run,
    *,
    resume: bool = False,
    stop_at: float | None = None,
    on_failure: Callable[[Failure], None] = lambda failure: None,
    on_validation: Callable[[list[Validation]], None] = lambda validations: None,
) -> Iterator[Step]:
    """Train from the first step, or from where a run stopped, to the last.

    Model, log, curves and state are written after each epoch and at the end, and the model of the
    best epoch where pairs are held out. stop_at: on the clock of `time.monotonic`, after which no
    step is begun. on_failure: hears once of each photograph that cannot be read. on_validation:
    hears of all so far, before the first step, after each epoch, and when a run goes on. Raises
    UsageError where `run.files` hold another run, and ModelError where a loss or a weight is no
    number any more; the files keep the last epoch.
    """
    plan, processes = run.plan, run.processes
    training = _Training(run, HeldOut(run, on_failure) if run.held_out else None, on_validation)
    if resume:
        training.restore()
    elif run.files.state.exists():
        raise UsageError(
            f"{run.files.state}: a run is here already; pass --resume to go on with it, or"
            " another --output"
        )
    remaining = range(len(training.steps), plan.n_steps)
    if training.is_validation_due():
        training.keep(is_last=not remaining)
    batches = _batches(run, on_failure).read(remaining, run.n_threads or default_workers())
    updates = descend(
        training.optimizer,
        lambda step: training.backward(next(batches)),
        remaining,
        training.schedule.factor,
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
                training.keep(is_last)
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

    def __init__(
        self,
        run: Run,
        held_out: HeldOut | None,
        on_validation: Callable[[list[Validation]], None],
    ) -> None:
        self.run, self.held_out, self.on_validation = run, held_out, on_validation
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
        self.schedule = Schedule.of(0, run.plan.n_steps, chosen.warmup)
        self.steps: list[Step] = []
        self.validations: list[Validation] = []
        self._settled_at = self._drawn_at = time.monotonic()

    def restore(self) -> None:
        """Go back to where the run in its files stopped."""
        run = self.run
        progress = read_state(
            run.files.state,
            self.model,
            self.optimizer,
            self.scaler,
            run.settings,
            run.plan.n_steps,
        )
        self.steps = [Step(int(row[0]), int(row[1]), *row[2:]) for row in progress.history.tolist()]
        self.validations = [
            Validation(int(row[0]), int(row[1]), *row[2:]) for row in progress.validations.tolist()
        ]
        self.schedule = progress.schedule
        if self.schedule.first_step == len(self.steps):
            self._say_restart()
        if self.validations:
            self.on_validation(self.validations)

    def _say_restart(self) -> None:
        schedule, chosen = self.schedule, self.run.settings
        rate = f"is {chosen.lr:g} again"
        if schedule.warm_up:
            rate = f"rises to {chosen.lr:g} by step {schedule.first_step + schedule.warm_up}"
        logger.info(
            f"--epochs {chosen.epochs}: a new schedule after step {schedule.first_step}; the"
            f" learning rate {rate} and falls to 0 at step {schedule.n_steps}"
        )

    def is_validation_due(self) -> bool:
        """Before the first step and after each epoch, once."""
        n_done = len(self.steps)
        is_measured = bool(self.validations) and self.validations[-1].step == n_done
        is_between_epochs = n_done % self.run.plan.steps_per_epoch == 0
        return self.held_out is not None and is_between_epochs and not is_measured

    def validate(self) -> None:
        """In every process. Raises ModelError for a loss that is no number."""
        assert self.held_out is not None  # it is due
        began = time.monotonic()
        loss, recall = self.held_out.measure(self.model)
        n_done = len(self.steps)
        if not math.isfinite(loss):
            found = f"a validation loss of {loss}; expected a finite one"
            raise ModelError(self._diverged(n_done - 1, found))
        epoch = n_done // self.run.plan.steps_per_epoch
        self.validations.append(Validation(n_done, epoch, loss, recall))
        self.on_validation(self.validations)
        self._settled_at += time.monotonic() - began  # images/s are of those learnt from

    def keep(self, is_last: bool) -> None:
        """Validate where that is due, and save. Stopped meanwhile, the epoch is saved all the
        same, and measured when the run goes on."""
        try:
            if self.is_validation_due():
                self.validate()
        except StoppedError:
            self.save(is_last)
            raise
        self.save(is_last)

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
        """Every file anew, by the first process; the picture, which takes a part of a second, now
        and then."""
        if not self.steps or not self.run.processes.is_first:
            return
        files = self.run.files
        write_model(self.model, self.run.start.preprocess, files.model)
        best = log.best(self.validations)
        if best is not None and best.step == len(self.steps):
            write_model(self.model, self.run.start.preprocess, files.best)
        log.write_log(files.log, self.steps, self.validations)
        progress = Progress(_rows(self.steps), _rows(self.validations), self.schedule)
        write_state(
            files.state, self.model, self.optimizer, self.scaler, self.run.settings, progress
        )
        is_due = time.monotonic() - self._drawn_at > SECONDS_BETWEEN_DRAWINGS
        if log.can_draw() and (is_last or is_due):
            log.draw_curves(files.curves, self.steps, self._title(), self.validations)
            self._drawn_at = time.monotonic()

    def _title(self) -> str:
        """Which run it is, in one line of a picture: of paths their ends."""
        chosen, init = self.run.settings, Path(self.run.settings.init)
        return one_line(
            f"{Path(*self.run.files.model.parts[-2:])}: {init.name if init.exists() else init},"
            f" {len(self.steps)} of {self.run.plan.n_steps} steps of {chosen.batch_size} pairs"
        )


def _rows(said: Sequence[Step] | Sequence[Validation]) -> Tensor:
    """What the log says, a row each, in float64."""
    return torch.tensor([astuple(one) for one in said], dtype=torch.float64)
