"""Options that are no numbers are refused, whatever they are of."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import typer
from program import Result

import clipcli
from clipcli.cli.app import app
from clipcli.errors import UsageError
from clipcli.files.rows import json_text

Cli = Callable[..., Result]
ARGUMENTS = {
    "train": ("pairs.csv", "--init", "tiny", "-o", "run"),
    "probe fit": ("photos", "-o", "a.probe"),
    "calibrate": ("photos", "-o", "a.json"),
    "embed": ("photos", "-o", "a.npy"),
    "similar": ("a.jpg", "photos"),
    "classify": ("photos", "--labels", "cat,dog"),
    "eval": ("photos",),
    "prompts choose": ("photos",),
    "tag": ("rows.csv",),
}


def float_options() -> Iterator[tuple[str, str]]:
    """Every command with each of its options that takes a number with a fraction."""
    pending = [("", typer.main.get_command(app))]
    while pending:
        name, command = pending.pop()
        for below in getattr(command, "commands", {}).items():
            pending.append((f"{name} {below[0]}".strip(), below[1]))
        for parameter in command.params:
            if parameter.type_descriptor.annotation is float:
                yield name, parameter.opts[0]


def test_every_option_with_a_fraction_is_a_number(cli: Cli) -> None:
    options = sorted(float_options())
    assert len(options) >= 12
    for name, option in options:
        for value in ("nan", "inf", "-inf"):
            result = cli(*name.split(), *ARGUMENTS[name], f"{option}={value}")
            assert result.code == 2, (name, option, value)
            (line,) = result.stderr.splitlines()
            assert option in line


def test_requests_from_python_are_numbers() -> None:
    label = clipcli.Label("cat", (clipcli.Text("cat"),))
    for value in (float("nan"), float("inf"), -1.0):
        with pytest.raises(UsageError, match="expected 0 to 1"):
            clipcli.LabelRequest((label,), min_probability=value)
    with pytest.raises(UsageError, match="max_megapixels is nan"):
        clipcli.DecodeOptions(max_megapixels=float("nan"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_written_as_json_is_json(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_text({"probability": [value]})
