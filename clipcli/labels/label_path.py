"""Paths of labels: `animal/dog` is a dog among animals, for folders and hierarchies of keywords."""

from __future__ import annotations

import re

# with blanks round it, as in "cardboard box / carton", it is text
_LEVEL = re.compile(r"(?<!\s)/|/(?!\s)")


def label_parts(name: str) -> tuple[str, ...]:
    """The parts of a label, from the widest on; of most labels one: the label itself."""
    return tuple(part.strip() for part in _LEVEL.split(name))
