"""`clipcli tag`: rows that a person looked through to keywords."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from clipcli.cli.help import KEYWORDS, LABELS, in_panel
from clipcli.cli.options.keywords import KeywordOptions
from clipcli.cli.options.shared import Failures, Log, Quiet
from clipcli.cli.options.takes import takes


@dataclass(frozen=True)
class TagRowsOptions:
    """Which rows are written, and whether anything is."""

    min_probability: Annotated[
        float | None,
        in_panel(
            LABELS,
            min=0.0,
            max=1.0,
            metavar="P",
            help="Leave out labels below this; 0 takes all.",
            show_default="none, and needed where some label always wins",
        ),
    ] = None
    clear: Annotated[
        bool,
        in_panel(
            KEYWORDS,
            "--clear",
            help="Take back all that clipcli wrote, of ROWS or of PATHs; with --embed-keywords also"
            " inside photographs.",
        ),
    ] = False
    dry_run: Annotated[
        bool, in_panel(KEYWORDS, "--dry-run", help="Show what would change, and change nothing.")
    ] = False
    failures: Failures = None
    quiet: Quiet = False
    log: Log = None

    @property
    def files(self) -> dict[str, str | None]:
        """What each option writes."""
        return {"failures": self.failures}


@takes(TagRowsOptions, KeywordOptions)
def tag(
    *,
    names: Annotated[
        list[str],
        typer.Argument(metavar="ROWS", help="What classify wrote; with --clear also photographs."),
    ],
    rows: TagRowsOptions,
    keywords: KeywordOptions,
) -> int:
    """Write labels from rows of classify into XMP sidecars.

    Rows of classify count as found automatically, a CSV of path,label as confirmed by a person.

    Example: clipcli tag labels.csv --dry-run
    Example: clipcli tag --clear photos/
    """
    from clipcli.cli.work import tag as work

    return work.tag(names, rows, keywords)
