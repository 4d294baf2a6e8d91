"""Command lines typed wrong: each ends in one line, in the program's own words, that leads on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from program import Result

Cli = Callable[..., Result]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("clasify", "clasify: no such command; did you mean clipcli classify"),
        ("search x photos", "search: no such command; did you mean clipcli similar"),
        ("models donwload x", "models donwload: no such command; did you mean clipcli models down"),
        ("models search b32", "models search: no such command; did you mean clipcli models"),
        ("cache quux", "cache quux: no such command; expected clipcli cache info, verify, "),
        ("photos/ --labels dog", "photos/: a path where a command was expected; did you mean clip"),
        ("--labels dog p", "--labels: comes behind a command; expected clipcli classify ... --l"),
        ("classify p --label dog", "--label: clipcli classify has no such option; did you mean -"),
        ("classify p --lables dog", "--lables: clipcli classify has no such option; did you mean"),
        ("classify p --json", "--json: clipcli classify has no such option; did you mean --format"),
        ("classify p --zzzz", "--zzzz: clipcli classify has no such option; see clipcli classify"),
        ("classify p -o", "-o: nothing behind it; expected --output FILE"),
        ("classify p --top-k", "--top-k: nothing behind it; expected a whole number from 1"),
        ("classify p --quiet=yes", "--quiet: takes no value; leave out what stands behind its ="),
        ("classify p --top-k 0", "--top-k 0: expected a whole number from 1"),
        ("classify p --top-k five", "--top-k five: expected a whole number from 1"),
        ("classify p --min-probability 2", "--min-probability 2: expected a number from 0 to 1"),
        ("classify p --max-megapixels x", "--max-megapixels x: expected a number from 0"),
        (
            "classify p --format xml",
            "--format xml: expected csv, tsv, json, jsonl, parquet or table",
        ),
        ("classify p --fit crp", "--fit crp: expected crop, pad or squash"),
        ("classify", "no PATH and no labels; expected as in: clipcli classify photos/ --labels "),
        ("similar", "no QUERY; expected a photograph, or words; as in: clipcli similar "),
        ("models show", "no NAME; expected a name, hf:ORG/NAME, or a checkpoint's path; "),
        ("calibrate p", "no --output; expected --output FILE: the calibration"),
        ("models show lite b", "b: more than expected; the command is clipcli models show NAME"),
    ],
)
def test_it_is_said_what_was_found_and_what_was_expected(cli: Cli, typed: str, said: str) -> None:
    result = cli(*typed.split())
    assert (result.code, result.stdout) == (2, b"")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"clipcli: {said}")
    assert not any(word in line for word in ("Input", "Value error", "Did you", " '"))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("version", "--version"),
        ("models list", "models"),
        ("prompts list", "prompts"),
        ("cache list", "cache info"),
        ("help classify", "classify --help"),
        ("help", "--help"),
    ],
)
def test_what_is_meant_for_sure_is_done(cli: Cli, typed: str, meant: str) -> None:
    result = cli(*typed.split())
    assert result.code == 0
    assert result.stdout == cli(*meant.split()).stdout != b""


@pytest.mark.parametrize(
    ("typed", "found", "outright"),
    [
        ("classify p --labels --quiet", "--labels: expected a value, found the option --quiet", ""),
        ("classify p --labels -q", "--labels: expected a value, found the option -q", ""),
        ("classify p -o --top-k=3", "-o: expected a value, found the option --top-k=3", "--output"),
        ("eval p --labels --help", "--labels: expected a value, found the option --help", ""),
        ("cache info --cache-dir --help", "--cache-dir: expected a value, found the option", ""),
    ],
)
def test_an_option_is_no_other_options_value(
    cli: Cli, typed: str, found: str, outright: str
) -> None:
    result = cli(*typed.split())
    assert (result.code, result.stdout) == (2, b"")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"clipcli: {found}")
    option, value = outright or found.partition(":")[0], typed.split()[-1]
    assert line.endswith(f"; {option}={value}, if that is the value")


def test_an_options_name_may_be_a_value_where_it_is_said_outright(cli: Cli) -> None:
    shown = cli("prompts", "show", "--labels=--template", "--template", "-1 {}")
    assert shown.stdout == b"--template\t-1 --template\n"
    result = cli("classify", "--labels", "dog,cat", "--", "--labels", "--quiet")
    assert "--quiet: no such file or folder" in result.stderr


def test_a_control_character_typed_does_not_reach_the_terminal(cli: Cli) -> None:
    result = cli("classify", "p", "--\x1b[31m")
    assert result.code == 2
    assert "\x1b" not in result.stderr
    assert "--\\x1b[31m" in result.stderr
