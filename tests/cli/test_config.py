"""`clipcli init` writes a file of settings, `clipcli config` shows what holds."""

from __future__ import annotations

import csv
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from program import Result

from clipcli.cli.app import app
from clipcli.cli.settings.keys import commands_by_table, is_meant, options_of
from clipcli.cli.settings.stranger import ALLOWED
from clipcli.cli.work.init import TEXT
from clipcli.models.on_disk.default_model import config_path

Cli = Callable[..., Result]

ROOT = typer.main.get_command(app)
COMMANDS = commands_by_table(ROOT)


@pytest.fixture(autouse=True)
def at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)


def _switched_on(text: str) -> list[str]:
    """Each setting of the text, that stands behind a #, as a line of TOML."""
    return [line[2:] for line in text.splitlines() if re.match(r"# (\w+ = |\[)", line)]


def test_init_writes_a_file_that_sets_nothing_and_never_over_one(cli: Cli) -> None:
    for typed, path in (
        ((), Path("clipcli.toml")),
        (("photos",), Path("photos/clipcli.toml")),
        (("--user",), config_path()),
    ):
        result = cli("init", *typed)
        assert (result.code, result.stdout) == (0, b"")
        assert f"{path}: written" in result.stderr
        assert path is not None
        assert tomllib.loads(path.read_text()) == {}
        path.write_text("# mine\n")
        again = cli("init", *typed)
        assert again.code == 1
        assert again.stderr == f"clipcli: {path}: is there already, and stays as it is\n"
        assert path.read_text() == "# mine\n"
    assert cli("init", "gone").code == 1
    assert cli("init", "photos", "--user").code == 2


def test_each_setting_that_init_writes_is_taken(cli: Cli) -> None:
    lines = _switched_on(TEXT)
    assert len(lines) > 15
    table = ""
    for line in lines:
        if line.startswith("["):
            table = line
            continue
        Path("clipcli.toml").write_text(f"{table}\n{line}\n")
        command = table.strip("[]") or "classify"
        key, value = line.split(" = ")
        value = value.split("  #")[0].strip().strip('"')
        rows = cli("config", "--command", command, "--format", "csv").rows
        (row,) = [row for row in rows if row["from"].startswith("clipcli.toml")]
        assert row["option"] == f"--{key.replace('_', '-')}"
        assert row["value"] == value or key in ("labels", "exclude")
    named = TEXT.partition("only labels")[2].partition("are allowed")[0]
    assert set(re.findall(r"\w+", f"labels{named}")) == {*ALLOWED, "and"}


def test_config_shows_what_holds_and_where_it_comes_from(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = config_path()
    assert users is not None
    users.parent.mkdir(parents=True)
    users.write_text('model = "lite"\nunknown = "other"\n[embed]\ndtype = "float16"\n')
    Path("clipcli.toml").write_text("[classify]\ntop_k = 2\n")
    Path("photos/clipcli.toml").write_text('labels = ["polar bear", "a, b"]\n')
    monkeypatch.setenv("CLIPCLI_MIN_PROBABILITY", "0.5")

    def shown(*typed: str) -> dict[str, tuple[str, str]]:
        result = cli("config", *typed, "--format", "csv")
        assert result.code == 0, result.stderr
        assert result.stderr == ""
        rows = list(csv.DictReader(result.stdout.decode().splitlines()))
        return {row["option"]: (row["value"], row["from"]) for row in rows}

    found = shown("photos")
    found.pop("--cache-dir")  # the tests have one of their own
    assert found == {
        "--labels": ('"polar bear", "a, b"', "photos/clipcli.toml"),
        "--min-probability": ("0.5", "CLIPCLI_MIN_PROBABILITY"),
        "--top-k": ("2", "clipcli.toml, [classify]"),
        "--unknown": ("other", str(users)),
        "--model": ("lite", str(users)),
    }
    assert "--labels" not in shown()
    assert shown("--command", "embed")["--dtype"] == ("float16", f"{users}, [embed]")
    assert "--top-k" not in shown("--command", "similar")
    every = shown("photos", "--all")
    assert every["--fit"] == ("crop", "default")
    assert every["--top-k"] == found["--top-k"]
    assert len(every) == len(options_of(COMMANDS["classify"]))
    text = cli("config", "photos").stdout.decode()
    assert "photos/clipcli.toml: 1 used (of the photographs: may not" in text
    assert "clipcli.toml: 1 used\n" in text
    assert f"{users}: 2 used\n" in text


def test_config_says_what_is_wrong(cli: Cli) -> None:
    assert "did you mean classify" in cli("config", "--command", "clasify").stderr
    assert "takes no photographs" in cli("config", "photos", "--command", "cache prune").stderr
    Path("clipcli.toml").write_text("top_k = 'x'\n")
    result = cli("config")
    assert (result.code, result.stdout) == (2, b"")
    assert result.stderr.startswith("clipcli: clipcli.toml: top_k is 'x'; expected a whole number")


def test_a_key_outside_the_tables_holds_where_it_means_the_same() -> None:
    """Of classify, `template` is around labels; of train, around captions."""

    def meant(key: str) -> set[str]:
        return {
            name
            for name, one in COMMANDS.items()
            if key in options_of(one) and is_meant(key, one, ROOT)
        }

    assert meant("output") == {"classify"}
    assert meant("top_k") == {"classify"}
    assert meant("dry_run") == {"classify"}
    assert "train" not in meant("template") | meant("batch_size") | meant("precision")
    assert {"classify", "embed", "similar", "eval", "probe_fit"} <= meant("model")
    assert {"classify", "eval", "prompts_show"} <= meant("labels")
    assert {"train", "cache_info", "models_download"} <= meant("cache_dir")
