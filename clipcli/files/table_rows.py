"""Records as rows for people: columns that fit the width, small bars, colour by certainty.

Widths are settled before the first row, from what the run knows by then, so that rows stream.
What comes from a name is escaped, then coloured.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.color import ColorSystem
from rich.style import Style

from clipcli.errors import one_line
from clipcli.files.rows import Destination, RowWriter, TableContents
from clipcli.files.screen import Screen, cut_at_the_end, cut_path
from clipcli.files.stdout import Stdout
from clipcli.files.table import percent
from clipcli.records import Classified, EmbeddedText, Match, Prediction, Record

GAP = 2  # cells between columns
N_BAR = 8
N_PERCENT = len("100.0 %")
N_COSINE = len("-0.123")
N_COMPONENT = len(" -0.1234")  # of an embedding
# where path and label would have less than this, the bar makes room, then the similarity
N_PATH_WANTED, N_LABEL_WANTED = 20, 16

CERTAIN, UNSURE = 0.8, 0.5  # probabilities
# of the terminal's own colours those that are seen on black and on white
PLAIN, BOLD, DIM = Style(), Style(bold=True), Style(dim=True)
GREEN, RED, MAGENTA = Style(color="green"), Style(color="red"), Style(color="magenta")

_WITHOUT_UNICODE = str.maketrans("…█▉▊▋▌▍▎▏", "~####----")


@dataclass(frozen=True)
class Column:
    """`width` in cells, of which some letters take two, and some none. `is_right`: what is
    shorter stands to the right. `is_path`: what is longer loses its middle, not its end."""

    name: str
    width: int
    is_right: bool = False
    is_path: bool = False


Cell = tuple[str, Style]
EMPTY: Cell = ("", PLAIN)


class TableWriter(RowWriter):
    """A heading and rows; failures have none."""

    def __init__(self, destination: Destination, screen: Screen, columns: Sequence[Column]) -> None:
        super().__init__(destination, [column.name for column in columns])
        self._screen = screen
        self._colours = ColorSystem.STANDARD if screen.has_colours else None
        self._table = columns

    def _start(self) -> str:
        return self._line([(name.upper(), BOLD) for name in self._columns])

    def _text(self, record: Record) -> str:
        return "".join(map(self._line, self._rows(record)))

    @abstractmethod
    def _rows(self, record: Record) -> list[list[Cell]]: ...

    def _line(self, cells: Sequence[Cell]) -> str:
        line = ""
        n_blank = 0  # cells before the next text
        for column, (text, style) in zip(self._table, cells, strict=True):
            cut = cut_path if column.is_path else cut_at_the_end
            text = cut(one_line(text), column.width)
            n_free = column.width - cell_len(text)
            before, after = (n_free, 0) if column.is_right else (0, n_free)
            n_blank += before
            if text:
                line += " " * n_blank + style.render(text, color_system=self._colours)
                n_blank = 0
            n_blank += after + GAP
        return (line if self._screen.is_unicode else line.translate(_WITHOUT_UNICODE)) + "\n"


class ClassifiedTable(TableWriter):
    """A row a label; with several of them the path stands before the first."""

    def __init__(self, destination: Destination, screen: Screen, contents: TableContents) -> None:
        self._has_ranks = contents.n_ranks > 1
        ranks = [Column("rank", len("rank"), is_right=True)] if self._has_ranks else []
        names = [f"({name})" if self._has_ranks else name for name in contents.labels]
        n_path = widest("path", contents.names)
        n_label = widest("label", [*names, _none_fits(contents.unknown)])
        wanted = min(n_path, N_PATH_WANTED) + GAP + min(n_label, N_LABEL_WANTED)
        with_bar = Column("probability", N_PERCENT + 1 + N_BAR)
        similarity = Column("similarity", len("similarity"), is_right=True)
        bare = Column("prob.", N_PERCENT, is_right=True)
        for scores in ([with_bar, similarity], [bare, similarity], [bare]):
            n_left = screen.width - sum(column.width + GAP for column in (*ranks, *scores))
            if n_left >= wanted:
                break
        self._has_bar, self._has_similarity = with_bar in scores, similarity in scores
        n_left -= GAP
        n_label = min(n_label, max(n_left - n_path, n_left // 3, min(N_LABEL_WANTED, n_left // 2)))
        path = Column("path", min(n_path, n_left - n_label), is_path=True)
        columns = [path, *ranks, Column("label", n_label), *scores]
        super().__init__(destination, screen, columns)

    def _rows(self, record: Record) -> list[list[Cell]]:
        if not isinstance(record, Classified):
            return []
        rows = []
        for rank, prediction in enumerate(record.predictions or (None,), start=1):
            row = [(record.path if rank == 1 else "", PLAIN)]
            if self._has_ranks:
                row.append((str(rank) if prediction else "", DIM))
            rows.append([*row, *self._label_and_scores(prediction)])
        return rows

    def _label_and_scores(self, prediction: Prediction | None) -> list[Cell]:
        if prediction is None:
            cells = [(_none_fits(None), MAGENTA), EMPTY, EMPTY]
        else:
            label, label_style, style = _look(prediction)
            chance = str(percent(prediction.probability)).rjust(N_PERCENT)
            if self._has_bar:
                chance = f"{chance} {bar(prediction.probability)}".rstrip()
            cells = [(label, label_style), (chance, style), (f"{prediction.similarity:.3f}", PLAIN)]
        return cells if self._has_similarity else cells[:-1]


class MatchTable(TableWriter):
    """A row an answer; the path comes last, where it has all the room there is."""

    def __init__(self, destination: Destination, screen: Screen, contents: TableContents) -> None:
        rank = Column("rank", max(len("rank"), len(str(contents.n_ranks))), is_right=True)
        n_left = screen.width - rank.width - 2 * GAP
        n_with_bar = N_COSINE + 1 + N_BAR
        self._has_bar = n_left - n_with_bar >= N_PATH_WANTED
        similarity = Column("similarity", n_with_bar)
        if not self._has_bar:
            similarity = Column("similarity", len("similarity"), is_right=True)
        path = Column("path", n_left - similarity.width, is_path=True)
        super().__init__(destination, screen, [rank, similarity, path])

    def _rows(self, record: Record) -> list[list[Cell]]:
        if not isinstance(record, Match):
            return []
        similarity = f"{record.similarity:{N_COSINE}.3f}"
        if self._has_bar:
            similarity = f"{similarity} {bar(record.similarity)}".rstrip()
        return [[(str(record.rank), DIM), (similarity, PLAIN), (record.path, BOLD)]]


class TextTable(TableWriter):
    """A row a text: how many numbers, their norm, and the first of them that there is room for."""

    def __init__(self, destination: Destination, screen: Screen, contents: TableContents) -> None:
        count = Column("numbers", len("numbers"), is_right=True)
        norm = Column("norm", len("1.000"), is_right=True)
        n_left = screen.width - count.width - norm.width - 3 * GAP
        text = Column("text", min(widest("text", contents.names), n_left // 2))
        n_left -= text.width
        self._n_shown = (n_left - len("…")) // N_COMPONENT
        super().__init__(destination, screen, [text, count, norm, Column("embedding", n_left)])

    def _rows(self, record: Record) -> list[list[Cell]]:
        if not isinstance(record, EmbeddedText):
            return []
        values = [float(value) for value in record.embedding]
        shown = [f"{value: .4f}" for value in values[: self._n_shown]]
        first = " ".join(shown if len(shown) == len(values) else [*shown, "…"])
        norm = f"{math.hypot(*values):.3f}"
        return [[(record.text, BOLD), (str(len(values)), PLAIN), (norm, PLAIN), (first, PLAIN)]]


def open_table(destination: Destination, contents: TableContents) -> TableWriter:
    """The table for such records, made for stdout where that is the destination."""
    screen = Screen.of_stdout() if isinstance(destination, Stdout) else Screen()
    tables: dict[type[Record], Callable[[Destination, Screen, TableContents], TableWriter]]
    tables = {Classified: ClassifiedTable, Match: MatchTable, EmbeddedText: TextTable}
    return tables[contents.record](destination, screen, contents)


def widest(heading: str, texts: Iterable[str]) -> int:
    """Cells of the widest of them as they are shown, or of the heading."""
    n_cells = (
        len(text) if text.isascii() and text.isprintable() else cell_len(one_line(text))
        for text in texts
    )
    return max(len(heading), max(n_cells, default=0))


def bar(share: float) -> str:
    """As much of `N_BAR` cells as `share` is of 1, to the eighth of a cell."""
    whole, eighths = divmod(round(8 * N_BAR * min(max(share, 0.0), 1.0)), 8)
    return "█" * whole + " ▏▎▍▌▋▊▉"[eighths].strip()


def _none_fits(unknown: str | None) -> str:
    return "none fits" if unknown is None else f"none fits: {unknown}"


def _look(prediction: Prediction) -> tuple[str, Style, Style]:
    """A label as it is shown, its style, and that of its probability."""
    if prediction.is_unknown:
        return _none_fits(prediction.label), MAGENTA, PLAIN
    if not prediction.is_accepted:  # told apart without colours, too
        return f"({prediction.label})", DIM, DIM
    if prediction.probability >= CERTAIN:
        return prediction.label, BOLD, GREEN
    return prediction.label, BOLD, RED if prediction.probability < UNSURE else PLAIN
