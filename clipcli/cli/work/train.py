"""Pairs of photographs and captions to a model."""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from clipcli.cli import talk
from clipcli.cli.surroundings import check_temporary_directory
from clipcli.cli.work import progress
from clipcli.errors import ExitCode, StoppedError
from clipcli.files.suffixes import check_suffix
from clipcli.records import Failure
from clipcli.training import log, loop, pairs
from clipcli.training.distributed import Processes, joined_processes
from clipcli.training.log import Step
from clipcli.training.loop import Run
from clipcli.training.pairs import Pairs
from clipcli.training.start import open_start
from clipcli.training.state import Settings

if TYPE_CHECKING:
    from clipcli.cli.train import TrainOptions

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 30.0
LR_FROM_SCRATCH, LR_FROM_CHECKPOINT = 1e-3, 1e-5
MOST_WARM_UP_STEPS = 2000  # paper, table 18


def train(data: str, train: TrainOptions) -> int:
    began = time.monotonic()
    check_suffix("--output", train.output, ".safetensors")
    check_temporary_directory()  # for torch's optimizers and matplotlib
    with joined_processes(train.device) as (processes, device):
        quiet = train.quiet or not processes.is_first
        if quiet:
            talk.leave_out_notes()
        columns = replace(pairs.COLUMNS, chosen=(train.path_column, train.caption_column))
        found = pairs.read_pairs(data, train.template or (), columns)
        run = _run(found, train, processes, loop.Precision.choose(train.precision, device))
        # where matplotlib cannot write its own directory it takes another, and says so at length
        logging.getLogger("matplotlib").setLevel(logging.ERROR)
        if not log.can_draw():
            logger.info(f"no picture of the curves: needs matplotlib; {log.PLOT_ADVICE}")
        failed: list[Failure] = []

        def on_failure(failure: Failure) -> None:
            failed.append(failure)
            logger.warning(f"{failure.path}: {failure.error}")

        if processes.is_first:
            for failure in found.failures:
                on_failure(failure)
        stop_at = began + 60 * train.max_minutes if train.max_minutes is not None else None
        steps = loop.train(run, resume=train.resume, stop_at=stop_at, on_failure=on_failure)
        _conclude(_follow(steps, run, quiet), run)
        any_failed = processes.any(bool(failed), run.precision.device)
        return ExitCode.PARTLY_READ if any_failed else ExitCode.OK


def _run(found: Pairs, train: TrainOptions, processes: Processes, precision: loop.Precision) -> Run:
    """The run that the options ask for, with what they leave open decided."""
    start = open_start(train.init, train.seed, train.activation, train.cache_dir)
    batch_size = min(train.batch_size, len(found.pairs))
    share = -(-batch_size // processes.size)
    n_steps = train.epochs * (len(found.pairs) // batch_size)
    lr = LR_FROM_SCRATCH if start.is_new else LR_FROM_CHECKPOINT
    settings = Settings(
        init=train.init,
        data=found.fingerprint(),
        epochs=train.epochs,
        batch_size=batch_size,
        micro_batch=min(train.micro_batch or share, share),
        lr=lr if train.lr is None else train.lr,
        weight_decay=train.weight_decay,
        warmup=min(MOST_WARM_UP_STEPS, n_steps // 10) if train.warmup is None else train.warmup,
        seed=train.seed,
        freeze=train.freeze,
        flip=train.flip,
        truncate=train.truncate,
        precision=precision.name,
        processes=processes.size,
    )
    files = loop.Files.of(train.output)
    files.make_folder()
    return Run(
        start, found.pairs, settings, precision, files, processes, train.workers, train.keep_mb
    )


def _follow(steps: Iterator[Step], run: Run, quiet: bool) -> Step | None:
    """Show how far it is, and how fast of late; after Ctrl-C say what is left."""
    last: Step | None = None
    recent: deque[Step] = deque(maxlen=log.N_STEPS_TIMED)
    try:
        with _shown(run, quiet) as show:
            for step in steps:
                recent.append(step)
                last = replace(step, images_per_s=log.speed(recent))
                show(last)
    except StoppedError as stop:
        if run.processes.is_first and run.files.state.exists():
            stop.add_note(f"the last whole epoch is in {run.files.model}; --resume goes on from it")
        raise
    return last


def _conclude(last: Step | None, run: Run) -> None:
    n_steps = run.plan.n_steps
    if last is None:
        logger.info(f"nothing to do: {run.files.model} is trained, {n_steps} steps")
        return
    done = f"{last.step} of {n_steps} steps" if last.step < n_steps else f"{n_steps} steps"
    more = "; --resume goes on from here" if last.step < n_steps else ""
    logger.info(
        f"{run.files.model}: {done} of {run.settings.batch_size} pairs, loss {last.loss:.4f}, logit"
        f" scale {last.logit_scale:.1f}; {run.settings.init}, {run.precision.name} on"
        f" {run.precision.device}, {last.images_per_s:,.1f} images/s{more}"
    )


@contextmanager
def _shown(run: Run, quiet: bool) -> Iterator[Callable[[Step], None]]:
    """A bar on a terminal, else a line each half minute."""
    n_steps, n_epochs = run.plan.n_steps, run.settings.epochs
    if quiet:
        yield lambda step: None
    elif not sys.stderr.isatty():
        began = said = time.monotonic()
        first: int | None = None

        def say(step: Step) -> None:
            nonlocal said, first
            now = time.monotonic()
            first = step.step - 1 if first is None else first
            if now - said < SECONDS_BETWEEN_LINES:
                return
            said = now
            left_s = (now - began) / (step.step - first) * (n_steps - step.step)
            logger.info(
                f"epoch {step.epoch} of {n_epochs}, step {step.step} of {n_steps}: loss"
                f" {step.loss:.4f}, {step.images_per_s:,.1f} images/s, {left_s / 60:.1f} min left"
            )

        yield say
    else:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("epoch {task.fields[epoch]}, loss {task.fields[loss]:.4f}"),
            TextColumn("{task.fields[rate]:,.1f} images/s"),
            TimeRemainingColumn(),
        )
        with progress.bar(*columns) as bar:
            task = bar.add_task("steps", total=n_steps, epoch=0, loss=0.0, rate=0.0)
            yield lambda step: bar.update(
                task, completed=step.step, epoch=step.epoch, loss=step.loss, rate=step.images_per_s
            )
