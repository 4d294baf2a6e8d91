"""Paths of labels: `animal/dog` is a dog among animals, for folders and hierarchies of keywords."""

from __future__ import annotations

import re
from collections.abc import Iterable

from clipcli.errors import UsageError, one_line

# with blanks round it, as in "cardboard box / carton", it is text
_LEVEL = re.compile(r"(?<!\s)/|/(?!\s)")


def label_parts(name: str) -> tuple[str, ...]:
    """The parts of a label, from the widest on; of most labels one: the label itself."""
    return tuple(part.strip() for part in _LEVEL.split(name))


def shown_words(name: str) -> str:
    """What the model is shown for a label without a text of its own: of a path its last part."""
    parts = label_parts(name)
    return parts[-1] if len(parts) > 1 and parts[-1] else name


def check_label_paths(names: Iterable[str], source: str) -> None:
    """Raises UsageError, naming `source`, for a label that can be no folder and no keyword."""
    for name in names:
        why = next(filter(None, map(_why_no_part, label_parts(name))), None)
        if why is not None:
            raise UsageError(
                f"{source}: {one_line(name)}: {why}; expected a word, or a path of words like"
                " animal/dog (with blanks round it, a slash is text)"
            )


def _why_no_part(part: str) -> str | None:
    if not part:
        return "an empty part"
    if part in (".", ".."):
        return f"a part that is {part}"
    if "|" in part:
        return "a | in a label, where photo programs begin a level; labels are separated by commas"
    return None
