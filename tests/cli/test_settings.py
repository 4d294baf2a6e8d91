"""Options from clipcli.toml and the environment."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from program import Result

from clipcli.cli.app import app
from clipcli.cli.settings.exclusive import PARTNERS
from clipcli.cli.settings.keys import commands_by_table, options_of, variable
from clipcli.cli.settings.stranger import ALLOWED
from clipcli.files.settings_file import MAX_BYTES
from clipcli.models.on_disk.default_model import config_path

Cli = Callable[..., Result]

COMMANDS = commands_by_table(typer.main.get_command(app))
# what a photo folder's file may not set: whoever adds an option to classify decides, here or there
REFUSED = {
    *("calibration", "probe", "model", "device", "precision", "activation", "reference"),
    *("truncate", "cache_dir", "cache", "compile", "recursive", "null", "exact"),
    *("max_megapixels", "batch_size", "workers", "output", "format", "failures", "passed_over"),
    *("verbose", "allow_empty", "quiet", "write_xmp", "xmp_name", "embed_keywords"),
    *("overwrite_original", "copy_to", "move_to", "link_to", "hard", "dry_run"),
    *("raw", "update", "new_rows", "log"),
}


@pytest.fixture
def at_work(example_photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a folder of photographs."""
    (tmp_path / "photos").mkdir()
    shutil.copy(example_photos / "cat.jpg", tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLIPCLI_MODEL", "lite")
    return tmp_path


def _write_users(text: str) -> Path:
    path = config_path()
    assert path is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _labels(result: Result) -> list[str]:
    assert result.code == 0, result.stderr
    return [row["label"] for row in result.rows]


def test_the_nearest_layer_holds(cli: Cli, at_work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write_users('labels = ["user a", "user b"]\ntop_k = 2\n')
    assert set(_labels(cli("classify", "photos"))) == {"user a", "user b"}
    (at_work / "clipcli.toml").write_text('labels = ["here a", "polar, bear"]\n')
    assert set(_labels(cli("classify", "photos"))) == {"here a", "polar, bear"}
    (at_work / "photos" / "clipcli.toml").write_text('labels = "photo a, photo b"\n')
    result = cli("classify", "photos")
    assert set(_labels(result)) == {"photo a", "photo b"}
    assert "clipcli: photos/clipcli.toml: labels\n" in result.stderr
    assert "toml" not in cli("classify", "photos", "--quiet").stderr
    monkeypatch.setenv("CLIPCLI_LABELS", "polar bear,cat")
    assert set(_labels(cli("classify", "photos"))) == {"polar bear", "cat"}
    assert set(_labels(cli("classify", "photos", "--labels", "x,y"))) == {"x", "y"}
    assert len(_labels(cli("classify", "photos", "--labels", "x,y", "--top-k", "1"))) == 1


def test_a_commands_own_table_beats_what_holds_for_all(cli: Cli, at_work: Path) -> None:
    (at_work / "clipcli.toml").write_text(
        'labels = ["dog", "cat"]\ntop_k = 2\noutput = "labels.csv"\n'
        '[classify]\ntop_k = 1\n[similar]\ntop_k = 3\n[probe_fit]\noutput = "a.probe"\n'
    )
    assert cli("classify", "photos").code == 0
    assert Path("labels.csv").read_text().count("\n") == 2
    # a file that one command writes is not written over by another
    result = cli("similar", "a cat", "photos", "--format", "jsonl")
    assert len(result.objects) == 1
    assert "probability" in Path("labels.csv").read_text()


def test_an_option_switches_off_those_below_that_exclude_it(
    cli: Cli, at_work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (at_work / "labels.txt").write_text("dog\ncat\n")
    (at_work / "clipcli.toml").write_text(
        'labels_file = "labels.txt"\ntemplates = "seven"\nreference = true\nformat = "jsonl"\n'
    )
    assert cli("classify", "photos").objects[0]["predictions"][0]["label"] == "cat"
    assert cli("classify", "photos", "--labels", "x,cat").code == 0
    assert cli("classify", "photos", "--template", "a {}", "--fit", "pad").code == 0
    cli("classify", "photos", "-o", "a.csv")
    assert Path("a.csv").read_text().startswith("path,")
    monkeypatch.setenv("CLIPCLI_REFERENCE", "0")  # excludes nothing, and beats the file
    assert cli("classify", "photos", "--precision", "fp32").code == 0
    (at_work / "clipcli.toml").write_text('probe = "a.probe"\n')
    result = cli("classify", "photos", "--multi-label")
    assert (result.code, result.stdout) == (2, b"")
    assert "no labels;" in result.stderr
    assert "--probe of clipcli.toml is switched off by --multi-label" in result.stderr


def test_partners_are_options(cli: Cli) -> None:
    known = {one.name for command in COMMANDS.values() for one in command.params}
    assert set().union(*PARTNERS) <= known


def test_every_option_has_a_variable_of_its_own() -> None:
    for command in COMMANDS.values():
        names = [variable(key) for key in options_of(command)]
        assert len(names) == len(set(names))
    assert variable("cache_dir") == "CLIPCLI_CACHE"
    assert variable("min_probability") == "CLIPCLI_MIN_PROBABILITY"


def test_variables_are_read_as_they_would_be_typed(
    cli: Cli, at_work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy("photos/cat.jpg", "photos/dog.png")
    for name, value in {
        "CLIPCLI_LABELS": "polar bear,cat",
        "CLIPCLI_TEMPLATE": "a photo of a {}, a type of pet.\na {}",
        "CLIPCLI_EXCLUDE": "*.gif, *.png",
        "CLIPCLI_MULTI_LABEL": "1",
        "CLIPCLI_MIN_PROBABILITY": "0",
        "CLIPCLI_FORMAT": "jsonl",
        "CLIPCLI_NO_CACHE": "1",
        "CLIPCLI_UNKNOWN": "",
    }.items():
        monkeypatch.setenv(name, value)
    result = cli("classify", "photos")
    (row,) = result.objects
    assert row["path"] == "photos/cat.jpg"
    assert {one["label"] for one in row["predictions"]} == {"polar bear", "cat"}
    assert "known from before" not in cli("classify", "photos").stderr


def test_a_variable_meant_for_another_command_is_passed_over(
    cli: Cli, at_work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIPCLI_FORMAT", "jsonl")
    assert cli("models").code == 0
    monkeypatch.setenv("CLIPCLI_FORMAT", "csv")  # which it can take
    assert cli("models").stdout.startswith(b"model,")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("CLIPCLI_TOP_K", "five", "CLIPCLI_TOP_K five: expected a whole number from 1"),
        ("CLIPCLI_MIN_PROBABILITY", "2", "CLIPCLI_MIN_PROBABILITY 2: expected a number from 0"),
        ("CLIPCLI_MULTI_LABEL", "perhaps", "CLIPCLI_MULTI_LABEL perhaps: expected true or false"),
        ("CLIPCLI_FORMAT", "xml", "CLIPCLI_FORMAT xml: expected"),
        ("CLIPCLI_LABELS_FILE", "gone.txt", "gone.txt"),
        ("CLIPCLI_TEMPLATES", "nine", "--templates comes from CLIPCLI_TEMPLATES"),
        ("CLIPCLI_MAX_MEGAPIXELS", "inf", "--max-megapixels comes from CLIPCLI_MAX_MEGAPIXELS"),
    ],
)
def test_a_bad_variable_is_named(
    cli: Cli, at_work: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    labels = () if name == "CLIPCLI_LABELS_FILE" else ("--labels", "dog,cat")
    result = cli("classify", "photos", *labels)
    assert (result.code, result.stdout) == (2, b"")
    assert said in result.stderr
    assert name in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lables = 'dog,cat'", "lables: no option of any command; did you mean labels"),
        ("min-probability = 0.5", "no option of any command; did you mean min_probability"),
        ("[classfy]\ntop_k = 1", "classfy: no option of any command; did you mean [classify]"),
        ("classify = 1", "classify: no option of any command; did you mean [classify]"),
        ("[embed]\nlabels = 'a'", "[embed] labels: no option of clipcli embed"),
        ("[probe_fit]\nshot = 'a'", "[probe_fit] shot: no option of clipcli probe fit; did you"),
        ("yes = true", "yes: no option of any command"),
        ("paths = ['/']", "paths: no option of any command"),
        ("top_k = 'five'", "top_k is 'five'; expected a whole number from 1"),
        ("top_k = true", "top_k is True; expected a whole number from 1"),
        ("top_k = 0", "top_k is 0; expected a whole number from 1"),
        ("[classify]\ntop_k = 1.5", "[classify] top_k is 1.5; expected a whole number from 1"),
        ("min_probability = 'x'", "min_probability is 'x'; expected a number from 0 to 1"),
        ("multi_label = 1", "multi_label is 1; expected true or false"),
        ("labels = [1, 2]", "labels is [1, 2]; expected"),
        ("labels = {a = 1}", "labels is {'a': 1}; expected"),
        ("unknown = 3", "unknown is 3; expected"),
        ("fit = 'crops'", "fit is 'crops'; expected crop, pad or squash"),
        ("labels = [", "expected a file of TOML"),
        ("a = " + "[" * 5000, "nested too deep; expected a file of TOML"),
        (".".join(["a"] * 30_000) + " = 1", "a line of more than 100 dots"),
        ("#" * (MAX_BYTES + 1), "more than 1,000,000 bytes"),
    ],
)
def test_a_bad_file_is_one_line(cli: Cli, at_work: Path, text: str, said: str) -> None:
    """The same of the user's file, of the folder's and of the photographs'."""
    users = _write_users(text)
    labels = () if text.startswith("labels") else ("--labels", "dog,cat")
    for path in (str(users), "clipcli.toml", "photos/clipcli.toml"):
        Path(path).write_text(text)
        result = cli("classify", "photos", *labels)
        assert (result.code, result.stdout) == (2, b""), path
        assert result.stderr.startswith(f"clipcli: {path}: "), path
        assert said in result.stderr
        assert len(result.stderr.splitlines()) == 1
        Path(path).unlink()


def test_a_bad_model_names_its_file(
    cli: Cli, at_work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLIPCLI_MODEL")
    (at_work / "clipcli.toml").write_text('labels = ["dog", "cat"]\nmodel = "ViT-B/23"\n')
    result = cli("classify", "photos")
    assert (result.code, result.stdout) == (1, b"")
    assert result.stderr.endswith("ViT-B/32; --model comes from clipcli.toml\n")


def test_paths_count_from_the_folder_of_their_file(
    cli: Cli, at_work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = _write_users('labels_file = "pets.txt"\noutput = "~/labels.csv"\n')
    users.with_name("pets.txt").write_text("dog\ncat\n")
    monkeypatch.setenv("HOME", str(at_work))
    assert cli("classify", "photos").code == 0
    assert "cat" in (at_work / "labels.csv").read_text()


def test_the_working_directorys_file_is_not_the_users_within_a_path(
    cli: Cli, at_work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = at_work / "photos"
    (inside / "clipcli.toml").write_text('labels = ["dog", "cat"]\noutput = "/tmp/x.csv"\n')
    (at_work / "link").symlink_to("photos")
    monkeypatch.chdir(inside)
    for path in (".", inside, "../link", "../photos/"):
        result = cli("classify", path)
        assert (result.code, result.stdout) == (2, b"")
        assert "clipcli.toml: output: the file of a photo folder may not set this" in result.stderr
    # within it, and not its own
    (inside / "below").mkdir()
    (inside / "below" / "clipcli.toml").write_text('labels = ["dog", "cat"]\n')
    (inside / "clipcli.toml").unlink()
    monkeypatch.chdir(inside / "below")
    for paths in ((inside,), ("..", inside)):
        assert "no labels" in cli("classify", *paths).stderr


def test_the_working_directorys_file_is_the_photographs_beside_one_that_is_named(
    cli: Cli, at_work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(at_work / "photos")
    file = Path("clipcli.toml")
    file.write_text('labels = ["dog", "cat"]\noutput = "/tmp/x.csv"\n')
    for path in ("cat.jpg", "./cat.jpg", "../photos/cat.jpg"):
        result = cli("classify", path)
        assert (result.code, result.stdout) == (2, b"")
        assert "clipcli.toml: output: the file of a photo folder may not set this" in result.stderr
    file.write_text('labels = ["dog", "cat"]\n')
    assert _labels(cli("classify", "cat.jpg")) == ["cat"]


def test_the_users_file_holds_while_a_folder_of_photographs_is_gone(
    cli: Cli, at_work: Path
) -> None:
    Path("clipcli.toml").write_text('labels = ["dog", "cat"]\noutput = "rows.csv"\n')
    os.symlink("/mnt/disk/photos", "album")
    for path in ("gone", "album"):
        result = cli("classify", path, "--update")
        assert result.code == 1
        assert "; --update changed nothing" in result.stderr
    # of a photograph nobody knows whose folder it would lie in
    assert "may not set this" in cli("classify", "gone.jpg").stderr


def test_a_photo_folders_file_holds_for_one_path_alone(cli: Cli, at_work: Path) -> None:
    (at_work / "photos" / "clipcli.toml").write_text('labels = ["dog", "cat"]\n')
    shutil.copytree("photos", "more")
    assert _labels(cli("classify", "photos")) == ["cat"]
    for paths in (("photos", "more"), ("photos/cat.jpg",)):
        assert "no labels" in cli("classify", *paths).stderr


def test_somebody_has_decided_of_every_option_what_a_strangers_file_may_set() -> None:
    decided = {*ALLOWED, *REFUSED}
    assert set(ALLOWED).isdisjoint(REFUSED)
    assert [key for key in options_of(COMMANDS["classify"]) if key not in decided] == []


def test_a_strangers_file_sets_nothing_else(cli: Cli, at_work: Path) -> None:
    before = sorted(at_work.rglob("*"))
    path = at_work / "photos" / "clipcli.toml"
    for key in sorted({*options_of(COMMANDS["classify"])} - {*ALLOWED}):
        path.write_text(f"{key} = 'x'\n")
        result = cli("classify", "photos", "--labels", "dog,cat")
        assert (result.code, result.stdout) == (2, b""), key
        assert result.stderr.startswith(f"clipcli: photos/clipcli.toml: {key}: "), key
    for table in ("embed", "classify"):
        path.write_text(f"[{table}]\nmodel = 'x'\n")
        said = cli("classify", "photos", "--labels", "dog,cat").stderr
        assert "photos/clipcli.toml: model: the file of a photo folder may not" in said
    path.unlink()
    assert sorted(at_work.rglob("*")) == before


def test_a_strangers_file_names_no_file_outside(cli: Cli, at_work: Path) -> None:
    photos, path = at_work / "photos", at_work / "photos" / "clipcli.toml"
    for name in ("secret.txt", "simple", "photos/labels.txt"):
        Path(name).write_text("dog\ncat\n")
    os.symlink("../secret.txt", photos / "link.txt")
    os.symlink("..", photos / "up")
    os.mkfifo(photos / "pipe.txt")
    os.symlink("/dev/zero", photos / "zero.txt")
    (photos / "large.txt").write_text("x\n" * MAX_BYTES)
    for value in (
        *("../secret.txt", str(at_work / "secret.txt"), "link.txt", "up/secret.txt", "pipe.txt"),
        *("zero.txt", "large.txt", "secret.txt", "./../secret.txt", "~/secret.txt", "a\\u0000"),
        *("up/photos/../secret.txt", "", "."),
    ):
        for key, more in (("labels_file", ""), ("templates", 'labels = ["dog", "cat"]\n')):
            path.write_text(f'{more}{key} = "{value}"\n')
            result = cli("classify", "photos")
            assert (result.code, result.stdout) == (2, b""), (key, value)
            assert f"{key} is " in result.stderr, (key, value)
            assert "expected a file inside photos" in result.stderr
    path.write_text('[prompts_choose]\ntemplates = ["simple", "../secret.txt"]\n')
    assert "expected a file inside photos" in cli("prompts", "choose", "photos").stderr
    path.write_text('labels_file = "simple"\n')
    assert "expected a file inside photos" in cli("classify", "photos").stderr
    path.write_text('labels_file = "labels.txt"\ntemplates = "simple"\n')
    assert _labels(cli("classify", "photos")) == ["cat"]


def test_a_strangers_file_is_a_file_of_its_folder(cli: Cli, at_work: Path) -> None:
    path = at_work / "photos" / "clipcli.toml"
    (at_work / "other.toml").write_text('labels = ["dog", "cat"]\n')
    (at_work / "photos" / "inside.toml").write_text('labels = ["dog", "cat"]\n')

    def run() -> Result:
        result = cli("classify", "photos")
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        return result

    for target in ("../other.toml", "/dev/zero", "gone.toml/../../x"):
        path.symlink_to(target)
        assert "a link to outside of photos" in run().stderr
    os.mkfifo(path)
    assert "no regular file; expected a file of TOML" in run().stderr
    path.mkdir()
    assert "no regular file; expected a file of TOML" in run().stderr
    path.symlink_to("inside.toml")
    assert _labels(run()) == ["cat"]


def test_a_mark_at_the_beginning_of_a_file_is_no_part_of_it(cli: Cli, at_work: Path) -> None:
    users = _write_users("\ufefflabels = ['dog', 'cat']")
    assert cli("models", "use", "lite").code == 0
    assert users.read_text() == "model = \"lite\"\nlabels = ['dog', 'cat']"
    Path("clipcli.toml").write_text("\ufefftop_k = 1")
    assert len(cli("classify", "photos").rows) == 1


def test_help_and_version_need_no_good_file(cli: Cli, at_work: Path) -> None:
    (at_work / "clipcli.toml").write_text("labels = [")
    for typed in (("classify", "--help"), ("--version",), ("models", "--help")):
        assert (cli(*typed).code, cli(*typed).stderr) == (0, "")
