"""A newcomer's mistakes, typed wrong on purpose: one line names what was meant, or it is done."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from program import Result

Cli = Callable[..., Result]

LABELS = ("--labels", "dog,cat")
MISTAKES: list[tuple[tuple[str, ...], int, str]] = [
    # typed, exit code, what is said
    (("photos/", *LABELS), 2, "did you mean clipcli classify photos/ --labels dog,cat"),
    (("photos/",), 2, "did you mean clipcli classify photos/ --labels A,B,C"),
    (("clasify", "photos", *LABELS), 2, "did you mean clipcli classify"),
    (("classify", "photos", "--label", "dog,cat"), 2, "did you mean --labels"),
    (("classify", "photos", "--lables", "dog,cat"), 2, "did you mean --labels"),
    (("classify", "photos", *LABELS, "--model", "clip"), 1, "a path, lite or one of RN50, RN101,"),
    (("classify", "photos", *LABELS, "--model", "ViT-B/23"), 1, "did you mean ViT-B/32"),
    (("classify", "photos", *LABELS, "--output", "photos"), 1, "expected the name of a file to wr"),
    (("classify", "photos", *LABELS, "-o"), 2, "-o: nothing behind it; expected --output FILE"),
    (
        ("classify", "photos", *LABELS, "-o", "new/a.csv"),
        1,
        "there is no folder new; make it first",
    ),
    (("classify", "https://example.org/a.jpg", *LABELS), 1, "expected a file on this machine"),
    (("classify", "photos/*.png", *LABELS), 1, "a pattern is for the shell, without quotes"),
    (("classify", "~/photos", *LABELS), 1, "home folder only where it is not in quotes"),
    (("classify", "C:\\my\\photos", *LABELS), 1, "did you mean C:/my/photos"),
    (("classify", "notes.txt", *LABELS), 1, "notes.txt: no picture: begins with b'dog"),
    (("classify", "photos", "--labels", ""), 2, "expected at least one, like dog,cat,tiger"),
    (("classify", "photos"), 2, "no labels; expected --labels dog,cat,tiger"),
    (("classify", *LABELS), 2, "no PATH; expected photographs, folders, or - for a list on stdin"),
    (("classify", "photos", *LABELS, "--top-k", "five"), 2, "expected a whole number from 1"),
    (("classify", "photos", *LABELS, "--format", "xml"), 2, "--format xml: expected"),
    (("classify", "photos", *LABELS, "--device", "gpu"), 2, "expected auto, cpu, cuda, cuda:1 or"),
    (
        ("classify", "photos", *LABELS, "--device", "cuda:99"),
        2,
        "pass --device auto or --device cpu",
    ),
    (("classify", "photos", *LABELS, "--template", "a photo"), 2, "expected one like 'a photo of"),
    (("classify", "photos", *LABELS, "-o", "a.xlsx"), 2, ".xlsx is not written; expected"),
    (("similar", "photos/"), 2, 'such as clipcli similar "a dog" photos/'),
    (("embed",), 2, "no PATH; expected photographs, folders, or - for a list on stdin"),
    (("embed", "photos", "-o", "a.xlsx"), 2, "expected .npy, .npz, .safetensors"),
    (("models", "download", "vit-b/23"), 2, "did you mean ViT-B/32"),
]


@pytest.fixture
def at_home(
    cli: Cli, example_photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Where a newcomer types: a folder with photographs and a text."""
    (tmp_path / "photos").mkdir()
    shutil.copy(example_photos / "cat.jpg", tmp_path / "photos")
    (tmp_path / "notes.txt").write_text("dog\ncat\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLIPCLI_MODEL", "lite")
    return tmp_path


def test_one_line_names_what_was_meant(cli: Cli, at_home: Path) -> None:
    before = sorted(at_home.rglob("*"))
    for typed, code, said in MISTAKES:
        result = cli(*typed)
        assert result.code == code, typed
        lines = result.stderr.splitlines()
        assert sum(said in line for line in lines) == 1, (typed, lines)
        assert all(line.startswith("clipcli: ") for line in lines), (typed, lines)
        if code == 2:
            assert (result.stdout, len(lines)) == (b"", 1), typed
    assert sorted(at_home.rglob("*")) == before


def test_what_can_only_mean_one_thing_is_done(cli: Cli, at_home: Path) -> None:
    right = cli("classify", "photos", *LABELS, "--model", "lite").stdout
    assert right.count(b"\n") == 2
    for typed in (
        ("classify", "photos", "--labels", "dog,,cat"),
        ("classify", "photos", "--labels", " dog, cat ,"),
        ("classify", "photos", *LABELS, "--model", "LITE"),
    ):
        assert cli(*typed).stdout == right, typed
