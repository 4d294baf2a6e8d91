"""Which columns of a table hold a path and what is said of it: as options say, or its header."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from clipcli.errors import UsageError

# what else a header may call these columns
OTHER_NAMES = {
    "path": (
        "filepath", "file_path", "filename", "file_name", "file", "image_path", "image", "photo"
    ),
    "label": ("class", "category", "label_name", "class_name"),
    "caption": ("title", "text", "description"),
}  # fmt: skip
N_NAMED = 10  # columns in a message


@dataclass(frozen=True)
class Columns:
    """Two columns, that of the paths first.

    chosen: what the options --NAME-column say of each, a name in the header or a number from 1.
    """

    names: tuple[str, str]
    chosen: tuple[str | None, str | None] = (None, None)

    @property
    def options(self) -> tuple[str, str]:
        first, second = self.names
        return f"--{first}-column", f"--{second}-column"

    @property
    def are_chosen(self) -> bool:
        """Whether an option speaks of one of them."""
        return self.chosen != (None, None)

    def check_none_chosen(self, folder: str) -> None:
        """Raises UsageError for options that a folder makes no use of."""
        for option, one in zip(self.options, self.chosen, strict=True):
            if one is not None:
                raise UsageError(f"{folder}: a folder has no columns; leave {option} out")

    def find(self, cells: Sequence[str], is_photo: Callable[[str], bool]) -> tuple[list[int], bool]:
        """Where both are, from 0, and whether this first row is a header.

        It is none where `is_photo` says so of its path and no column is chosen by name. Without a
        header and options there are two columns, in their order. Raises UsageError for others.
        """
        if self.are_chosen:
            places = self._chosen_places(cells)
            is_by_name = any(one is not None and not _is_number(one) for one in self.chosen)
            return places, is_by_name or not is_photo(cells[places[0]])
        known = [_known(_names(cells), name) for name in self.names]
        if None not in known:
            return [place for place in known if place is not None], True
        if len(cells) == 2 and is_photo(cells[0]):
            return [0, 1], False
        found = f"{len(cells)} columns instead of 2"
        if len(cells) == 1:
            raise UsageError(found)
        if known[0] is not None:
            found = f"no name that is known for the column of {self.names[1]}s"
        elif len(cells) == 2:
            name = cells[0].strip()
            found = f"{name} is no photograph, and no name that is known for the column of paths"
        raise UsageError(f"{found}; say with {self._both} which of {_listed(cells)} they are")

    @property
    def _both(self) -> str:
        return " and ".join(self.options)

    def _chosen_places(self, cells: Sequence[str]) -> list[int]:
        """A column of which no option speaks has a known name, or is the other of two."""
        chosen = [
            None if one is None else _chosen(cells, one, option)
            for one, option in zip(self.chosen, self.options, strict=True)
        ]
        places = [place for place in chosen if place is not None]
        if len(places) == 1:
            missing, taken = chosen.index(None), places[0]
            names = ["" if place == taken else name for place, name in enumerate(_names(cells))]
            other = _known(names, self.names[missing])
            if other is None and len(cells) == 2:
                other = 1 - taken
            if other is None:
                raise UsageError(
                    f"no name that is known for the column of {self.names[missing]}s; say with"
                    f" {self.options[missing]} which of {_listed(cells)} it is"
                )
            places.insert(missing, other)
        if places[0] == places[1]:
            column = f"{places[0] + 1}, {_listed(cells[places[0] :][:1])}"
            raise UsageError(f"{self._both} both name column {column}; name two")
        return places


def _chosen(cells: Sequence[str], one: str, option: str) -> int:
    """The place of the column that an option names."""
    if _is_number(one) and 1 <= int(one) <= len(cells):
        return int(one) - 1
    name = one.strip().lower()
    if not _is_number(one) and name in _names(cells):
        return _names(cells).index(name)
    number = "1" if len(cells) == 1 else f"1 to {len(cells)}"
    raise UsageError(
        f"no column {one}; expected {option} with one of {_listed(cells)}, or a number, {number}"
    )


def _is_number(one: str) -> bool:
    return one.isascii() and one.isdecimal()


def _known(names: Sequence[str], column: str) -> int | None:
    """Where a header has this column, under its own name or another."""
    called = (column, *OTHER_NAMES.get(column, ()))
    return next((names.index(name) for name in called if name in names), None)


def _names(cells: Sequence[str]) -> list[str]:
    return [cell.strip().lower() for cell in cells]


def _listed(cells: Sequence[str]) -> str:
    """The columns as the first row names them."""
    more = f" and {len(cells) - N_NAMED} more" if len(cells) > N_NAMED else ""
    return ", ".join(cell.strip() or "(no name)" for cell in cells[:N_NAMED]) + more
