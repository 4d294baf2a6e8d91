"""What was probably meant by labels that are seldom meant as they stand.

A warning, and the run goes on: `polar bear` is an honest label, and so is `Paris, France`.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence

from clipcli.cli.options.shared import LabelOptions
from clipcli.errors import UsageError
from clipcli.labels.label import Label

logger = logging.getLogger(__name__)

N_WORDS_OF_A_LIST = 3  # two words are a polar bear, three without a small one are rarely a label
WORD = re.compile(r"[\w'-]+")
SMALL_WORDS = frozenset("a an and at by for from in of on or the to with without".split())


def refuse_file_as_label(values: Sequence[str]) -> None:
    """Raises UsageError for `--labels FILE`. A folder's name is an honest label."""
    if len(values) == 1 and os.path.isfile(values[0]):
        raise UsageError(
            f"--labels {values[0]}: that is a file; did you mean --labels-file {values[0]}?"
        )


def warn_of_labels(
    labels: Sequence[Label], options: LabelOptions, paths: Sequence[str] | None
) -> None:
    """Say, in one line, that a label looks like several, or that it is alone and always wins."""
    names = [label.name for label in labels]
    one = next((name for name in names if _listed(name)), names[0] if names else "")
    meant = _listed(one)
    if len(names) == 1:
        meant = meant or _words_apart(one, paths or (), options)
    if _always_wins(names, options):
        several = meant or one.split()
        said = (
            "the only label, so every photograph gets it with probability 1, unless the model's"
            " scores are a sigmoid"
        )
        ask = "--multi-label" if options.unknown is not None else "--multi-label or --unknown NAME"
        advice = f"to ask whether it is there, {ask}"
    elif meant:
        several, said, advice = meant, "one label", ""
    else:
        return
    if several[1:]:
        written = "one a line" if options.labels is None else f"--labels {','.join(several)}"
        advice = "; ".join(filter(None, (f"if several were meant, {written}", advice)))
    logger.warning(f"{one}: {said}; {advice}")


def _always_wins(names: Sequence[str], options: LabelOptions) -> bool:
    """Whether there is one label, and nothing that judges whether it is there at all."""
    judged = options.unknown is not None and options.min_probability is None
    return len(names) == 1 and not options.multi_label and not judged


def _listed(name: str) -> list[str]:
    """The single words that stand in a label like dog,cat or dog; cat; bird, or none."""
    parts = [part.strip() for part in re.split("[,;]", name)]
    if len(parts) < 2 or not all(map(WORD.fullmatch, parts)):
        return []
    is_tight = re.search(r"[,;]\S", name) is not None  # prose puts a blank behind a comma
    return parts if is_tight or len(parts) >= N_WORDS_OF_A_LIST else []


def _words_apart(name: str, paths: Sequence[str], options: LabelOptions) -> list[str]:
    """The words of `--labels "dog cat bird"`, or of `--labels dog cat`, where cat is a PATH."""
    if options.labels is not None and " " not in name:
        stray = [path.strip(",") for path in paths if _is_bare_word(path)]
        return [name, *stray] if stray else []
    words = name.split()
    return words if len(words) >= N_WORDS_OF_A_LIST and not SMALL_WORDS & {*words} else []


def _is_bare_word(path: str) -> bool:
    """Whether a PATH is nothing that exists, and looks like no path either."""
    return path != "-" and not re.search(r"[/\\.]", path) and not os.path.lexists(path)
