"""WordNet's nouns, read from the plain files `data.noun` and `index.noun` (wordnet-base in Debian).

The format is described in wndb(5WN). Only what the texts need is kept: words, hypernyms, glosses.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

LEXICOGRAPHER_FILES = dict(
    enumerate(
        "tops act animal artifact attribute body cognition communication event feeling food group"
        " location motive object person phenomenon plant possession process quantity relation"
        " shape state substance time".split(),
        start=3,
    )
)


@dataclass(frozen=True)
class Synset:
    """One meaning: its words (lower case, with spaces), its hypernyms and its description."""

    offset: int
    words: tuple[str, ...]
    hypernyms: tuple[int, ...]
    is_instance: bool  # a proper name, such as a person or a place
    file: str
    gloss: str


class WordNet:
    """The nouns of WordNet 3.0."""

    def __init__(self, folder: Path):
        self.synsets = {synset.offset: synset for synset in _read_synsets(folder / "data.noun")}
        self.senses = dict(
            _read_senses(folder / "index.noun")
        )  # word -> offsets, commonest meaning first

    @cached_property
    def hyponyms(self) -> dict[int, list[int]]:
        """Offset -> offsets of its direct kinds."""
        below = defaultdict(list)
        for synset in self.synsets.values():
            for offset in synset.hypernyms:
                below[offset].append(synset.offset)
        return below

    def ancestors(self, offset: int) -> set[int]:
        """Everything that a synset is a kind of, itself included."""
        found, waiting = set(), [offset]
        while waiting:
            offset = waiting.pop()
            if offset not in found:
                found.add(offset)
                waiting += self.synsets[offset].hypernyms
        return found

    def rank(self, word: str, offset: int) -> int:
        """0 if this is the commonest meaning of the word, 1 for the second, and so on."""
        senses = self.senses.get(word, [])
        return senses.index(offset) if offset in senses else len(senses)

    def description(self, offset: int) -> str:
        """The gloss without brackets and examples."""
        gloss = re.split(r'[;"]', self.synsets[offset].gloss)[0]
        return " ".join(re.sub(r"\([^)]*\)", " ", gloss).split()).lower()


def _read_synsets(path: Path):
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("  "):  # the licence
            continue
        fields, _, gloss = line.partition(" | ")
        fields = fields.split()
        n_words = int(fields[3], 16)
        words = tuple(word.replace("_", " ").lower() for word in fields[4 : 4 + 2 * n_words : 2])
        pointers = fields[5 + 2 * n_words :]
        kinds = [(pointers[i], int(pointers[i + 1])) for i in range(0, len(pointers) - 3, 4)]
        yield Synset(
            offset=int(fields[0]),
            words=words,
            hypernyms=tuple(offset for kind, offset in kinds if kind in ("@", "@i")),
            is_instance=any(kind == "@i" for kind, _ in kinds),
            file=LEXICOGRAPHER_FILES[int(fields[1])],
            gloss=gloss.strip(),
        )


def _read_senses(path: Path):
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("  "):
            continue
        fields = line.split()
        n_senses = int(fields[2])
        yield fields[0].replace("_", " "), [int(offset) for offset in fields[-n_senses:]]
