"""How far it is, on stderr: a bar, or lines where the terminal cannot move its cursor (TERM=dumb).
In a pipe, or with --quiet, nothing: logs and the mails of cron stay short."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Literal

from clipcli.cli import talk
from clipcli.cli.work.pace import Pace, time_left
from clipcli.errors import one_line
from clipcli.models.on_disk import catalogue

if TYPE_CHECKING:
    from rich.progress import Progress

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 10.0
N_COLUMNS_FREE = 4  # beside a bar: a ^C that is typed must not begin a line of its own
MB = 1_000_000

_bar: Progress | None = None  # that is on the screen


def way(quiet: bool) -> Literal["bar", "lines", "silence"]:
    """How to show progress on this stderr."""
    if quiet or not sys.stderr.isatty():
        return "silence"
    return "lines" if os.environ.get("TERM", "").lower() in ("dumb", "unknown") else "bar"


@contextmanager
def bar(*columns: object, state: Callable[[], dict[str, Any]] = dict) -> Iterator[Progress]:
    """A bar that goes away when it is done; lines said meanwhile stand above it.

    state: what its task is updated with whenever it is drawn, ten times a second.
    """
    global _bar
    from rich.console import Console, RenderableType
    from rich.constrain import Constrain
    from rich.progress import Progress

    # what passes through it is names and rows, of others' making: no [bold] or :smile: in them
    console = Console(stderr=True, markup=False, emoji=False, highlight=False)

    class NarrowProgress(Progress):
        def get_renderable(self) -> RenderableType:
            for task in self.task_ids:
                self.update(task, **state())
            return Constrain(super().get_renderable(), console.width - N_COLUMNS_FREE)

    with (
        talk.above(console),
        NarrowProgress(*columns, console=console, transient=True) as _bar,  # type: ignore[arg-type]
    ):
        try:
            yield _bar
        finally:
            _bar = None


class Lines:
    """Says a line now and then."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last_s = time.monotonic()

    def say(self, line: Callable[[], str]) -> None:
        """Unless one was said a moment ago."""
        now_s = time.monotonic()
        if now_s - self._last_s >= self._seconds:
            self._last_s = now_s
            logger.info(line())


@contextmanager
def of_opening(model: str, quiet: bool = False) -> Iterator[None]:
    """While this model is opened, which takes seconds, also in another thread than a bar's."""
    name = one_line(model if catalogue.model_name(model) else os.path.basename(model))
    how = way(quiet)
    if how == "lines":
        logger.info(f"loading {name}")
    if how != "bar":
        yield
        return
    from rich.progress import TextColumn

    description = TextColumn("{task.description}", markup=False)
    with ExitStack() as stack:
        shown = _bar if _bar is not None else stack.enter_context(bar(description))
        if not shown.tasks:
            shown.add_task("")
        before = shown.tasks[0].description
        shown.update(shown.task_ids[0], description=f"loading {name} ...", refresh=True)
        try:
            yield
        finally:
            shown.update(shown.task_ids[0], description=before)


@contextmanager
def of_download(quiet: bool) -> Iterator[Callable[[int, int | None], None]]:
    """A callback for the bytes of a download; the bar appears with the first of them."""
    how = way(quiet)
    if how == "silence":
        yield lambda done, total: None
        return
    pace = Pace()
    if how == "lines":
        lines = Lines(SECONDS_BETWEEN_LINES)

        def say(done: int, total: int | None) -> None:
            pace.reached(done)
            lines.say(lambda: f"downloading: {_download_text(done, total, pace)}")

        yield say
        return
    from rich.progress import BarColumn, TextColumn

    with ExitStack() as stack:
        shown: Progress | None = None

        def draw(done: int, total: int | None) -> None:
            nonlocal shown
            pace.reached(done)
            if shown is None:  # mostly there is nothing to download, and no bar to draw
                columns = ("downloading", BarColumn(), TextColumn("{task.description}"))
                shown = stack.enter_context(bar(*columns))
                shown.add_task("")
            text = _download_text(done, total, pace)
            shown.update(shown.task_ids[0], completed=done, total=total, description=text)
            if done == total:
                stack.close()  # what follows, as opening the model, has a line of its own
                shown = None

        yield draw


def _download_text(done: int, total: int | None, pace: Pace) -> str:
    text = f"{done / MB:,.1f} MB" + ("" if total is None else f" of {total / MB:,.1f} MB")
    if pace.per_s:
        text += f", {pace.per_s / MB:,.1f} MB/s"
        text += "" if total is None else f", {time_left(total - done, pace.per_s)}"
    return text


@contextmanager
def of_files(n_files: int, quiet: bool, n_settled: int = 0) -> Iterator[Callable[[int], None]]:
    """A callback for each further file that is settled, which gets how many failed so far."""
    how = way(quiet)
    if how == "silence":
        yield lambda n_failed: None
        return
    pace = Pace()
    n_failed = 0

    def settled(n_failed_now: int) -> None:
        nonlocal n_settled, n_failed
        n_settled += 1
        n_failed = n_failed_now
        pace.reached(n_settled)

    def text(*first: str) -> str:
        parts = [*first]
        if pace.per_s:
            left = time_left(n_files - n_settled, pace.per_s)
            parts += [f"{pace.per_s:,.1f} files/s", left]
        if n_failed:
            parts.append(f"{n_failed:,} failed")
        return ", ".join(parts)

    if how == "lines":
        lines = Lines(SECONDS_BETWEEN_LINES)

        def say(n_failed: int) -> None:
            settled(n_failed)
            lines.say(lambda: text(f"{n_settled:,} of {n_files:,} files"))

        yield say
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[text]}"),
    )
    with bar(*columns, state=lambda: {"completed": n_settled, "text": text()}) as shown:
        shown.add_task("files", total=n_files, text="")
        yield settled
