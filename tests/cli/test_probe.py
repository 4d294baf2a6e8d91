"""`clipcli probe fit` on real photographs with the embedded model."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from places import SHARED
from program import Result
from safetensors.numpy import load_file, save_file

from clipcli.errors import UsageError
from clipcli.labelling.probe_file import read_probe

Cli = Callable[..., Result]
CIFAR = SHARED / "reference" / "cifar"


def test_a_folder_becomes_a_probe_that_names_its_model(
    cli: Cli, lite: str, labelled: Path, tmp_path: Path
) -> None:
    done = cli("probe", "fit", labelled, "-o", tmp_path / "a.probe", "--model", lite)
    assert done.code == 0
    assert done.stdout == b""
    assert "2 labels, 3 photographs each, C about" in done.last_line
    probe = read_probe(str(tmp_path / "a.probe"))
    assert probe.labels == ("living_thing", "thing")
    assert probe.origin.made_by.model == "lite"
    assert len(probe.origin.made_by.fingerprint) == 64
    assert probe.origin.made_by.preprocessing == "crop"
    assert probe.origin.made_by.templates == ("a photo of a {}.",)
    assert probe.origin.shots == (3, 3)
    assert [path.name for path in tmp_path.glob("*.part")] == []


def test_the_curve_is_a_table_and_needs_no_probe(cli: Cli, lite: str, labelled: Path) -> None:
    done = cli("probe", "fit", labelled, "--shots", "1,2,16", "--splits", 2, "--model", lite)
    assert done.code == 0
    lines = done.stdout.decode().splitlines()
    assert lines[0].split() == ["SHOTS", "PROBE", "ZERO-SHOT", "GAIN"]
    assert [line.split()[0] for line in lines[1:]] == ["1", "2"]
    assert "a label has 3 photographs: more than 2 not measured" in done.stderr


def test_a_csv_and_words_of_ones_own(cli: Cli, lite: str, labelled: Path, tmp_path: Path) -> None:
    rows = [f"{path},{path.parent.name}" for path in sorted(labelled.rglob("*.jpg"))]
    (tmp_path / "truth.csv").write_text("path,label\n" + "\n".join([*rows, "gone.jpg,thing"]))
    (tmp_path / "labels.txt").write_text("living_thing = cat | person\nthing\nplant\n")
    done = cli(
        *("probe", "fit", tmp_path / "truth.csv", "-o", tmp_path / "b.probe", "--model", lite),
        *("--labels-file", tmp_path / "labels.txt", "--template", "a {}"),
    )
    assert done.code == 3
    assert "gone.jpg: no such file" in done.stderr
    probe = read_probe(str(tmp_path / "b.probe"))
    assert probe.labels == ("living_thing", "thing", "plant")
    assert probe.origin.shots == (3, 3, 0)


def test_labels_with_too_few_photographs_are_left_out_by_name(
    cli: Cli, lite: str, labelled: Path, example_photos: Path, tmp_path: Path
) -> None:
    (labelled / "feline").mkdir()
    shutil.copy(example_photos / "cat.jpg", labelled / "feline")
    (labelled / "mug").mkdir()
    shutil.copy(example_photos / "coffee.jpg", labelled / "mug")
    (labelled / "mug" / "broken.jpg").write_bytes(b"no picture")
    (labelled / "owl").mkdir()
    fit = ("probe", "fit", labelled, "-o", tmp_path / "a.probe", "--model", lite)
    everything = cli(*fit)
    assert everything.code == 3
    assert "without a photograph, known by their words alone: owl" in everything.stderr
    assert read_probe(str(tmp_path / "a.probe")).origin.shots == (1, 3, 1, 0, 3)
    shots = cli(*fit, "--shots", "1,2")
    assert shots.code == 2
    assert "a label has 1 photograph, of which one" in shots.last_line
    assert "--leave-out-rare" in shots.last_line
    done = cli(*fit, "--shots", "1,2", "--splits", 1, "--leave-out-rare")
    assert done.code == 3
    assert "fewer than 2 photographs: 2 of 5 labels, feline (1), owl (0)" in done.stderr
    assert "fewer than 2 photographs: 1 of 3 labels, mug (1)" in done.stderr
    assert [line.split()[0] for line in done.stdout.decode().splitlines()[1:]] == ["1", "2"]
    probe = read_probe(str(tmp_path / "a.probe"))
    assert probe.labels == ("living_thing", "thing")
    assert len(probe.weights) == 2
    assert probe.origin.shots == (3, 3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "expected -o FILE for the probe, or --shots 1,2,4,8 to measure, or both"),
        (("--shots", "1,two"), "--shots 1,two: expected numbers from 1, like 1,2,4,8,16"),
        (("--shots", "3"), "a label has 3 photographs, of which one at least is left to test"),
        (("-o", "x", "-0"), "--null: probe fit reads no list of paths; leave it out"),
    ],
)
def test_what_cannot_work_is_one_line(
    cli: Cli, lite: str, labelled: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = cli("probe", "fit", labelled, "--model", lite, *arguments)
    assert done.code == 2
    assert said in done.last_line


def test_a_missing_package_and_labels_that_cannot_be_taught_are_said_before_photographs_are_read(
    cli: Cli, lite: str, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "labels.txt").write_text("living_thing = any: cat | person\nthing\nplant\n")
    fit = ("probe", "fit", labelled, "-o", tmp_path / "a.probe", "--model", lite)
    several = cli(*fit, "--labels-file", tmp_path / "labels.txt")
    monkeypatch.setitem(sys.modules, "scipy", None)  # as if it were not installed
    for result, said in (
        (several, "a label of several classes (any:) cannot be taught"),
        (cli(*fit), 'install it with: pip install "clipcli[probe]"'),
    ):
        assert result.code == 2
        assert said in result.last_line
        assert "learned from" not in result.stderr


def test_a_run_that_fails_leaves_the_old_probe(
    cli: Cli, lite: str, labelled: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.probe"
    path.write_text("the old one")
    done = cli("probe", "fit", labelled, "-o", path, "--shots", "3", "--model", lite)
    assert done.code == 2
    assert path.read_text() == "the old one"
    assert not list(tmp_path.glob("*.part"))


def test_damaged_and_foreign_files_are_one_line(
    cli: Cli, lite: str, labelled: Path, tmp_path: Path
) -> None:
    good = tmp_path / "a.probe"
    cli("probe", "fit", labelled, "-o", good, "--model", lite)
    arrays = load_file(good)
    data = good.read_bytes()
    bad = {
        "cut": data[:-100],
        "empty": b"",
        "text": b"a labels file\n",
        "pickle": b"\x80\x04\x95",
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
    save_file(arrays, tmp_path / "foreign")
    save_file(arrays, tmp_path / "odd", {"probe": "[1]"})
    save_file(arrays, tmp_path / "nested", {"probe": "[" * 100_000})
    for name in (*bad, "foreign", "odd", "nested", "missing"):
        with pytest.raises(UsageError, match="expected a file of clipcli probe fit") as caught:
            read_probe(str(tmp_path / name))
        assert "\n" not in str(caught.value)


@pytest.mark.shared
def test_few_shots_are_at_least_zero_shot_on_cifar(cli: Cli) -> None:
    done = cli(
        *("probe", "fit", CIFAR / "truth.csv", "--model", CIFAR / "cifar-clip.pt"),
        *("--precision", "fp32", "--shots", "1,2,4,8"),
    )
    gains = [float(line.split("+")[1].split()[0]) for line in done.stdout.decode().splitlines()[1:]]
    assert len(gains) == 4
    assert np.min(gains) >= 0


@pytest.mark.shared
def test_labels_that_say_nothing_are_learned_from_photographs_on_cifar(
    cli: Cli, tmp_path: Path
) -> None:
    names = sorted({line.split(",")[1] for line in (CIFAR / "truth.csv").read_text().split()[1:]})
    lines = [f"{name} = class {number}" for number, name in enumerate(names, start=1)]
    (tmp_path / "labels.txt").write_text("\n".join(lines))
    done = cli(
        *("probe", "fit", CIFAR / "truth.csv", "--model", CIFAR / "cifar-clip.pt"),
        *("--precision", "fp32", "--shots", "8", "--labels-file", tmp_path / "labels.txt"),
    )
    assert float(done.stdout.decode().splitlines()[1].split()[1]) >= 75
