"""Labels, templates and prompts: what a person writes to what the text encoder reads."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from clipcli.errors import UsageError
from clipcli.labels.label_path import check_label_paths, shown_words

DEFAULT_TEMPLATE = "a photo of a {}."
PLACE = "{}"
ANY = "any:"
_MARK = re.compile(r'([=|#"\\])')  # has a meaning in a labels file
_KEPT = re.compile(rf"\\{_MARK.pattern}")  # a mark behind a backslash


@dataclass(frozen=True)
class Text:
    """One text of a label: a word to put into every template, or a whole prompt as it stands."""

    text: str
    is_prompt: bool = False


@dataclass(frozen=True)
class Label:
    """`name` is what comes out; `texts` is what the model is asked about.

    Several texts are averaged into one class; `is_any` makes each a class of its own, and the
    label gets the sum of their probabilities and the best of their similarities.
    """

    name: str
    texts: tuple[Text, ...]
    is_any: bool = False


def word_label(name: str) -> Label:
    """A label without a text of its own: of `animal/dog` the model is shown `dog`."""
    return Label(name, (Text(shown_words(name)),))


def parse_labels(values: Iterable[str]) -> list[Label]:
    """Labels of `--labels dog,cat,tiger`; a label with a comma stands in double quotes.

    Raises UsageError for an empty list or a label given twice.
    """
    try:
        rows = list(csv.reader(values, skipinitialspace=True))
    except csv.Error as error:
        raise UsageError(f"--labels: {error}; expected one like dog,cat,tiger") from error
    names = [name.strip() for row in rows for name in row if name.strip()]
    return check_labels([word_label(name) for name in names], "--labels")


def read_labels_file(path: str) -> list[Label]:
    """Labels of a UTF-8 file, one a line: `label` or `label = text | "whole prompt"`.

    A label may be a path, `animal/dog`; without a text its last part is the text.

    `label = any: text | text` keeps the texts apart, see `Label`. `#` opens a comment; a
    backslash before `=`, `|`, `#`, `"` or a backslash keeps it.
    Raises UsageError, naming the line, for what cannot be read.
    """
    labels = []
    for number, line in enumerate(_lines(path), start=1):
        try:
            label = _parse_line(line)
        except UsageError as error:
            raise UsageError(f"{path}, line {number}: {error}") from error
        if label is not None:
            labels.append(label)
    return check_labels(labels, path)


def read_texts_file(path: str) -> list[str]:
    """Texts of a UTF-8 file, one a line, not the empty ones. Raises UsageError if none."""
    texts = [line.strip() for line in _lines(path) if line.strip()]
    if not texts:
        raise UsageError(f"{path}: no text in it; expected one a line")
    return texts


def check_labels(labels: list[Label], source: str) -> list[Label]:
    """The labels themselves. Raises UsageError, naming `source`, if there is none, one twice, or
    one that is no path of labels."""
    if not labels:
        raise UsageError(f"{source}: no label in it; expected at least one, like dog,cat,tiger")
    names = [label.name for label in labels]
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise UsageError(f"{source}: {', '.join(twice)} given twice; name each label once")
    check_label_paths(names, source)
    return labels


def check_templates(templates: Sequence[str]) -> None:
    """Raises UsageError for a template without exactly one place for the label."""
    for template in templates:
        n_places = template.count(PLACE)
        if n_places != 1:
            raise UsageError(
                f"template {template!r} has {n_places or 'no'} {PLACE} for the label to stand in;"
                f" expected one like {DEFAULT_TEMPLATE!r}"
            )


def check_unknown(unknown: str, names: Iterable[str]) -> None:
    """Raises UsageError for a name that no reader could tell from one of the labels' `names`."""
    if not unknown.strip():
        raise UsageError("--unknown: an empty name; expected one like other")
    check_label_paths([unknown], "--unknown")
    same = [name for name in names if name.strip().casefold() == unknown.strip().casefold()]
    if same:
        raise UsageError(
            f"--unknown {unknown}: {same[0]} is one of the labels; give photographs that fit none"
            " of them a name that is no label, like other"
        )


def prompts(label: Label, templates: Sequence[str]) -> list[str]:
    """All prompts of a label: its words in every template, its whole prompts as they stand."""
    return [prompt for text in label.texts for prompt in prompts_of_text(text, templates)]


def prompts_in_short(label: Label, templates: Sequence[str]) -> str:
    """One prompt as it is; of several the first, and how many there are more."""
    first, *others = prompts(label, templates)
    return f"{first} (and {len(others)} more)" if others else first


def prompts_of_text(text: Text, templates: Sequence[str]) -> list[str]:
    """A word in every template, or a whole prompt as it stands."""
    if text.is_prompt:
        return [text.text]
    return [template.replace(PLACE, text.text) for template in templates]


def prompts_of_classes(label: Label, templates: Sequence[str]) -> list[list[str]]:
    """The prompts of each class that the label stands for: one, or one a text with `any:`."""
    if label.is_any:
        return [prompts_of_text(text, templates) for text in label.texts]
    return [prompts(label, templates)]


def labels_file_line(label: Label) -> str:
    """The line that `read_labels_file` reads as this label."""
    if label == word_label(label.name):
        return _escaped(label.name)
    texts = [
        f'"{_escaped(text.text)}"' if text.is_prompt else _escaped(text.text)
        for text in label.texts
    ]
    return f"{_escaped(label.name)} = {ANY + ' ' if label.is_any else ''}{' | '.join(texts)}"


def _escaped(text: str) -> str:
    return _MARK.sub(r"\\\1", text)


def foreign_labels(labels: Iterable[Label]) -> list[str]:
    """Names of the labels whose texts are mostly in letters that are not Latin."""

    def is_foreign(text: str) -> bool:
        letters = [character for character in text if character.isalpha()]
        latin = sum("LATIN" in unicodedata.name(letter, "") for letter in letters)
        return 2 * latin < len(letters)

    return [label.name for label in labels if any(is_foreign(text.text) for text in label.texts)]


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; expected a text file") from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path}: byte {error.start} is no UTF-8; save the file as UTF-8"
        ) from error


def _parse_line(line: str) -> Label | None:
    """One line of a labels file, read from left to right; None for an empty one."""
    name, stop, rest = _take(line, "=#")
    name = name.strip()
    if stop != "=":
        return word_label(name) if name else None
    if not name:
        raise UsageError("no label before the =; expected label = text | text")
    is_any = rest.lstrip().startswith(ANY)
    if is_any:
        rest = rest.lstrip().removeprefix(ANY)
    texts = []
    stop = "|"
    while stop == "|":
        is_prompt = rest.lstrip().startswith('"')
        if is_prompt:
            text, closing, rest = _take(rest.lstrip()[1:], '"')
            if not closing:
                raise UsageError('a prompt without its closing "; write \\" for a quote inside it')
            between, stop, rest = _take(rest, "|#")
            if between.strip():
                raise UsageError(f"{between.strip()!r} behind a quoted prompt; put a | before it")
        else:
            text, stop, rest = _take(rest, "|#")
            text = text.strip()
        if not text:
            raise UsageError("an empty text; expected label = text | text")
        texts.append(Text(text, is_prompt))
    return Label(name, tuple(texts), is_any)


def _take(line: str, stops: str) -> tuple[str, str, str]:
    """What stands before the first of `stops`, that stop or "", and what follows it.

    A backslash before a mark keeps the mark from being a stop, and is left out.
    """
    match = re.match(rf"(?:{_KEPT.pattern}|[^{stops}])*", line)
    assert match is not None  # it may be empty
    end = match.end()
    return _KEPT.sub(r"\1", match[0]), line[end : end + 1], line[end + 1 :]
