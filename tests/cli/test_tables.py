"""The tables that commands print whole, at a terminal, in a pipe, as CSV and as LaTeX."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageOps
from program import Result
from terminal import Terminal

from clipcli.files.screen import n_cells
from clipcli.models.on_disk import catalogue

Cli = Callable[..., Result]
TEMPLATE = "a drawing of a {}, made with a soft pencil and a little ink & water_colour."
LONG = "a photographer who stands in a field & looks at 100 % of the city_beyond the river"
LABELS = {"astronaut": "astronaut", "coffee": "coffee", "dax": "cat", LONG: "photographer"}


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path_factory.mktemp("home"))
    yield terminal
    terminal.close()


@pytest.fixture(scope="module")
def remembered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache for all tests of this file: the photographs are encoded once."""
    return tmp_path_factory.mktemp("remembered")


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory, example_photos: Path) -> Path:
    """Four versions of each of four photographs, one of them misplaced; a label is long, another
    says nothing."""
    folder = tmp_path_factory.mktemp("album")
    for label, name in LABELS.items():
        (folder / label).mkdir()
        with Image.open(example_photos / f"{name}.jpg") as photo:
            for n_px in (1, 12, 24, 36):
                ImageOps.crop(photo, n_px).save(folder / label / f"{n_px}.jpg")
    shutil.move(folder / "astronaut" / "36.jpg", folder / "coffee" / "37.jpg")
    return folder


@pytest.fixture(scope="module")
def runs(album: Path, remembered: Path) -> dict[str, tuple[object, ...]]:
    folder = remembered.parent
    (folder / "words.txt").write_text("dax = violin | cat\n")
    of_lite = (album, "--model", "lite", "--cache-dir", remembered, "--quiet")
    compared = ("--compare", TEMPLATE, "--compare", "imagenet80")
    return {
        "eval": ("eval", *of_lite),
        "compare": ("eval", *of_lite, *compared),
        "calibrate": ("calibrate", *of_lite, "--pairs", 0, "-o", folder / "c.json"),
        "probe": ("probe", "fit", *of_lite, "--shots", "1,2", "--splits", 2),
        "choose": ("prompts", "choose", *of_lite, "--rewordings", folder / "words.txt"),
        "prompts": ("prompts",),
        "models": ("models", "--cache-dir", remembered),
        "cache": ("cache", "info", "--cache-dir", remembered),
    }


def rows(text: str) -> list[list[dict[str, str]]]:
    """Of each table of CSV."""
    return [list(csv.DictReader(io.StringIO(part))) for part in text.split("\n\n")]


def numbers(one: dict[str, str]) -> dict[str, Any]:
    return {name: json.loads(value or "null") for name, value in one.items()}


def ends(name: str, interval: list[float] | None) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {f"{name}_low": low, f"{name}_high": high}


def test_they_fit_a_terminal_and_a_pipe(
    cli: Cli, terminal: Terminal, runs: dict[str, tuple[object, ...]], remembered: Path
) -> None:
    for name, run in runs.items():
        pipe = cli(*run)
        assert pipe.code == 0
        assert b"\x1b" not in pipe.stdout
        lines = pipe.stdout.decode().splitlines()
        assert max(map(n_cells, [line for line in lines if "  " in line.strip()])) <= 100, name
        for columns in (40, 80, 120):
            code, text = terminal.run(*run, columns=columns)
            assert code == 0
            assert {*re.findall(r"\x1b.{3}", text)} <= {"\x1b[0m", "\x1b[1m", "\x1b[2m"}
            assert "\x1b[1m" in text
            plain = re.sub(r"\x1b\[[012]m", "", text).splitlines()
            # the name of the cache's file is data, and has no blank to be broken at
            wide = [one for one in plain if n_cells(one) > columns and str(remembered) not in one]
            assert columns == 40 or wide == [], name


def test_colours_stay_out_where_they_are_not_wanted(
    cli: Cli, terminal: Terminal, runs: dict[str, tuple[object, ...]]
) -> None:
    for name in ("eval", "models"):
        coloured = terminal.run(*runs[name], columns=100)[1]
        plain = terminal.run(*runs[name], columns=100, NO_COLOR="1")[1]
        assert terminal.run(*runs[name], columns=100, TERM="dumb")[1] == plain
        assert re.sub(r"\x1b\[[012]m", "", coloured) == plain
        assert cli(*runs[name]).stdout.decode() == plain


def test_eval_gives_csv_with_the_figures_of_its_json(
    cli: Cli, runs: dict[str, tuple[object, ...]]
) -> None:
    figures = json.loads(cli(*runs["eval"], "--format", "json").stdout)
    overall, labels, confusions, bins = rows(cli(*runs["eval"], "--format", "csv").stdout.decode())
    assert {one["figure"]: float(one["value"]) for one in overall} == {
        name: figures[name] for name in ("top1", "top5", "mean_recall", "macro_f1", "ece")
    }
    assert [float(overall[0][name]) for name in ("low", "high")] == figures["interval"]
    assert int(overall[0]["n_right"]) / int(overall[0]["n"]) == figures["top1"] < 1
    per_label = figures["per_label"]
    assert [one.pop("label") for one in labels] == list(per_label)
    assert [numbers(one) for one in labels] == [
        {
            **{name: score[name] for name in ("n", "precision", "recall", "f1")},
            **ends("precision", score["precision_interval"]),
            **ends("recall", score["recall_interval"]),
        }
        for score in per_label.values()
    ]
    assert [(c["truth"], c["predicted"], int(c["n"])) for c in confusions] == [
        (c["truth"], c["predicted"], c["n"]) for c in figures["confusions"]
    ]
    assert [numbers(one) for one in bins] == figures["reliability"]

    compared = json.loads(cli(*runs["compare"], "--format", "json").stdout)
    ((first, *others),) = rows(cli(*runs["compare"], "--format", "csv").stdout.decode())
    assert (float(first["top1"]), first["difference"]) == (compared["top1"], "")
    for one, expected in zip(others, compared["compared"], strict=True):
        assert one["templates"] == "|".join(expected["templates"])
        assert float(one["difference"]) == expected["difference"]
        interval = [float(one[f"difference_{end}"]) for end in ("low", "high")]
        assert interval == expected["difference_interval"]
        assert float(one["macro_f1"]) == expected["macro_f1"]


def test_eval_writes_the_format_that_the_suffix_names(
    cli: Cli, runs: dict[str, tuple[object, ...]], tmp_path: Path
) -> None:
    table = cli(*runs["eval"]).stdout
    for suffix, format in ((".json", "json"), (".csv", "csv"), (".tex", "latex")):
        path = tmp_path / f"e{suffix}"
        assert cli(*runs["eval"], "-o", path).stdout == table
        assert path.read_bytes() == cli(*runs["eval"], "--format", format).stdout
    cli(*runs["eval"], "-o", tmp_path / "e.txt", "--format", "table")
    assert (tmp_path / "e.txt").read_bytes() == table
    cli(*runs["eval"], "-o", tmp_path / "e")
    assert json.loads((tmp_path / "e").read_text())["n"] == 16
    for name, format, expected in [
        ("x.csv", "json", "x.csv: .csv is not written; expected .json"),
        ("x.json", "latex", "x.json: .json is not written; expected .tex"),
        ("x.xlsx", None, "x.xlsx: .xlsx is not written; expected .json, .csv or .tex"),
    ]:
        asked = ("--format", format) if format else ()
        result = cli(*runs["eval"], "-o", tmp_path / name, *asked)
        assert (result.code, result.stdout) == (2, b"")
        assert expected in result.last_line


def test_latex_of_eval_has_rows_of_equal_length(
    cli: Cli, runs: dict[str, tuple[object, ...]]
) -> None:
    for name, n_tables in (("eval", 4), ("compare", 1)):
        text = cli(*runs[name], "--format", "latex").stdout.decode()
        assert text.startswith("% \\usepackage{booktabs}\n\n% 16 photographs, 4 labels; ")
        tables = re.findall(
            r"\\begin{tabular}{([lr]+)}\n\\toprule\n(.*?)\\bottomrule\n\\end{tabular}",
            text,
            re.DOTALL,
        )
        assert len(tables) == n_tables
        for spec, body in tables:
            cells = [
                len(re.findall(r"(?<!\\)&", line)) + 1
                for line in body.splitlines()
                if line != r"\midrule"
            ]
            assert {*cells} == {len(spec)}
    assert r"soft pencil and a little ink \& water\_colour." in text
    assert "█" not in text


def test_the_others_give_csv(
    cli: Cli, runs: dict[str, tuple[object, ...]], remembered: Path
) -> None:
    text = {name: cli(*run, "--format", "csv").stdout.decode() for name, run in runs.items()}
    pairs = cli(*runs["calibrate"], "--pairs", 2, "--format", "csv").stdout.decode()
    labels, held_out = rows(pairs)
    kept = json.loads((remembered.parent / "c.json").read_text())
    for one, expected in zip(labels, kept["labels"], strict=True):
        assert one.pop("label") == expected["name"]
        assert numbers(one) == {name: expected[name] for name in one}
    alone, pairs, none = map(numbers, ({**one, "photographs": "0"} for one in held_out))
    of = kept["measured"]
    assert (alone["n"], pairs["n"]) == (of["n_photos"], of["n_pairs"])
    assert [alone[name] for name in of["alone"]] == [*of["alone"].values()]
    assert none["wrong_accepts"] == of["strangers_accepted"]

    (curve,) = rows(text["probe"])
    assert [one["shots"] for one in curve] == ["1", "2"]
    assert float(curve[0]["gain"]) == pytest.approx(
        float(curve[0]["probe"]) - float(curve[0]["zero_shot"])
    )
    best, *_ = rows(text["choose"])
    shares = [float(one["accuracy"]) for one in best]
    assert shares == sorted(shares, reverse=True)
    assert len(best) > 80
    (sets,) = rows(text["prompts"])
    assert [one["n_templates"] for one in sets] == ["1", "7", "80", "18"]
    (models,) = rows(text["models"])
    assert [one["model"] for one in models] == ["lite", *catalogue.known_names()]
    assert (models[6]["imagenet_top1"], models[6]["size_bytes"]) == ("0.6332", "353436676")
    (known,) = rows(text["cache"])
    assert (known[0]["model"], known[0]["n_photos"]) == ("lite", "16")
    assert len(known[0]["fingerprint"]) == 64
    shown = cli("prompts", "show", "--labels", "a\tdog,cat", "--format", "csv").stdout.decode()
    assert rows(shown)[0][0] == {"label": "a\tdog", "prompt": "a photo of a a\tdog."}


def test_what_was_rejected_is_said_to_be(cli: Cli, runs: dict[str, tuple[object, ...]]) -> None:
    lines = cli(*runs["choose"]).stdout.decode().splitlines()
    place = lines.index("words that were rejected, not better beyond chance:")
    assert " = " in lines[place + 1]
    assert any(line.startswith("words of ") and line.endswith("rejected") for line in lines)


def test_a_model_on_disk_says_where_it_is(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "models" / "RN50.pt"
    path.parent.mkdir()
    path.touch()
    listed = cli("models", "--cache-dir", tmp_path)
    assert [line.split()[-1] for line in listed.stdout.decode().splitlines()[1:4]] == [
        *("yes", "yes", "no"),
    ]
    assert cli("models", "--cache-dir", tmp_path, "--format", "csv").rows[1]["path"] == str(path)
    shown = cli("models", "show", "RN50", "--cache-dir", tmp_path).stdout.decode()
    assert f"on disk     {path}\n" in shown
    assert "on disk     no\n" in cli("models", "show", "RN101").stdout.decode()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("models", "--format", "csv", "show", "lite"), "clipcli models show prints no table"),
        (("prompts", "--format", "csv", "show"), "clipcli prompts show --format csv"),
    ],
)
def test_a_format_that_comes_too_early_is_refused(
    cli: Cli, arguments: tuple[str, ...], said: str
) -> None:
    result = cli(*arguments)
    assert (result.code, result.stdout) == (2, b"")
    assert said in result.last_line
