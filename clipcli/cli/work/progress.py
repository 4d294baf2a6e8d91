"""Bars on stderr; where that is no terminal, or --quiet was given, there are none."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from clipcli.cli import talk

if TYPE_CHECKING:
    from rich.progress import Progress


@contextmanager
def bar(*columns: object) -> Iterator[Progress]:
    """A bar that goes away when it is done; lines said meanwhile stand above it."""
    from rich.console import Console
    from rich.progress import Progress

    # what passes through it is names and rows, of others' making: no [bold] or :smile: in them
    console = Console(stderr=True, markup=False, emoji=False, highlight=False)
    with (
        talk.above(console),
        Progress(*columns, console=console, transient=True) as progress,  # type: ignore[arg-type]
    ):
        yield progress


@contextmanager
def of_download(quiet: bool) -> Iterator[Callable[[int, int | None], None]]:
    """A callback for the bytes of a download; the bar appears with the first of them."""
    if quiet or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn

    with ExitStack() as stack:
        progress: Progress | None = None

        def on_progress(done: int, total: int | None) -> None:
            nonlocal progress
            if progress is None:  # mostly there is nothing to download, and no bar to draw
                name = TextColumn("{task.description}")
                columns = (name, BarColumn(), DownloadColumn(), TransferSpeedColumn())
                progress = stack.enter_context(bar(*columns))
                progress.add_task("downloading")
            progress.update(progress.task_ids[0], completed=done, total=total)

        yield on_progress


@contextmanager
def of_files(n_files: int, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A callback for each file that is settled: gets how many are done, and how many failed."""
    if quiet or not sys.stderr.isatty():
        yield lambda n_done, n_failed: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.1f} images/s"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failed]} failed"),
    )
    start = time.monotonic()
    with bar(*columns) as progress:
        task = progress.add_task("files", total=n_files, rate=0.0, failed=0)

        def advance(n_done: int, n_failed: int) -> None:
            rate = n_done / max(time.monotonic() - start, 1e-9)
            progress.update(task, advance=1, rate=rate, failed=n_failed)

        yield advance
