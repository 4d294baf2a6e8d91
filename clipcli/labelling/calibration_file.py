"""The small JSON file that keeps a calibration. Nothing in it is executed."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clipcli.errors import UsageError, one_line
from clipcli.files import strict_json
from clipcli.files.made_by import stored_name
from clipcli.files.rows import json_text
from clipcli.labelling.calibration import HeldOutRates, Rates
from clipcli.labelling.multi_label import Thresholds
from clipcli.labels.label import Label, Text
from clipcli.records import MadeBy

FORMAT = "clipcli calibration 1"
EXPECTED = "expected a file that clipcli calibrate has written"


@dataclass(frozen=True)
class Calibration:
    """All that is needed to use thresholds again, and to tell whether they may be used.

    made_by: with the templates around the labels' words; backgrounds: the prompts that labels were
    judged against.
    """

    made_by: MadeBy
    backgrounds: tuple[str, ...]
    labels: tuple[Label, ...]
    thresholds: Thresholds
    measured: HeldOutRates


def to_json(calibration: Calibration) -> str:
    """The text of a calibration's file, which `read_calibration` reads."""
    thresholds, measured = calibration.thresholds, calibration.measured
    per_label = [
        {**asdict(label), "threshold": threshold, "temperature": temperature, **asdict(rates)}
        for label, threshold, temperature, rates in zip(
            calibration.labels,
            thresholds.thresholds.tolist(),
            thresholds.temperatures.tolist(),
            measured.per_label,
            strict=True,
        )
    ]
    fields = {
        "format": FORMAT,
        **{name: one for name, one in asdict(calibration.made_by).items() if one is not None},
        "backgrounds": calibration.backgrounds,
        "none_below": thresholds.none_below,
        "measured": {name: one for name, one in asdict(measured).items() if name != "per_label"},
    }
    lines = [f"{json_text(name)}: {json_text(value)}" for name, value in fields.items()]
    rows = ",\n".join(f"  {json_text(row)}" for row in per_label)
    return "{\n" + ",\n".join([*lines, f'"labels": [\n{rows}\n]']) + "\n}\n"


def read_calibration(path: str) -> Calibration:
    """The calibration that a file holds. Raises UsageError for a file that holds none."""
    try:
        fields = strict_json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; {EXPECTED}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(one_line(f"{path}: no JSON: {error}; {EXPECTED}")) from error
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        raise UsageError(f"{path}: no calibration of this version; {EXPECTED}")
    try:
        return _calibration(fields)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise UsageError(one_line(f"{path}: damaged: {reason}; {EXPECTED}")) from error


def digest(calibration: Calibration) -> str:
    """SHA-256 of what it says."""
    return hashlib.sha256(to_json(calibration).encode("utf-8", "surrogatepass")).hexdigest()


def _calibration(fields: dict[str, Any]) -> Calibration:
    """Raises KeyError, TypeError or ValueError for what is not as `to_json` makes it."""
    rows = fields["labels"]
    labels = tuple(
        Label(
            _text(row["name"]),
            tuple(Text(_text(one["text"]), _truth(one["is_prompt"])) for one in row["texts"]),
            _truth(row["is_any"]),
        )
        for row in rows
    )
    thresholds = Thresholds(
        np.array([_number(row["threshold"]) for row in rows]),
        np.array([_number(row["temperature"]) for row in rows]),
        _number(fields["none_below"]),
    )
    if not labels or not all(label.texts for label in labels):
        raise ValueError("a label without a text")
    if len({label.name for label in labels}) != len(labels):
        raise ValueError("a label is given twice")
    if not (thresholds.temperatures > 0).all():
        raise ValueError("a temperature that is not above 0")
    backgrounds = _texts(fields["backgrounds"])
    if not backgrounds:
        raise ValueError("no background prompts")
    of = fields["measured"]
    measured = HeldOutRates(
        n_photos=int(of["n_photos"]),
        n_pairs=int(of["n_pairs"]),
        alone=_rates(of["alone"]),
        in_pairs=None if of["in_pairs"] is None else _rates(of["in_pairs"]),
        per_label=tuple(map(_rates, rows)),
        known_rejected=_number(of["known_rejected"]),
        strangers_accepted=_number_or_none(of["strangers_accepted"]),
    )
    return Calibration(
        made_by=MadeBy(
            **{name: _text(fields[name]) for name in ("model", "fingerprint", "precision")},
            preprocessing=stored_name(_text(fields["preprocessing"])),
            templates=_texts(fields["templates"]),
        ),
        backgrounds=backgrounds,
        labels=labels,
        thresholds=thresholds,
        measured=measured,
    )


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} in place of a number")
    return float(value)


def _number_or_none(value: object) -> float | None:
    return None if value is None else _number(value)


def _rates(fields: Any) -> Rates:
    return Rates(*(_number_or_none(fields[name]) for name in ("wrong_accepts", "wrong_rejects")))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} in place of a text")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ValueError(f"{value!r} in place of a list of texts")
    return tuple(_text(one) for one in value)


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} in place of true or false")
    return value
