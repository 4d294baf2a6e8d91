"""What `clipcli prompts choose` tries: sets of templates, single ones, rewordings of labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from clipcli.embedding.embedder import Embedder
from clipcli.errors import TextTooLongError, UsageError
from clipcli.labelling.classifier import Classifier, unit
from clipcli.labels.folder_labels import model_words
from clipcli.labels.label import (
    DEFAULT_TEMPLATE,
    Label,
    Text,
    prompts,
    prompts_of_text,
    read_labels_file,
)
from clipcli.labels.templates import TEMPLATE_SETS

N_TEXTS_AT_ONCE = 1024
SIBILANTS = ("ss", "us", "x", "z", "ch", "sh")


@dataclass(frozen=True)
class Candidate:
    """Templates to try together, under the name that a person knows them by."""

    name: str
    templates: tuple[str, ...]


DEFAULT = Candidate("simple", (DEFAULT_TEMPLATE,))


def template_candidates(
    own: Mapping[str, Sequence[str]] | None = None, hint: str | None = None
) -> list[Candidate]:
    """The named sets and those given by name or file, then every template of them alone.

    With a hint, `a photo of a {}, a type of HINT.` too (paper, 3.1.4). No two are alike; the
    default is the first.
    """
    sets = {**TEMPLATE_SETS, **(own or {})}
    candidates = [Candidate(name, tuple(dict.fromkeys(some))) for name, some in sets.items()]
    singles = [template for candidate in candidates for template in candidate.templates]
    if hint:
        singles.insert(0, f"{DEFAULT_TEMPLATE.removesuffix('.')}, a type of {hint}.")
    candidates += [Candidate(template, (template,)) for template in singles]
    distinct: dict[tuple[str, ...], Candidate] = {}
    for candidate in candidates:
        distinct.setdefault(candidate.templates, candidate)
    return list(distinct.values())


def own_rewordings(label: Label) -> list[Label]:
    """Ways to say a label that need nobody's help: its name, and that in the plural."""
    name = model_words(label.name)
    texts = [name, plural(name)]
    return [Label(label.name, (Text(text),)) for text in texts if text is not None]


def read_rewordings(path: str, labels: Sequence[Label]) -> dict[str, list[Label]]:
    """Rewordings by label from a labels file, in which each text is one; `any:` makes them one.

    Raises UsageError for a label that is not among `labels`; `_` in a name is like a space.
    """
    names = {model_words(label.name): label.name for label in labels}
    names |= {label.name: label.name for label in labels}
    rewordings: dict[str, list[Label]] = {}
    for line in read_labels_file(path):
        name = names.get(line.name) or names.get(model_words(line.name))
        if name is None:
            raise UsageError(
                f"{path}: {line.name} is not among the labels; expected rewordings of"
                f" {', '.join(label.name for label in labels[:5])}{', …' * (len(labels) > 5)}"
            )
        ways = [line.texts] if line.is_any else [(text,) for text in line.texts]
        rewordings.setdefault(name, []).extend(Label(name, way, line.is_any) for way in ways)
    return rewordings


def plural(noun: str) -> str | None:
    """The regular English plural, or None for what has none or may be one already."""
    if noun.endswith(SIBILANTS):
        return f"{noun}es"
    if not noun[-1:].isascii() or not noun[-1:].isalpha() or noun.endswith("s"):
        return None
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}s"


def spelled_out(label: Label, templates: Sequence[str]) -> Label:
    """The same label with all its prompts whole, so that it needs no templates any more.

    A label that is any of several can be said for one template only: more of them would have to
    be averaged within each of its texts.
    """
    assert not label.is_any or len(templates) == 1
    texts = tuple(Text(prompt, is_prompt=True) for prompt in prompts(label, templates))
    return Label(label.name, texts, label.is_any)


def candidate_classifiers(
    embedder: Embedder, labels: Sequence[Label], candidates: Sequence[Candidate], truncate: bool
) -> Iterator[tuple[Candidate, Classifier]]:
    """The classifier of each candidate as soon as its last template is encoded.

    Every template is encoded once, in however many sets it is; only the sum of each set is kept in
    memory. A candidate with a template too long for one of the words is left out.
    """
    classes = [
        texts
        for label in labels
        for texts in ([(text,) for text in label.texts] if label.is_any else [label.texts])
    ]
    whole = np.zeros((len(classes), embedder.spec.embed_dim))
    words = []
    class_of_word = []
    for row, texts in enumerate(classes):
        fixed = [text.text for text in texts if text.is_prompt]
        if fixed:
            whole[row] = embedder.encode_texts(fixed, truncate).sum(axis=0, dtype=np.float64)
        words += [text for text in texts if not text.is_prompt]
        class_of_word += [row] * (len(texts) - len(fixed))
    names = tuple(label.name for label in labels)
    n_classes = tuple(len(label.texts) if label.is_any else 1 for label in labels)
    score = embedder.spec.score
    sums: dict[Candidate, NDArray[np.float64]] = {}
    n_missing = {candidate: len(candidate.templates) for candidate in candidates}
    members: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        for template in candidate.templates:
            members.setdefault(template, []).append(candidate)
    for template, of_words in _in_templates(embedder, words, list(members), truncate):
        for candidate in members[template]:
            total = sums.setdefault(candidate, whole.copy())
            np.add.at(total, class_of_word, of_words)
            n_missing[candidate] -= 1
            if not n_missing[candidate]:
                rows = [unit(row, "the prompts of a label") for row in sums.pop(candidate)]
                classifier = Classifier(names, np.stack(rows), score, n_classes)
                yield candidate, classifier


def _in_templates(
    embedder: Embedder, words: Sequence[Text], templates: Sequence[str], truncate: bool
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Each template with the embeddings of all words in it, [n_words, d], in batches.

    Templates that are too long for a word are left out.
    """
    remaining = iter(templates)
    while some := list(islice(remaining, max(1, N_TEXTS_AT_ONCE // max(1, len(words))))):
        filled = {
            template: [prompt for word in words for prompt in prompts_of_text(word, [template])]
            for template in some
        }
        flat = [prompt for of_template in filled.values() for prompt in of_template]
        try:
            embeddings = embedder.encode_texts(flat, truncate)
        except TextTooLongError:
            limit, longest = embedder.spec.context_length, embedder.tokenizer.longest
            filled = {name: of for name, of in filled.items() if longest(of) <= limit}
            flat = [prompt for of_template in filled.values() for prompt in of_template]
            embeddings = embedder.encode_texts(flat, truncate)
        shape = (len(filled), len(words), embedder.spec.embed_dim)
        yield from zip(filled, embeddings.reshape(shape), strict=True)
