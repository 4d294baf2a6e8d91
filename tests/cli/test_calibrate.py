"""`clipcli calibrate` from its arguments to its file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from program import Result, run

from clipcli.labelling import calibration_file

Cli = Callable[..., Result]
SIDE = 160  # of a piece cut out of an example photograph


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory, example_photos: Path) -> Path:
    """A folder a label, four pieces of one photograph in each."""
    folder = tmp_path_factory.mktemp("labelled")
    for name in ("astronaut", "cat", "coffee"):
        (folder / name).mkdir()
        with Image.open(example_photos / f"{name}.jpg") as picture:
            width, height = picture.size
            for number in range(4):
                left = (width - 2 * SIDE) // 2 + SIDE // 3 * number
                top = (height - 2 * SIDE) // 2
                piece = picture.crop((left, top, left + 2 * SIDE, top + 2 * SIDE))
                piece.save(folder / name / f"{number}.png")
    return folder


def calibrate(cli: Cli, labelled: Path, output: Path, *arguments: object) -> Result:
    precision = () if "--reference" in arguments else ("--precision", "fp32")
    return cli("calibrate", labelled, "-o", output, "--model", "lite", *precision, *arguments)


def fields(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def test_it_writes_a_file_and_says_how_well_it_does(
    cli: Cli, labelled: Path, tmp_path: Path
) -> None:
    output = tmp_path / "pets.json"
    result = calibrate(cli, labelled, output)
    assert result.code == 0
    printed = result.stdout.decode()
    assert [line.split()[0] for line in printed.splitlines()[:4]] == [
        "LABEL", "astronaut", "cat", "coffee",
    ]  # fmt: skip
    assert "alone (12): " in printed
    assert "of absent labels accepted" in printed
    assert "12 looked at" in result.stderr
    done = calibration_file.read_calibration(str(output))
    assert [label.name for label in done.labels] == ["astronaut", "cat", "coffee"]
    assert (done.made_by.model, done.made_by.precision, done.made_by.preprocessing) == (
        "lite",
        "fp32",
        "crop",
    )
    assert done.made_by.templates == ("a photo of a {}.",)
    assert done.measured.n_photos == 12
    assert f"side by side ({done.measured.n_pairs})" in printed
    assert done.measured.n_pairs > 0


def test_the_same_photographs_give_the_same_file(cli: Cli, labelled: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    assert calibrate(cli, labelled, first).code == 0
    assert calibrate(cli, labelled, second, "--workers", 1).code == 0
    assert first.read_bytes() == second.read_bytes()


def test_photographs_of_one_label_each_need_no_pairs(
    cli: Cli, labelled: Path, tmp_path: Path
) -> None:
    output = tmp_path / "pets.json"
    result = calibrate(cli, labelled, output, "--pairs", 0)
    assert result.code == 0
    assert b"side by side" not in result.stdout
    done = calibration_file.read_calibration(str(output))
    assert done.measured.in_pairs is None
    assert done.measured.alone.wrong_rejects == 0


def test_a_csv_and_the_words_of_a_labels_file_will_do(
    cli: Cli, labelled: Path, tmp_path: Path
) -> None:
    rows = [
        f"{path},{'pet' if label == 'cat' else label}"
        for label in ("cat", "coffee")
        for path in sorted((labelled / label).iterdir())
    ]
    (tmp_path / "truth.csv").write_text("path,label\n" + "\n".join(rows) + "\n")
    words = tmp_path / "labels.txt"
    words.write_text('pet = any: cat | dog\ncoffee = "a cup of coffee."\n')
    output = tmp_path / "pets.json"
    result = calibrate(
        cli, tmp_path / "truth.csv", output, "--labels-file", words, "--templates", "seven"
    )
    assert result.code == 0
    done = calibration_file.read_calibration(str(output))
    assert [(label.name, label.is_any) for label in done.labels] == [
        ("pet", True), ("coffee", False),
    ]  # fmt: skip
    assert len(done.made_by.templates) == 7


def test_a_photograph_that_cannot_be_read_is_named_and_left_out(
    cli: Cli, labelled: Path, tmp_path: Path
) -> None:
    rows = [f"{path},{path.parent.name}" for path in sorted(labelled.glob("c*/*"))]
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "truth.csv").write_text("\n".join([*rows, "broken.jpg,cat"]) + "\n")
    output, failures = tmp_path / "pets.json", tmp_path / "failures.csv"
    result = calibrate(cli, tmp_path / "truth.csv", output, "--failures", failures, "--pairs", 0)
    assert result.code == 3
    assert "broken.jpg: no picture" in result.stderr
    assert "broken.jpg" in failures.read_text()
    assert fields(output)["measured"]["n_photos"] == 8


def test_a_label_with_too_few_photographs_is_refused(
    cli: Cli, labelled: Path, tmp_path: Path
) -> None:
    rows = [f"{path},{path.parent.name}" for path in sorted(labelled.glob("c*/*"))]
    truth, output = tmp_path / "truth.csv", tmp_path / "pets.json"
    truth.write_text("\n".join(rows[:5]) + "\n")
    result = calibrate(cli, truth, output)
    assert result.code == 2
    assert "coffee has 1; expected at least 2 readable photographs" in result.last_line
    truth.write_text("\n".join(rows[:4]) + "\n")
    assert "one label, cat; expected at least two" in calibrate(cli, truth, output).last_line
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    truth.write_text("\n".join([*rows[:5], "broken.jpg,coffee"]) + "\n")
    result = calibrate(cli, truth, output)
    assert result.code == 2
    assert "coffee has 1" in result.last_line
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("pets")] == []


def test_labels_with_too_few_photographs_are_left_out_by_name(
    cli: Cli, labelled: Path, tmp_path: Path
) -> None:
    rows = [f"{path};{path.parent.name}" for path in sorted(labelled.glob("*/*"))]
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    truth, output = tmp_path / "truth.csv", tmp_path / "pets.json"
    mugs = ["broken.jpg;mug", rows[0].replace(";astronaut", ";mug")]
    truth.write_text("\n".join(["bild;art", *rows[1:], *mugs]) + "\n")
    columns = ("--path-column", "bild", "--label-column", 2, "--pairs", 0)
    labels = ("--labels", "astronaut,cat,coffee,mug,owl")
    result = calibrate(cli, truth, output, *columns, *labels)
    assert result.code == 2
    assert "owl has 0; expected at least 2" in result.last_line
    assert "; --leave-out-rare goes on without" in result.last_line
    result = calibrate(cli, truth, output, *columns, *labels, "--leave-out-rare")
    assert result.code == 3
    said = result.stderr.splitlines()
    assert said[0] == "clipcli: left out, with fewer than 2 photographs: 1 of 5 labels, owl (0)"
    assert said[-1] == "clipcli: left out, with fewer than 2 photographs: 1 of 4 labels, mug (1)"
    done = calibration_file.read_calibration(str(output))
    assert [label.name for label in done.labels] == ["astronaut", "cat", "coffee"]
    assert done.measured.n_photos == 11

    truth.write_text("\n".join(["bild;art", *rows[:5]]) + "\n")
    result = calibrate(cli, truth, output, *columns, "--leave-out-rare")
    assert result.code == 2
    assert "--leave-out-rare: 1 of 2 labels has 2 photographs or more; expected" in result.stderr
    result = calibrate(cli, truth, output, *columns, "--labels", "cat,dog")
    assert (result.code, "astronaut: among the true labels" in result.stderr) == (2, True)
    assert len(fields(output)["labels"]) == 3  # the old one


def test_labels_that_say_nothing_of_their_photographs_are_refused(
    cli: Cli, labelled: Path, tmp_path: Path
) -> None:
    swapped = {"cat": "coffee", "coffee": "cat"}
    rows = [f"{path},{swapped[path.parent.name]}" for path in labelled.glob("c*/*")]
    (tmp_path / "truth.csv").write_text("\n".join(rows) + "\n")
    result = calibrate(cli, tmp_path / "truth.csv", tmp_path / "pets.json")
    assert result.code == 2
    assert "no nearer to their own labels than to others" in result.last_line
    assert not (tmp_path / "pets.json").exists()


def test_options_that_cannot_work_are_refused(cli: Cli, labelled: Path, tmp_path: Path) -> None:
    output = tmp_path / "pets.json"
    cases: list[tuple[tuple[object, ...], str]] = [
        (("--failures", output), "--output and --failures name the same file"),
        (("-0",), "--null: calibrate reads no list of paths"),
        (("--template", "a photo"), "has no {}"),
        (("--template", "a {}", "--templates", "seven"), "give one of them"),
        (("--pairs", -1), "--pairs"),
    ]
    for arguments, message in cases:
        result = calibrate(cli, labelled, output, *arguments)
        assert result.code == 2
        assert message in result.last_line
    result = cli("calibrate", labelled, "--model", "lite")
    assert result.code == 2
    assert "--output" in result.last_line
    assert calibrate(cli, tmp_path / "missing", output).code == 2
    assert not output.exists()


def test_a_file_that_cannot_be_written_ends_the_run_before_it_starts(
    cli: Cli, labelled: Path, tmp_path: Path
) -> None:
    result = calibrate(cli, labelled, tmp_path / "missing" / "pets.json")
    assert result.code == 1
    assert "cannot be written" in result.last_line
    assert "looked at" not in result.stderr


def test_it_runs_as_a_program_and_quietly(labelled: Path, tmp_path: Path) -> None:
    output = tmp_path / "pets.json"
    result = run("calibrate", labelled, "-o", output, "--model", "lite", "--reference", "-q")
    assert (result.code, result.stderr) == (0, "")
    assert calibration_file.read_calibration(str(output)).made_by.preprocessing == "reference"
