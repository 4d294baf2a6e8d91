"""What was answered photograph by photograph, as CSV or JSON Lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clipcli.evaluation.judge import JudgedPhoto
from clipcli.evaluation.measure import Evaluation
from clipcli.files.part_file import PartFile
from clipcli.files.rows import csv_line, json_text
from clipcli.labels.templates import set_name

SUFFIXES = (".csv", ".jsonl")
COLUMNS = (
    *("path", "truth", "label", "right", "probability", "similarity"),
    *("true_rank", "true_probability", "scoring", "model", "templates"),
)


def write_predictions(evaluations: Sequence[Evaluation], file: PartFile) -> None:
    """A row for each photograph of each evaluation: JSON Lines in a .jsonl, else CSV.

    A photograph without a label has an empty one in CSV, null in JSON. Raises OutputError.
    """
    is_json = file.path.suffix.lower() == ".jsonl"
    if not is_json:
        file.write(csv_line(COLUMNS).encode())
    for evaluation in evaluations:
        origin = _origin(evaluation)
        for one in evaluation.judged:
            values = [*_answer(one), *origin]
            if is_json:
                line = json_text(dict(zip(COLUMNS, values, strict=True))) + "\n"
            else:
                line = csv_line([*map(_cell, values)], file.isatty())
            # the bytes of a name that is no UTF-8 come out as they are
            file.write(line.encode("utf-8", "surrogateescape"))


def _answer(one: JudgedPhoto) -> list[Any]:
    best = one.best
    return [
        one.path,
        one.truth,
        best and best.label,
        one.is_right,
        best and round(best.probability, 6),
        best and round(best.similarity, 6),
        one.true_rank,
        round(one.true_probability, 6),
    ]


def _origin(evaluation: Evaluation) -> list[str]:
    """Templates are named, or written as --compare takes them; a probe has none."""
    templates = evaluation.made_by.templates
    joined = set_name(templates) or "|".join(templates)
    return [evaluation.scoring, evaluation.made_by.model, joined]


def _cell(value: object) -> object:
    """As `classify` writes it: true and false, six digits, nothing for None."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:.6f}"
        case _:
            return value
