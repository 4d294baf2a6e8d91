"""`clipcli train`: pairs of photographs and captions to a model."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from clipcli.cli.options import CacheDir, Quiet
from clipcli.cli.report import Report
from clipcli.errors import ExitCode, StoppedError
from clipcli.records import Activation

if TYPE_CHECKING:
    from clipcli.records import Failure
    from clipcli.training.log import Step
    from clipcli.training.loop import Run

SECONDS_BETWEEN_LINES = 30.0
LR_FROM_SCRATCH, LR_FROM_CHECKPOINT = 1e-3, 1e-5
MOST_WARM_UP_STEPS = 2000  # paper, table 18


def train(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help=".csv, .tsv or .jsonl of path and caption, or a folder per label."
        ),
    ],
    init: Annotated[
        str,
        typer.Option(
            help="A checkpoint or published model to go on from; or, from scratch, tiny, tiny-vit,"
            " small, small-vit, new:ViT-B/32, ..."
        ),
    ],
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="DIR|FILE", help="A folder, or a name.safetensors."),
    ],
    template: Annotated[
        list[str] | None,
        typer.Option(
            help="Caption around a folder's label, {} its place; repeatable.", show_default=False
        ),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Times that each photograph is seen.")] = 32,
    batch_size: Annotated[
        int, typer.Option(min=2, help="Pairs compared with each other, in all processes together.")
    ] = 256,
    micro_batch: Annotated[
        int | None,
        typer.Option(min=1, help="Pairs in memory at once; the gradient is the whole batch's."),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(min=0.0, help="Highest learning rate; else 1e-3, or 1e-5 from a checkpoint."),
    ] = None,
    weight_decay: Annotated[
        float, typer.Option(min=0.0, help="Of matrices, not of gains, biases and logit scale.")
    ] = 0.2,
    warmup: Annotated[
        int | None,
        typer.Option(min=0, help="Steps to the highest rate; else a tenth, at most 2000."),
    ] = None,
    freeze: Annotated[
        Literal["image", "text"] | None, typer.Option(help="Keep one tower as it is.")
    ] = None,
    flip: Annotated[
        bool, typer.Option("--flip", help="Mirror every other photograph, as CLIP did not.")
    ] = False,
    truncate: Annotated[
        bool, typer.Option("--truncate", help="Use the beginning of captions that are too long.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, order and crops.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    precision: Annotated[
        Literal["auto", "fp32", "fp16", "bf16"],
        typer.Option(help="Mixed with fp32; auto is bf16 where the hardware has it."),
    ] = "auto",
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Threads that decode ahead.")
    ] = None,
    keep_mb: Annotated[
        int, typer.Option(min=0, help="Memory for resized photographs, to decode each once.")
    ] = 1024,
    max_minutes: Annotated[
        float | None, typer.Option(min=0.0, help="Stop after the step then at work, and save.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --output, bit for bit.")
    ] = False,
    activation: Annotated[
        Activation | None, typer.Option(help="Of a bare checkpoint file that does not say.")
    ] = None,
    cache_dir: CacheDir = None,
    quiet: Quiet = False,
) -> int:
    """Train a CLIP on photographs and their captions, from scratch or from a checkpoint.

    Several processes: torchrun --nproc-per-node 2 -m clipcli train ...

    Example: clipcli train photos.csv --init ViT-B/32 --freeze image -o run/
    """
    began = time.monotonic()
    from clipcli.training import log, loop
    from clipcli.training.distributed import joined_processes
    from clipcli.training.pairs import read_pairs
    from clipcli.training.start import open_start
    from clipcli.training.state import Settings

    with joined_processes(device) as (processes, own_device):
        quiet = quiet or not processes.is_first
        report = Report("trained on", quiet)
        found = read_pairs(data, template or ())
        chosen_precision = loop.Precision.choose(precision, own_device)
        start = open_start(init, seed, activation, cache_dir)
        batch_size = min(batch_size, len(found.pairs))
        share = -(-batch_size // processes.size)
        n_steps = epochs * (len(found.pairs) // batch_size)
        settings = Settings(
            init=init,
            data=found.fingerprint(),
            epochs=epochs,
            batch_size=batch_size,
            micro_batch=min(micro_batch or share, share),
            lr=lr if lr is not None else LR_FROM_SCRATCH if start.is_new else LR_FROM_CHECKPOINT,
            weight_decay=weight_decay,
            warmup=min(MOST_WARM_UP_STEPS, n_steps // 10) if warmup is None else warmup,
            seed=seed,
            freeze=freeze,
            flip=flip,
            truncate=truncate,
            precision=chosen_precision.name,
            processes=processes.size,
        )
        files = loop.Files.of(output)
        files.make_folder()
        run = loop.Run(
            start, found.pairs, settings, chosen_precision, files, processes, workers, keep_mb
        )
        if not log.can_draw():
            report.note(f"no picture of the curves: needs matplotlib; {log.PLOT_ADVICE}")
        n_failed = 0

        def on_failure(failure: Failure) -> None:
            nonlocal n_failed
            n_failed += 1
            report.complain(f"{failure.path}: {failure.error}")

        if processes.is_first:
            for failure in found.failures:
                on_failure(failure)
        stop_at = began + 60 * max_minutes if max_minutes is not None else None
        steps = loop.train(run, resume=resume, stop_at=stop_at, on_failure=on_failure)
        last = _follow(steps, run, report, quiet)
        _conclude(last, run, report)
        any_failed = processes.any(n_failed > 0, chosen_precision.device)
        return ExitCode.PARTLY_READ if any_failed else ExitCode.OK


def _follow(steps: Iterator[Step], run: Run, report: Report, quiet: bool) -> Step | None:
    """Show how far it is; after Ctrl-C say what is left."""
    last: Step | None = None
    try:
        with _shown(run, report, quiet) as show:
            for last in steps:
                show(last)
    except StoppedError as stop:
        if run.processes.is_first and run.files.state.exists():
            stop.add_note(f"the last whole epoch is in {run.files.model}; --resume goes on from it")
        raise
    return last


def _conclude(last: Step | None, run: Run, report: Report) -> None:
    n_steps = run.plan.n_steps
    if last is None:
        report.note(f"nothing to do: {run.files.model} is trained, {n_steps} steps")
        return
    done = f"{last.step} of {n_steps} steps" if last.step < n_steps else f"{n_steps} steps"
    more = "; --resume goes on from here" if last.step < n_steps else ""
    report.note(
        f"{run.files.model}: {done} of {run.settings.batch_size} pairs, loss {last.loss:.4f}, logit"
        f" scale {last.logit_scale:.1f}; {run.settings.init}, {run.precision.name} on"
        f" {run.precision.device}, {last.images_per_s:,.1f} images/s{more}"
    )


@contextmanager
def _shown(run: Run, report: Report, quiet: bool) -> Iterator[Callable[[Step], None]]:
    """A bar on a terminal, else a line each half minute."""
    n_steps, n_epochs = run.plan.n_steps, run.settings.epochs
    if quiet:
        yield lambda step: None
        return
    if not sys.stderr.isatty():
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
            report.note(
                f"epoch {step.epoch} of {n_epochs}, step {step.step} of {n_steps}: loss"
                f" {step.loss:.4f}, {step.images_per_s:,.1f} images/s, {left_s / 60:.1f} min left"
            )

        yield say
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("epoch {task.fields[epoch]}, loss {task.fields[loss]:.4f}"),
        TextColumn("{task.fields[rate]:,.1f} images/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("steps", total=n_steps, epoch=0, loss=0.0, rate=0.0)

        def update(step: Step) -> None:
            progress.update(
                task,
                completed=step.step,
                epoch=step.epoch,
                loss=step.loss,
                rate=step.images_per_s,
            )

        yield update
