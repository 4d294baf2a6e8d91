"""`clipcli undo`: moved photographs back to where they were."""

from __future__ import annotations

from typing import Annotated

import typer

from clipcli.cli.options import Quiet


def undo(
    log: Annotated[
        str,
        typer.Argument(metavar="LOG", help="The .clipcli-moves.jsonl of a run, or its folder."),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be moved back, and do nothing.")
    ] = False,
    quiet: Quiet = False,
) -> int:
    """Move photographs back that classify --move-to moved.

    Nothing is overwritten: what cannot go back is named, and stays.

    Example: clipcli undo sorted/.clipcli-moves.jsonl
    Example: clipcli undo sorted/ --dry-run
    """
    from clipcli.cli.work import undo as work

    return work.undo(log, dry_run, quiet)
