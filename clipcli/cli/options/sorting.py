"""Photographs into a folder for each label: options of `classify`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from clipcli.cli.help import SORTING, in_panel


@dataclass(frozen=True)
class SortOptions:
    """Where photographs go, at most one of three ways."""

    copy_to: Annotated[
        str | None,
        in_panel(SORTING, metavar="DIR", help="Copy each photograph into DIR/LABEL."),
    ] = None
    move_to: Annotated[
        str | None,
        in_panel(SORTING, metavar="DIR", help="Move them there; clipcli undo moves them back."),
    ] = None
    link_to: Annotated[
        str | None,
        in_panel(SORTING, metavar="DIR", help="Link to them, in every accepted label's folder."),
    ] = None
    hard: Annotated[
        bool, in_panel(SORTING, "--hard", help="With --link-to, hard links, not symbolic ones.")
    ] = False
    dry_run: Annotated[
        bool,
        in_panel(SORTING, "--dry-run", help="Show what would be written or moved, and do nothing."),
    ] = False
