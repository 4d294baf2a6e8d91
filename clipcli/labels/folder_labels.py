"""Labels as folders name them: `polar_bear` is shown to the model as a polar bear."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from clipcli.errors import UsageError
from clipcli.labels.label import Label, Text
from clipcli.labels.label_path import shown_words


def model_words(label: str) -> str:
    """What the model is shown for a label that names a folder."""
    return label.replace("_", " ")


def folder_labels(names: Iterable[str]) -> list[Label]:
    """Labels as folders name them: `_` is shown to the model as a space."""
    return [Label(name, (Text(model_words(shown_words(name))),)) for name in names]


def match_labels(
    truth: Sequence[str], chosen: Sequence[Label], source: str | None = None
) -> dict[str, str]:
    """For each true label the chosen one of the same name, or of the same words.

    source: the probe or the calibration that has chosen them, for messages. Raises UsageError for
    true labels that are not among the chosen ones.
    """
    names = {model_words(label.name): label.name for label in chosen}
    names |= {label.name: label.name for label in chosen}
    matched = {label: names.get(label) or names.get(model_words(label)) for label in truth}
    missing = [label for label, name in matched.items() if name is None]
    if missing:
        more = f" and {len(missing) - 10} more" if len(missing) > 10 else ""
        chosen_ones, cure = "the chosen", "add what is missing to --labels or --labels-file"
        if source is not None:
            chosen_ones = f"those of {source}"
            cure = "leave these photographs out, or teach it these labels too"
        raise UsageError(
            f"{', '.join(missing[:10])}{more}: among the true labels and not among {chosen_ones};"
            f" {cure}"
        )
    return {label: name for label, name in matched.items() if name is not None}
