"""What one training step reads: texts in their wordings, their classes, the teacher's targets."""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from texts import Pairs, Texts
from torch import Tensor
from torch.nn import functional as F

SHARES = {
    "curated": 26,
    "known": 19,
    "everyday": 5,
    "weak": 16,
    "plurals": 6,
    "nouns": 8,
    "words": 10,
    "glosses": 6,
    "other_glosses": 8,
    "captions": 8,
}  # parts of a batch
NAME_TEMPLATES = {
    "a photo of a {}.": 8,
    "{}": 7,
    "a photo of {}.": 2,
    "a {}": 2,
    "a photo of the {}.": 1,
    "an image of a {}": 1,
    "a picture of a {}.": 1,
    "the {}.": 1,
    "a close-up photo of a {}.": 1,
    "my {}": 1,
    "a photo of my {}.": 1,
    "a good photo of a {}.": 1,
    "a bad photo of a {}.": 1,
    "{} photo": 0.5,
    "this is a {}.": 0.5,
    "there is a {} in the picture": 0.5,
    "a painting of a {}.": 0.5,
    "a photo of one {}.": 0.5,
}
PLURAL_TEMPLATES = {"a photo of {}.": 1, "{}": 1, "the {}.": 1, "my {}": 1}
TEMPLATES = dict.fromkeys(
    ("curated", "known", "everyday", "weak", "nouns", "words"), NAME_TEMPLATES
)
TEMPLATES |= {"plurals": PLURAL_TEMPLATES}


def dense(pairs: Pairs, n_classes: int = 1000) -> Tensor:
    """Weights float16 [n_texts, n_classes], in the order of the pairs."""
    weights = torch.zeros(len(pairs), n_classes, dtype=torch.float16)
    for row, classes in enumerate(pairs.values()):
        weights[row, list(classes)] = torch.tensor(list(classes.values()), dtype=torch.float16)
    return weights


def scene_texts(texts: Texts) -> tuple[list[Tensor], Tensor]:
    """Texts that a scene may show: 3 to 100 classes, everyday ideas six times likelier."""
    chosen = [
        (pairs, odds)
        for group, odds in ((texts.known, 1.0), (texts.everyday, 6.0))
        for pairs in group.values()
        if 3 <= len(pairs) <= 100
    ]
    return [torch.tensor(sorted(pairs)) for pairs, _ in chosen], torch.tensor(
        [odds for _, odds in chosen]
    )


@dataclass
class Batch:
    """Texts [n] and what they should become.

    targets: float32 [n, d], unit length; weights: [n_matched, n_classes], of the first texts, which
    have classes; is_weak: bool [n_matched].
    """

    texts: list[str]
    targets: Tensor
    weights: Tensor
    is_weak: Tensor


class Batches:
    """Draws batches for ever; targets: unit float16 embedding of each plain text."""

    def __init__(self, texts: Texts, targets: dict[str, Tensor], size: int, seed: int) -> None:
        self.chance = random.Random(seed)
        self.groups = {name: list(getattr(texts, name)) for name in SHARES}
        matched = [name for name in SHARES if isinstance(getattr(texts, name), dict)]
        self.weights = {name: dense(getattr(texts, name)) for name in matched}
        self.targets = {
            name: torch.stack([targets[text] for text in group])
            for name, group in self.groups.items()
        }
        total = sum(SHARES.values())
        self.counts = {
            name: round(size * SHARES[name] / total)
            for name in (*matched, *(SHARES.keys() - set(matched)))
        }

    def draw(self) -> Batch:
        texts, targets, weights, is_weak = [], [], [], []
        for name, count in sorted(
            self.counts.items(), key=lambda item: item[0] not in self.weights
        ):
            rows = [self.chance.randrange(len(self.groups[name])) for _ in range(count)]
            texts += [self.word(name, self.groups[name][row]) for row in rows]
            targets.append(self.targets[name][rows].float())
            if name in self.weights:
                weights.append(self.weights[name][rows].float())
                is_weak.append(torch.full((count,), name == "weak"))
        return Batch(texts, torch.cat(targets), torch.cat(weights), torch.cat(is_weak))

    def word(self, group: str, text: str) -> str:
        """The text as somebody might write it."""
        templates = TEMPLATES.get(group)
        if not templates:
            return text
        return self.chance.choices(list(templates), list(templates.values()))[0].replace("{}", text)


def weak_targets(taught: Tensor, weights: Tensor, class_embedding: Tensor) -> Tensor:
    """For weak texts: half way from the teacher's embedding to the middle of their classes."""
    centroids = F.normalize((weights > 0).float() @ class_embedding, dim=-1)
    return F.normalize(taught + centroids, dim=-1)
