"""What `clipcli eval` prints: plain text, the same in a terminal and in a pipe."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from clipcli.errors import one_line

if TYPE_CHECKING:
    from clipcli.evaluation.measure import Evaluation
    from clipcli.evaluation.metrics import Bin
    from clipcli.evaluation.tables import Table

N_CONFUSIONS = 10
BAR_WIDTH = 40


def evaluation_text(evaluation: Evaluation) -> str:
    """Everything about one classifier."""
    from clipcli.evaluation import tables

    asked = evaluation.asked
    heading = (
        f"{evaluation.n:,} photographs, {len(evaluation.per_label):,} labels;"
        f" {asked.spec.name}, {tables.templates_name(asked.templates)}\n"
    )
    parts = [tables.overall(evaluation), tables.of_labels(evaluation)]
    if evaluation.confusions:
        parts.append(tables.of_confusions(evaluation, N_CONFUSIONS))
    return "\n".join([heading, *map(table_text, [*parts, _reliability(evaluation.bins)])])


def comparison_text(evaluations: Sequence[Evaluation]) -> str:
    """One line for each classifier, and how it differs from the first."""
    from clipcli.evaluation import tables

    first = evaluations[0]
    return (
        f"{first.n:,} photographs, {len(first.per_label):,} labels; differences to the first"
        " line, in points of top-1 on the same photographs\n\n"
        + table_text(tables.comparison(evaluations))
    )


def table_text(table: Table) -> str:
    """Columns under their names; letters that are two wide count as two."""
    from rich.console import Console
    from rich.table import Table as Drawn

    drawn = Drawn(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for place, name in enumerate(table.names):
        justify: Literal["left", "right"] = "right" if place in table.numbers else "left"
        drawn.add_column(name.upper(), justify=justify, no_wrap=True)
    for row in table.rows:
        drawn.add_row(*(one_line(cell) for cell in row))
    text = io.StringIO()
    # as wide as it takes: a terminal wraps, a pipe must not
    console = Console(
        file=text, width=100_000, color_system=None, markup=False, emoji=False, highlight=False
    )
    console.print(drawn)
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def _reliability(bins: Sequence[Bin]) -> Table:
    """A bar as long as the share that was right, and a | where the probabilities said it ends."""
    from clipcli.evaluation.tables import Table, percent

    rows = []
    for one in bins:
        bar = "#" * round(BAR_WIDTH * one.share_right)
        said = round(BAR_WIDTH * one.mean_probability)
        rows.append(
            [
                f"{one.low:.2f} to {one.high:.2f}",
                f"{one.n:,}",
                percent(one.mean_probability),
                percent(one.share_right),
                bar.ljust(said)[:said] + "|" + bar[said + 1 :],
            ]
        )
    return Table(("probability", "n", "| said", "# right", ""), rows, numbers=(1, 2, 3))
