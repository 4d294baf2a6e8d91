"""The texts that `lite` learns from, and the classes that each of them names.

Everything comes from WordNet's nouns, the class list (`classes.tsv`) and the everyday ideas
(`everyday.txt`); no caption of any photograph is used. All texts are lower case.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from wordnet import WordNet

HERE = Path(__file__).parent
# entity, physical entity, object, whole, artifact, living thing, matter, abstraction,
# instrumentality: they name nothing
ABSTRACT = {1740, 1930, 2684, 3553, 21939, 4258, 2137, 20827, 3575240}
GLOSS_FILES = set(
    "act animal artifact body cognition communication event food group location object person"
    " phenomenon plant substance".split()
)
ADJECTIVES = (
    "big small old new red blue green white black brown young wet dirty clean broken shiny cute"
    " tall wooden colorful"
).split()
PLACES = (
    "on the grass;on a table;in the snow;at the beach;in the water;on the street;in a garden;"
    "at sunset;at night;in the kitchen;on a wooden floor;in a field;in front of a house;"
    "on a white background;in a box;near a tree;on the road;in the park;in a room;by the window;"
    "in the forest;on a shelf;in the rain;in the city"
).split(";")
PEOPLE = (
    "a man;a woman;a boy;a girl;a child;people;a person;two people;an old man;a young woman"
).split(";")
RELATIONS = (
    "holding;looking at;next to;standing near;with;sitting beside;playing with;carrying;"
    "taking a picture of;and"
).split(";")

Pairs = dict[str, dict[int, float]]  # text -> class -> weight


@dataclass
class Texts:
    """All texts by the way they are used.

    The pairs say which of the 1,000 classes a text names, and how surely.
    """

    names: list[str]  # [1000], by class
    curated: Pairs = field(default_factory=dict)
    known: Pairs = field(default_factory=dict)  # includes the curated names
    everyday: Pairs = field(default_factory=dict)
    weak: Pairs = field(default_factory=dict)
    plurals: Pairs = field(default_factory=dict)
    glosses: Pairs = field(default_factory=dict)
    nouns: list[str] = field(
        default_factory=list
    )  # from here on no class is known: the teacher's vector alone
    other_glosses: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)

    def all(self) -> list[str]:
        """Every different text, sorted."""
        groups = vars(self).values()
        return sorted(
            {text for group in groups for text in group} - set(self.names) | set(self.curated)
        )


def build(
    wordnet: WordNet, vocabulary: list[str], left_out: list[str] = (), seed: int = 0
) -> Texts:
    """The texts without those that contain a word of `left_out`, or another word of its synsets."""
    classes = [line.split("\t") for line in (HERE / "classes.tsv").read_text("utf-8").splitlines()]
    offsets, names = [int(offset) for offset, _ in classes], [name.lower() for _, name in classes]
    below = classes_below(wordnet, offsets)
    texts = Texts(names)
    texts.curated = curated_pairs(names)
    texts.known = known_pairs(wordnet, offsets, below)
    for text, pairs in texts.curated.items():
        older = texts.known.get(text, {})
        halved = {c: weight / 2 for c, weight in older.items()} if len(older) > 6 else {}
        texts.known[text] = halved | pairs
    texts.everyday = everyday_pairs(wordnet, names, below)
    for text in list(texts.everyday):
        if text in texts.known:
            pairs = texts.everyday.pop(text)
            texts.known[text] = pairs | texts.known[text]
    texts.weak = weak_pairs(wordnet, below, {*texts.known, *texts.everyday})
    texts.plurals = {plural(text): pairs for text, pairs in texts.known.items()}
    texts.plurals = {
        text: pairs for text, pairs in texts.plurals.items() if text not in texts.known
    }
    texts.glosses = gloss_pairs(wordnet, below)
    settled = {*texts.known, *texts.everyday, *texts.weak, *texts.plurals}
    texts.nouns = sorted(
        word
        for word, senses in wordnet.senses.items()
        if word not in settled
        and len(word) >= 3
        and word.count(" ") < 3
        and not re.search(r"\d", word)
        and not wordnet.synsets[senses[0]].is_instance
    )
    glosses = (
        wordnet.description(offset)
        for offset in sorted(wordnet.synsets)
        if offset not in below
        and wordnet.synsets[offset].file in GLOSS_FILES
        and not wordnet.synsets[offset].is_instance
    )
    texts.other_glosses = sorted(
        {gloss for gloss in glosses if 2 <= len(gloss.split()) <= 14} - set(texts.glosses)
    )
    texts.words = sorted(
        word[:-4]
        for word in vocabulary
        if re.fullmatch(r"[a-z]{3,}</w>", word)
        and word[:-4] not in settled
        and word[:-4] not in wordnet.senses
    )
    short = [
        text for text, pairs in texts.known.items() if text.count(" ") < 2 and len(pairs) < 200
    ]
    texts.captions = captions(sorted({*short, *texts.curated}), random.Random(seed))
    if left_out:
        leave_out(texts, synonyms(wordnet, below, left_out), left_out)
    return texts


def classes_below(wordnet: WordNet, offsets: list[int]) -> dict[int, list[int]]:
    """Offset of each synset above a class, or a class itself -> the classes under it."""
    below = defaultdict(list)
    for c, offset in enumerate(offsets):
        for ancestor in wordnet.ancestors(offset) - ABSTRACT:
            below[ancestor].append(c)
    return dict(below)


def curated_pairs(names: list[str]) -> Pairs:
    """Class names, and the parts of those that offer a choice ("bell or wind chime")."""
    pairs = defaultdict(dict)
    for c, name in enumerate(names):
        for text in {name, *re.split(r" or | / ", re.sub(r"\(.*\)", "", name).strip())}:
            pairs[text.strip()][c] = 1.0
    return dict(pairs)


def known_pairs(wordnet: WordNet, offsets: list[int], below: dict[int, list[int]]) -> Pairs:
    """Every word of every synset above a class; rarer meanings weigh less."""
    pairs = defaultdict(dict)
    for offset, classes in below.items():
        for word in wordnet.synsets[offset].words:
            rank = wordnet.rank(word, offset)
            if rank > (4 if offset in offsets else 3):
                continue
            for c in classes:
                pairs[word][c] = max(pairs[word].get(c, 0.0), 1 / (1 + rank))
    return dict(pairs)


def everyday_pairs(
    wordnet: WordNet, names: list[str], below: dict[int, list[int]], weight: float = 0.5
) -> Pairs:
    """The ideas of `everyday.txt`."""
    index = defaultdict(list)
    for c, name in enumerate(names):
        index[name].append(c)
    sets: dict[str, set[int]] = {}
    pairs: dict[str, dict[int, float]] = defaultdict(dict)

    def find(item: str) -> set[int]:
        if item.startswith("$"):
            return sets[item]
        if item.startswith("@"):
            senses = wordnet.senses[item[1:]][:3]
            return {c for offset in senses for c in below.get(offset, [])}
        if item.lower() not in index:
            raise KeyError(f"everyday.txt: no class is named {item!r}")
        return set(index[item.lower()])

    for line in (HERE / "everyday.txt").read_text("utf-8").splitlines():
        if line.startswith("#") or not line.strip():
            continue
        left, arrow, right = line.partition(" <- ") if " <- " in line else line.partition(" = ")
        classes = set().union(*(find(item.strip()) for item in right.split(";")))
        if arrow == " = ":
            sets[left] = classes
        else:
            for text in left.removeprefix("~ ").split(","):
                pairs[text.strip()] |= dict.fromkeys(classes, weight)
    return dict(pairs)


def guesses() -> set[str]:
    """The everyday ideas marked as a guess."""
    lines = (HERE / "everyday.txt").read_text("utf-8").splitlines()
    marked = (
        line.removeprefix("~ ").partition(" <- ")[0] for line in lines if line.startswith("~ ")
    )
    return {text.strip() for line in marked for text in line.split(",")}


def weak_pairs(
    wordnet: WordNet, below: dict[int, list[int]], settled: set[str], weight: float = 0.15
) -> Pairs:
    """Words for kinds that are no class (puppy): the classes of the nearest idea above (dog)."""
    pairs = {}
    for word, senses in wordnet.senses.items():
        if (
            word in settled
            or len(word) < 3
            or re.search(r"\d", word)
            or wordnet.synsets[senses[0]].is_instance
        ):
            continue
        level = {senses[0]}
        for _ in range(3):
            level = {above for offset in level for above in wordnet.synsets[offset].hypernyms}
            touched = [below[offset] for offset in sorted(level) if offset in below]
            if touched:
                smallest = min(touched, key=len)
                if len(smallest) <= 130:
                    pairs[word] = dict.fromkeys(smallest, weight)
                break
    return pairs


def gloss_pairs(wordnet: WordNet, below: dict[int, list[int]]) -> Pairs:
    """Descriptions of the synsets above classes."""
    glosses = {
        wordnet.description(offset): dict.fromkeys(classes, 1.0)
        for offset, classes in below.items()
    }
    return {gloss: pairs for gloss, pairs in glosses.items() if 2 <= len(gloss.split()) <= 24}


def plural(text: str) -> str:
    """The regular English plural of the last word."""
    if re.search(r"[^aeiou]y$", text):
        return text[:-1] + "ies"
    return text + ("es" if re.search(r"(s|x|z|ch|sh)$", text) else "s")


def article(text: str) -> str:
    return ("an " if text[:1] in "aeiou" else "a ") + text


def captions(names: list[str], chance: random.Random, n_each: int = 9000) -> list[str]:
    """Made-up captions; they teach the text tower sentences, not what is in a photograph."""
    made = set()
    for _ in range(n_each):
        first, second = chance.choice(names), chance.choice(names)
        start = f"{chance.choice(['a', 'the'])} {chance.choice(ADJECTIVES)}"
        made.add(f"{start} {first} {chance.choice(PLACES)}")
        made.add(f"{chance.choice(PEOPLE)} {chance.choice(RELATIONS)} {article(second)}")
        made.add(f"{article(first)} and {article(second)}")
    return sorted(made)


def synonyms(wordnet: WordNet, below: dict[int, list[int]], words: list[str]) -> set[str]:
    """The words themselves and all other words of their synsets that lie above a class."""
    return {
        other
        for word in words
        for offset in wordnet.senses[word]
        if offset in below
        for other in wordnet.synsets[offset].words
    } | set(words)


def leave_out(texts: Texts, unwanted: set[str], stems: list[str]) -> None:
    """Drop every text with an unwanted word; the longer stems also inside words (seabird)."""
    whole = "|".join(rf"\b{re.escape(word)}(?:s|es)?\b" for word in sorted(unwanted))
    inside = "|".join(re.escape(stem) for stem in stems if len(stem) > 3)
    pattern = re.compile(f"{whole}|{inside}" if inside else whole)
    for name, group in vars(texts).items():
        if name == "names":
            continue
        if isinstance(group, dict):
            setattr(
                texts,
                name,
                {text: pairs for text, pairs in group.items() if not pattern.search(text)},
            )
        else:
            setattr(texts, name, [text for text in group if not pattern.search(text)])
