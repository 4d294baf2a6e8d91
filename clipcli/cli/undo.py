"""`clipcli undo`: moved photographs back to where they were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from clipcli.cli.help import OUTPUT, in_panel
from clipcli.cli.options.shared import Log, Quiet
from clipcli.cli.options.takes import takes


@dataclass(frozen=True)
class UndoOptions:
    """Whether anything is moved, and what is said."""

    dry_run: Annotated[
        bool, in_panel(OUTPUT, "--dry-run", help="Show what would be moved back, and do nothing.")
    ] = False
    quiet: Quiet = False
    log: Log = None


@takes(UndoOptions)
def undo(
    *,
    moves: Annotated[
        str,
        typer.Argument(metavar="LOG", help="The .clipcli-moves.jsonl of a run, or its folder."),
    ],
    options: UndoOptions,
) -> int:
    """Move photographs back that classify --move-to moved.

    Nothing is overwritten: what cannot go back is named, and stays.

    Example: clipcli undo sorted/.clipcli-moves.jsonl
    Example: clipcli undo sorted/ --dry-run
    """
    from clipcli.cli.work import undo as work

    return work.undo(moves, options)
