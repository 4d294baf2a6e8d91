"""Pairs of photographs and captions to a model."""

from __future__ import annotations

import logging
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

from clipcli.cli import talk
from clipcli.cli.surroundings import check_temporary_directory
from clipcli.cli.work import progress
from clipcli.cli.work.inputs import check_models
from clipcli.cli.work.pace import time_left
from clipcli.errors import ExitCode, StoppedError, UsageError
from clipcli.files.suffixes import check_suffix
from clipcli.files.table import percent
from clipcli.files.table_columns import Columns
from clipcli.models.on_disk import catalogue
from clipcli.records import Failure
from clipcli.training import log, loop, pairs
from clipcli.training.distributed import Processes, joined_processes
from clipcli.training.log import Step, Validation
from clipcli.training.pairs import Pair, Pairs, hold_out, n_shared
from clipcli.training.precision import Precision
from clipcli.training.run import Files, Run
from clipcli.training.start import Start, open_start
from clipcli.training.state import Settings

if TYPE_CHECKING:
    from clipcli.cli.train import TrainOptions

logger = logging.getLogger(__name__)

LOG_SECONDS = 30.0  # between lines where nobody may be looking
LR_FROM_SCRATCH, LR_FROM_CHECKPOINT = 1e-3, 1e-5


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
        split = _split(found, columns, train)
        precision = Precision.choose(train.precision, device)
        run = _run(found, split, train, processes, precision, quiet)
        # where matplotlib cannot write its own directory it takes another, and says so at length
        logging.getLogger("matplotlib").setLevel(logging.ERROR)
        if not log.can_draw():
            logger.info(f"no picture of the curves: needs matplotlib; {log.PLOT_ADVICE}")
        failed: list[Failure] = []

        def on_failure(failure: Failure) -> None:
            failed.append(failure)
            logger.warning(f"{failure.path}: {failure.error}")

        if processes.is_first:
            for failure in (*found.failures, *split.failures):
                on_failure(failure)
            _say_held_out(run)
        stop_at = began + 60 * train.max_minutes if train.max_minutes is not None else None
        validations: list[Validation] = []

        def on_validation(so_far: list[Validation]) -> None:
            validations[:] = so_far
            _say_validation(so_far[-1], run)

        steps = loop.train(
            run,
            resume=train.resume,
            stop_at=stop_at,
            on_failure=on_failure,
            on_validation=on_validation,
        )
        last = _follow(steps, run, quiet)
        _say_best(validations, run)
        _conclude(last, run)
        any_failed = processes.any(bool(failed), run.precision.device)
        return ExitCode.PARTLY_READ if any_failed else ExitCode.OK


@dataclass(frozen=True)
class Split:
    """Pairs to train on and pairs held out; `name` stands for the choice of these in a state."""

    trained: list[Pair]
    held_out: list[Pair]
    name: str | None
    failures: list[Failure]


def _split(found: Pairs, columns: Columns, train: TrainOptions) -> Split:
    """What --validate makes of the pairs of DATA. Raises UsageError for what is neither."""
    if train.validate is None:
        return Split(found.pairs, [], None, [])
    if os.path.lexists(train.validate):
        if os.path.isdir(train.validate):
            held = pairs.read_pairs(train.validate, train.template or ())
        else:
            held = pairs.read_pairs(train.validate, (), columns)
        return Split(found.pairs, held.pairs, held.fingerprint(), held.failures)
    try:
        share = float(train.validate)
    except ValueError:
        share = math.nan
    if not 0 < share < 1:
        raise UsageError(
            f"--validate {train.validate}: no such file or folder; expected held-out pairs as in"
            " DATA, or a share of it, such as 0.1"
        )
    return Split(*hold_out(found.pairs, share, train.seed), repr(share), [])


def _say_held_out(run: Run) -> None:
    if not run.held_out:
        return
    n_held, n_learnt = len(run.held_out), n_shared(run.held_out, run.pairs)
    n_captions = len({text for pair in run.candidates for text in pair.captions})
    logger.info(f"held out: {n_held} photographs, {n_captions} captions to choose from")
    if n_learnt:
        logger.warning(
            f"--validate: {n_learnt} of its {n_held} photographs are trained on too; what is known"
            " by heart counts as right"
        )


def _open_start(train: TrainOptions, quiet: bool) -> Start:
    """The model to start from; a published one is downloaded with a bar."""
    published = catalogue.model_name(train.init)
    if published is not None:
        check_models([published], train.cache_dir, quiet)
    is_new = published is None and not os.path.exists(train.init)
    with nullcontext() if is_new else progress.of_opening(train.init, quiet):
        return open_start(train.init, train.seed, train.activation, train.cache_dir)


def _run(
    found: Pairs,
    split: Split,
    train: TrainOptions,
    processes: Processes,
    precision: Precision,
    quiet: bool,
) -> Run:
    """The run that the options ask for, with what they leave open decided."""
    start = _open_start(train, quiet)
    batch_size = min(train.batch_size, len(split.trained))
    share = -(-batch_size // processes.size)
    lr = LR_FROM_SCRATCH if start.is_new else LR_FROM_CHECKPOINT
    settings = Settings(
        init=train.init,
        data=found.fingerprint(),
        epochs=train.epochs,
        batch_size=batch_size,
        micro_batch=min(train.micro_batch or share, share),
        lr=lr if train.lr is None else train.lr,
        weight_decay=train.weight_decay,
        warmup=train.warmup,
        seed=train.seed,
        freeze=train.freeze,
        flip=train.flip,
        truncate=train.truncate,
        precision=precision.name,
        processes=processes.size,
        validate=split.name,
    )
    files = Files.of(train.output)
    files.make_folder()
    return Run(
        start,
        split.trained,
        settings,
        precision,
        files,
        processes,
        train.workers,
        train.keep_mb,
        split.held_out,
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


def _say_validation(one: Validation, run: Run) -> None:
    when = f"epoch {one.epoch} of {run.settings.epochs}" if one.step else "before training"
    logger.info(
        f"{when}: validation loss {one.loss:.4f}, {percent(one.recall_at_1)} of photographs nearest"
        " to their caption"
    )


def _say_best(validations: list[Validation], run: Run) -> None:
    best = log.best(validations)
    if best is None:
        return
    before = validations[0].loss
    better = ", better than after any epoch" if before < best.loss else ""
    logger.info(
        f"{run.files.best}: epoch {best.epoch}, the best of {validations[-1].epoch}: validation"
        f" loss {best.loss:.4f} (before training {before:.4f}{better})"
    )


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
    """A bar on a terminal that can draw one, else a line now and then."""
    n_steps, n_epochs = run.plan.n_steps, run.settings.epochs

    def speed(step: Step) -> str:
        n_left = (n_steps - step.step) * run.settings.batch_size
        return f"{step.images_per_s:,.1f} images/s, {time_left(n_left, step.images_per_s)}"

    how = progress.way(quiet)
    if quiet:
        yield lambda step: None
    elif how != "bar":
        lines = progress.Lines(progress.SECONDS_BETWEEN_LINES if how == "lines" else LOG_SECONDS)
        yield lambda step: lines.say(
            lambda: (
                f"epoch {step.epoch} of {n_epochs}, step {step.step} of {n_steps}: loss"
                f" {step.loss:.4f}, {speed(step)}"
            )
        )
    else:
        columns = ("steps", BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
        with progress.bar(*columns) as bar:
            task = bar.add_task("starting", total=n_steps)
            yield lambda step: bar.update(
                task,
                completed=step.step,
                description=f"epoch {step.epoch}, loss {step.loss:.4f}, {speed(step)}",
            )
