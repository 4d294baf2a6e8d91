"""`clipcli eval`: what it measures, prints, writes and refuses."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import save_truncated_jpeg
from places import SHARED
from program import Result, run
from safetensors.numpy import save_file
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from clipcli.evaluation.metrics import wilson_interval
from clipcli.models.on_disk.catalogue import lite_path

Cli = Callable[..., Result]
NAMES = ("astronaut", "cat", "coffee", "galaxies", "photographer", "rocket")
WRONG = {"cat": "rocket"}  # what the folders say of the photograph called cat


@pytest.fixture(scope="module")
def remembered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache for all tests of this file: the six photographs are encoded once."""
    return tmp_path_factory.mktemp("remembered")


@pytest.fixture
def measure(cli: Cli, lite: str, remembered: Path) -> Cli:
    return lambda *arguments: cli("eval", "--model", lite, "--cache-dir", remembered, *arguments)


@pytest.fixture
def album(tmp_path: Path, example_photos: Path) -> Path:
    """The six photographs in folders by name; the cat lies among the rockets."""
    folder = tmp_path / "album"
    for name in NAMES:
        label = folder / WRONG.get(name, name)
        label.mkdir(parents=True, exist_ok=True)
        (folder / name).mkdir(exist_ok=True)
        shutil.copy(example_photos / f"{name}.jpg", label)
    return folder


def measured(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def test_the_figures_are_those_of_what_classify_answers(
    measure: Cli, cli: Cli, lite: str, remembered: Path, album: Path, tmp_path: Path
) -> None:
    result = measure(album, "-o", tmp_path / "eval.json")
    assert result.code == 0
    rows = cli(
        "classify", album, "--model", lite, "--cache-dir", remembered, "--labels", ",".join(NAMES)
    ).rows
    truth = [Path(row["path"]).parent.name for row in rows]
    answers = [row["label"] for row in rows]
    figures = measured(tmp_path / "eval.json")
    assert figures["n"] == 6
    assert figures["top1"] == pytest.approx(accuracy_score(truth, answers)) == 5 / 6
    assert figures["interval"] == pytest.approx(wilson_interval(5, 6))
    shown = [name for name in NAMES if name in truth]
    recalls = recall_score(truth, answers, labels=shown, average=None)
    precisions = precision_score(truth, answers, labels=shown, average=None)
    scores = figures["per_label"]
    assert [scores[name]["recall"] for name in shown] == pytest.approx(recalls)
    assert [scores[name]["precision"] for name in shown] == pytest.approx(precisions)
    assert figures["mean_recall"] == pytest.approx(recalls.mean())
    low, high = wilson_interval(0, 1)
    assert scores["cat"] == {
        "n": 0,
        "precision": 0.0,
        "recall": None,
        "f1": 0.0,
        "precision_interval": [low, high],
        "recall_interval": None,
        "n_answered": 1,
    }
    assert figures["macro_f1"] == pytest.approx(
        f1_score(truth, answers, labels=shown, average="macro")
    )
    assert (figures["micro_f1"], figures["n_no_label"]) == (figures["top1"], 0)
    assert figures["scoring"] == rows[0]["scoring"] == "softmax"
    assert figures["confusions"] == [{"truth": "rocket", "predicted": "cat", "n": 1}]
    said = [float(row["probability"]) for row in rows]
    by_bin: dict[int, list[float]] = {}
    for probability, label, answer in zip(said, truth, answers, strict=True):
        by_bin.setdefault(int(probability * 15), []).append(probability - (label == answer))
    ece = sum(abs(sum(errors)) for errors in by_bin.values()) / 6
    assert figures["ece"] == pytest.approx(ece, abs=1e-6)
    assert figures["model"] == lite
    assert len(figures["fingerprint"]) == 64
    assert figures["templates"] == ["a photo of a {}."]
    assert figures["failed"] == []


def test_the_tables_name_every_figure_without_colours(measure: Cli, album: Path) -> None:
    result = measure(album)
    text = result.stdout.decode()
    assert "\x1b" not in text
    lines = [line.split() for line in text.splitlines()]
    assert ["top-1", "83.3", "%", "43.6", "to", "97.0", "5", "of", "6"] in lines
    assert ["rocket", "cat", "1", "16.7", "%"] in lines
    certain = ["100.0", "%", "20.7", "to", "100.0"]
    assert ["galaxies", "1", *certain, *certain, "100.0", "%"] in lines
    assert ["cat", "0", "0.0", "%", "0.0", "to", "79.3", "-", "0.0", "%"] in lines
    assert ["macro", "F1", "of", "5", "labels", "93.3", "%"] in lines
    assert any(line[:2] == ["calibration", "error"] for line in lines)
    assert "labels without a photograph: cat" in result.stderr
    assert "6 files: 6 judged, 0 passed over, 0 failed" in result.last_line


def test_json_takes_the_place_of_the_tables_unless_it_has_a_file(
    measure: Cli, album: Path, tmp_path: Path
) -> None:
    printed = measure(album, "--format", "json").stdout
    assert json.loads(printed)["n"] == 6
    both = measure(album, "--format", "json", "-o", tmp_path / "eval.json")
    assert both.stdout.startswith(b"6 photographs, 6 labels")
    assert (tmp_path / "eval.json").read_bytes() == printed


def test_top5_of_fewer_labels_is_top_of_all(measure: Cli, album: Path) -> None:
    for name in ("astronaut", "cat", "galaxies", "photographer"):
        shutil.rmtree(album / name)
    result = measure(album, "--format", "json", "--labels", "coffee,rocket,cat")
    assert json.loads(result.stdout)["top5"] == 1.0
    assert b"top-2 " in measure(album).stdout


def test_a_csv_and_its_folder_measure_the_same(measure: Cli, album: Path, tmp_path: Path) -> None:
    rows = [
        [f"album/{path.parent.name}/{path.name}", path.parent.name] for path in album.rglob("*.jpg")
    ]
    with (tmp_path / "truth.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "label"], *rows])
    labels = ("--labels", ",".join(NAMES), "--format", "json")
    from_csv, from_folder = (
        json.loads(measure(path, *labels).stdout) for path in (tmp_path / "truth.csv", album)
    )
    assert from_csv == from_folder


def test_a_failed_photograph_is_named_and_not_counted(
    measure: Cli, album: Path, tmp_path: Path
) -> None:
    save_truncated_jpeg(album / "coffee" / "half.jpg")
    result = measure(album, "--format", "json", "--failures", tmp_path / "failures.csv")
    assert result.code == 3
    assert "half.jpg: damaged picture" in result.stderr
    figures = json.loads(result.stdout)
    assert figures["n"] == 6
    assert [Path(one["path"]).name for one in figures["failed"]] == ["half.jpg"]
    assert b"half.jpg" in (tmp_path / "failures.csv").read_bytes()


def test_a_row_of_a_missing_photograph_is_failed_by_name(
    measure: Cli, example_photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "truth.csv").write_text(
        f"{example_photos}/cat.jpg,cat\n{example_photos}/rocket.jpg,rocket\ngone.jpg,dog\n"
    )
    result = measure(tmp_path / "truth.csv")
    assert result.code == 3
    assert "gone.jpg: no such file" in result.stderr
    assert b"2 photographs, 3 labels" in result.stdout


def test_nothing_is_written_when_no_photograph_can_be_read(measure: Cli, tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text("gone.jpg,dog\nlost.jpg,cat\n")
    result = measure(
        tmp_path / "truth.csv", "-o", tmp_path / "e.json", "--report", tmp_path / "e.html"
    )
    assert result.code == 1
    assert result.stdout == b""
    assert [path.name for path in tmp_path.iterdir()] == ["truth.csv"]


def test_labels_to_choose_from_must_hold_the_true_ones(measure: Cli, album: Path) -> None:
    result = measure(album, "--labels", "cat,coffee,astronaut")
    assert result.code == 2
    assert result.stderr.startswith(
        "clipcli: galaxies, photographer, rocket: among the true labels"
    )
    assert result.stderr.count("\n") == 1


def test_underscores_are_spaces_to_the_model_and_match_labels_with_spaces(
    measure: Cli, album: Path, tmp_path: Path
) -> None:
    shutil.move(album / "coffee", album / "cup_of_coffee")
    as_folders = json.loads(measure(album, "--format", "json").stdout)
    assert "cup_of_coffee" in as_folders["per_label"]
    (tmp_path / "labels.txt").write_text(
        "astronaut\ncat\ncup of coffee\ngalaxies\nphotographer\nrocket\ntiger = big cat\n"
    )
    chosen = measure(album, "--labels-file", tmp_path / "labels.txt", "--format", "json")
    scores = json.loads(chosen.stdout)["per_label"]
    assert scores["cup of coffee"] == as_folders["per_label"]["cup_of_coffee"]
    assert scores["tiger"]["n"] == 0


def test_compare_measures_every_model_with_every_set_of_templates(
    measure: Cli, album: Path, tmp_path: Path
) -> None:
    result = measure(
        album, "--compare", "{}|a painting of a {}", "--compare", "lite", "-o", tmp_path / "e.json"
    )
    assert result.code == 0
    rows = [line.split("  ")[0] for line in result.stdout.decode().splitlines()[3:]]
    assert rows == ["lite"] * 4
    figures = measured(tmp_path / "e.json")
    assert [one["templates"] for one in figures["compared"]] == [
        ["{}", "a painting of a {}"],
        ["a photo of a {}."],
        ["{}", "a painting of a {}"],
    ]
    painting, same, _ = figures["compared"]
    alone = measure(
        album, "--template", "{}", "--template", "a painting of a {}", "--format", "json"
    )
    assert painting["ece"] == json.loads(alone.stdout)["ece"]
    assert painting["difference"] == painting["top1"] - figures["top1"]
    assert same["difference"] == 0.0
    low, high = same["difference_interval"]
    assert low == -high


def test_named_sets_and_files_of_templates_can_be_compared(
    measure: Cli, album: Path, tmp_path: Path
) -> None:
    (tmp_path / "drawn.txt").write_text("a drawing of a {}\na sketch of a {}\n")
    result = measure(
        album, "--templates", "cifar18", "--compare", "seven", "--compare", tmp_path / "drawn.txt"
    )
    assert result.code == 0
    rows = result.stdout.decode().splitlines()[3:]
    assert [row.split("  ")[1].strip() for row in rows] == [
        "cifar18",
        "seven",
        "'a drawing of a {}' and 1 more",
    ]


def test_photographs_are_encoded_once_a_model(
    cli: Cli, lite: str, album: Path, tmp_path: Path
) -> None:
    (rocket,) = (album / "rocket").glob("rocket.jpg")
    rocket.unlink()
    more = ("--compare", "{}", "--compare", "a drawing of a {}")
    result = cli("eval", album, "--model", lite, "--no-cache", *more)
    assert result.stdout.count(b"lite") == 3
    assert result.stderr.count("5 judged") == 1


def test_what_cannot_work_is_refused_before_anything_is_encoded(
    measure: Cli, album: Path, tmp_path: Path
) -> None:
    one_label = tmp_path / "one"
    shutil.copytree(album / "coffee", one_label / "coffee")
    for arguments, said in [
        ((album, "--labels", "cat", "--labels-file", "labels.txt"), "give one of them"),
        ((album, "--template", "a photo"), "has no {} for the label"),
        ((album, "--compare", "{}|drawing"), "has no {} for the label"),
        ((album, "--templates", "nine"), "no set of that name"),
        ((album, "--templates", "seven", "--template", "{}"), "give one of them"),
        ((album, "--null"), "--null"),
        ((album, "-o", tmp_path / "a", "--report", tmp_path / "a"), "name the same file"),
        ((one_label,), "one label, coffee, which is always right"),
        ((tmp_path / "nowhere",), "expected a folder with one sub-folder for each label"),
    ]:
        result = measure(*arguments)
        assert result.code == 2
        assert said in result.stderr
        assert result.stderr.count("\n") == 1
        assert result.stdout == b""
    for option, value, said in [
        ("-o", tmp_path / "no" / "eval.json", f"there is no folder {tmp_path}/no; make it first"),
        ("--report", tmp_path / "no" / "e.html", f"there is no folder {tmp_path}/no; make it f"),
        ("--failures", tmp_path / "no" / "f.csv", f"there is no folder {tmp_path}/no; make it f"),
        ("--compare", "vit-b/23", "no such file and no published model"),
    ]:
        result = measure(album, option, value)
        assert (result.code, result.stdout) == (1, b"")
        assert said in result.stderr
        assert "judged" not in result.stderr


def test_a_later_model_that_is_none_costs_its_own_line_alone(
    measure: Cli, album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIPCLI_OFFLINE", "1")
    save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "odd.safetensors")
    other = tmp_path / "other"
    other.symlink_to(lite_path())
    odd = ("--compare", tmp_path / "odd.safetensors")
    result = measure(album, *odd, "--compare", other, "-o", tmp_path / "e.json")
    assert result.code == 3
    assert f"clipcli: {tmp_path}/odd.safetensors is left out: " in result.stderr
    shown = result.stdout.decode().splitlines()[3:]
    assert [line.split()[0][-6:] for line in shown] == ["lite", "/other"]
    assert len(measured(tmp_path / "e.json")["compared"]) == 1
    # so do files that are seen to be none before any photograph is looked at
    text = tmp_path / "text.pt"
    text.write_text("no model")
    for bad, said in (
        (text, "begins with b'no model'; expected a TorchScript archive"),
        (album, "no weights found"),
        ("ViT-B/32", "CLIPCLI_OFFLINE is set"),
    ):
        result = measure(album, "--compare", bad, "--compare", other)
        assert result.code == 3
        (line,) = (line for line in result.stderr.splitlines() if "is left out" in line)
        assert line.startswith(f"clipcli: {bad} is left out: ")
        assert said in line
        assert "/other" in result.stdout.decode()
    # the first is looked at before any photograph is
    alone = measure(album, "--model", tmp_path / "odd.safetensors", "--compare", "lite")
    assert (alone.code, alone.stdout) == (1, b"")
    assert "judged" not in alone.stderr


def test_it_runs_as_a_program_from_the_working_directory(
    album: Path, tmp_path: Path, remembered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(
        "eval", "album", "--model", "lite", "--cache-dir", remembered, "--report", "e.html",
        PYTHONIOENCODING="ascii",
    )  # fmt: skip
    assert result.code == 0
    assert result.stdout.decode("ascii").startswith("6 photographs")
    assert "album/rocket/cat.jpg" in (tmp_path / "e.html").read_text("utf-8")


@pytest.mark.shared
@pytest.mark.parametrize("template_set", ["default", "ensemble"])
def test_accuracies_of_the_reference_are_repeated(
    cli: Cli, tmp_path: Path, template_set: str
) -> None:
    folder = SHARED / "reference" / "cifar"
    expected = json.loads((folder / "expected.json").read_text("utf-8"))
    reference = expected[template_set]
    with (folder / "truth.csv").open(newline="") as file:
        truth = {Path(row["path"]).name: row["label"] for row in csv.DictReader(file)}
    labels = expected["labels"]
    n_right = n_in_top5 = 0
    for row in reference["rows"]:
        order = sorted(range(len(labels)), key=lambda place: -row["similarities"][place])
        best = [labels[place] for place in order]
        n_right += best[0] == truth[row["photo"]]
        n_in_top5 += truth[row["photo"]] in best[:5]
    assert n_right / 200 == reference["accuracy"]
    templates = [word for text in reference["templates"] for word in ("--template", text)]
    result = cli(
        "eval", folder / "truth.csv", "--model", folder / "cifar-clip.pt", "--reference",
        *templates, "-o", tmp_path / "eval.json",
    )  # fmt: skip
    assert result.code == 0
    figures = measured(tmp_path / "eval.json")
    assert (figures["n"], figures["top1"], figures["top5"]) == (200, n_right / 200, n_in_top5 / 200)
    accuracy = f"{100 * reference['accuracy']:.1f}"
    lines = [line.split() for line in result.stdout.decode().splitlines()]
    assert any(line[:3] == ["top-1", accuracy, "%"] for line in lines)
