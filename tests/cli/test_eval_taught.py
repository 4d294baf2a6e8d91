"""`clipcli eval` of a probe and of a calibration, photograph by photograph; and what LABELLED
passes over."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pictures import noise, save
from program import Result

from clipcli.cli.main import run
from clipcli.labelling.calibration_file import read_calibration
from clipcli.labelling.probe_file import read_probe

Cli = Callable[..., Result]
SHOWS = {
    "living_thing": ("cat", "astronaut", "photographer"),
    "thing": ("coffee", "rocket", "galaxies"),
}


@pytest.fixture(scope="module")
def place(example_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache, the six photographs in folders of two labels, and what these have taught."""
    place = tmp_path_factory.mktemp("taught")
    for label, names in SHOWS.items():
        (place / "album" / label).mkdir(parents=True)
        for name in names:
            shutil.copy(example_photos / f"{name}.jpg", place / "album" / label)
    words = [f"{label} = any: {' | '.join(names)}\n" for label, names in SHOWS.items()]
    (place / "words.txt").write_text("".join(words))
    for command, output in [
        (("probe", "fit"), "pets.probe"),
        (("calibrate", "--pairs", "0", "--labels-file", str(place / "words.txt")), "pets.json"),
    ]:
        options = ["--model", "lite", "--cache-dir", str(place / "cache"), "--quiet"]
        assert run([*command, str(place / "album"), "-o", str(place / output), *options]) == 0
    return place


@pytest.fixture
def measure(cli: Cli, place: Path) -> Cli:
    return lambda *arguments: cli(
        "eval", "--model", "lite", "--cache-dir", place / "cache", *arguments
    )


@pytest.fixture
def album(place: Path, tmp_path: Path) -> Path:
    """The six photographs, in which the cat is called a thing, and two pictures of nothing."""
    folder = tmp_path / "album"
    shutil.copytree(place / "album", folder)
    (folder / "living_thing" / "cat.jpg").rename(folder / "thing" / "cat.jpg")
    for seed in range(2):
        save(folder / "thing" / f"noise{seed}.png", noise(300, 300, seed))
    return folder


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


@pytest.mark.parametrize("taught", ["pets.probe", "pets.json"])
def test_what_was_taught_is_measured_as_classify_answers_with_it(
    measure: Cli, cli: Cli, place: Path, album: Path, tmp_path: Path, taught: str
) -> None:
    option = ("--probe" if taught == "pets.probe" else "--calibration", place / taught)
    result = measure(
        *(album, *option, "-o", tmp_path / "e.json", "--predictions", tmp_path / "p.csv"),
        *("--report", tmp_path / "e.html"),
    )
    assert result.code == 0
    model = ("--model", "lite", "--cache-dir", place / "cache")
    answers = {row["path"]: row for row in cli("classify", album, *option, *model).rows}
    rows = read_csv(tmp_path / "p.csv")
    assert {row["path"] for row in rows} == {*answers}
    for row in rows:
        assert row["truth"] == Path(row["path"]).parent.name
        for name in ("label", "probability", "similarity", "scoring", "model"):
            assert row[name] == answers[row["path"]][name]
        assert row["right"] == ("true" if row["label"] == row["truth"] else "false")
    figures = read_json(tmp_path / "e.json")
    n_right = sum(row["label"] == row["truth"] for row in rows)
    assert figures["top1"] == n_right / 8
    assert figures["scoring"] == rows[0]["scoring"]
    n_none = sum(row["label"] == "" for row in rows)
    assert figures["n_no_label"] == n_none
    said = result.stdout.decode()
    assert said.startswith(f"8 photographs, 2 labels; lite, {place}/{taught}\n")
    page = (tmp_path / "e.html").read_text("utf-8")
    if taught == "pets.probe":
        assert n_none == 0
        assert "no label" not in said
        assert f"Probe: SHA-256 {read_probe(str(place / taught)).digest()}" in page
        assert figures["probe"] in page
    else:
        assert n_none == 2  # the pictures of nothing, and none of those that taught it
        assert "no label" in said
        assert figures["templates"] == list(read_calibration(str(place / taught)).made_by.templates)
        assert f"Calibration: SHA-256 {figures['calibration']}" in page
        assert {"truth": "thing", "predicted": None, "n": 2} in figures["confusions"]


@pytest.mark.parametrize("taught", ["pets.probe", "pets.json"])
def test_auto_opens_the_model_that_was_taught(
    cli: Cli, place: Path, album: Path, monkeypatch: pytest.MonkeyPatch, taught: str
) -> None:
    monkeypatch.setenv("CLIPCLI_OFFLINE", "1")
    option = ("--probe" if taught == "pets.probe" else "--calibration", place / taught)
    result = cli("eval", album, *option, "--cache-dir", place / "cache")
    assert result.code == 0
    assert "using lite instead" not in result.stderr  # it is what made the file


def test_what_contradicts_a_probe_or_a_calibration_is_refused_before_a_photograph_is_read(
    measure: Cli, place: Path, album: Path
) -> None:
    probe = ("--probe", place / "pets.probe")
    calibration = ("--calibration", place / "pets.json")
    for arguments, said in [
        ((*probe, *calibration), "--calibration and --probe; expected"),
        ((*probe, "--labels", "dog,cat"), "--labels and --probe; expected"),
        ((*calibration, "--labels-file", "l.txt"), "--labels-file and --calibration; expected"),
        ((*probe, "--template", "a {}"), "--probe has templates of its own"),
        ((*calibration, "--templates", "seven"), "--calibration has templates of its own"),
        ((*probe, "--compare", "seven"), "--probe and --compare: what was taught knows one model"),
        ((*probe, "--fit", "pad"), "its photographs were prepared with --fit crop"),
        (("--probe", place / "pets.json"), "expected a file of clipcli probe fit"),
        (("--calibration", place / "gone.json"), "No such file or directory"),
        (("--predictions", "p.xlsx"), "--predictions p.xlsx: .xlsx is not written; expected .csv"),
        (("--predictions", "p", "-o", "p"), "name the same file"),
    ]:
        result = measure(album, *arguments)
        assert (result.code, result.stdout) == (2, b"")
        assert said in result.stderr
        assert result.stderr.count("\n") == 1
    (album / "teapot").mkdir()
    for option in (probe, calibration):
        result = measure(album, *option)
        assert result.code == 2
        assert result.stderr.startswith(
            f"clipcli: teapot: among the true labels and not among those of {option[1]}; leave"
        )


def test_predictions_say_of_each_photograph_what_the_figures_are_made_of(
    measure: Cli, album: Path, tmp_path: Path
) -> None:
    variants = ("--labels", "living_thing,thing,cat,rocket,dog,teapot,owl")
    variants += ("--compare", "cifar18", "--compare", "{}|a painting of a {}", "--templates")
    (tmp_path / "mine.txt").write_text("a {}\n")
    for name in ("p.csv", "p.jsonl"):
        result = measure(
            *(album, *variants, tmp_path / "mine.txt", "-o", tmp_path / "e.json"),
            *("--predictions", tmp_path / name),
        )
        assert result.code == 0
    figures = read_json(tmp_path / "e.json")
    rows = read_csv(tmp_path / "p.csv")
    sets = ["a {}", "cifar18", "{}|a painting of a {}"]
    assert list(dict.fromkeys(row["templates"] for row in rows)) == sets
    for templates, evaluation in zip(sets, [figures, *figures["compared"]], strict=True):
        some = [row for row in rows if row["templates"] == templates]
        assert len({row["path"] for row in some}) == len(some) == 8
        assert sum(row["truth"] == row["label"] for row in some) / 8 == evaluation["top1"]
        ranks = [int(row["true_rank"]) for row in some]
        assert sum(rank <= 5 for rank in ranks) / 8 == evaluation["top5"]
        assert [rank == 1 for rank in ranks] == [row["right"] == "true" for row in some]
        assert 5 < max(ranks) <= 7  # beyond the best five labels, which are all that is kept
        for row in some:
            is_less = float(row["true_probability"]) < float(row["probability"])
            assert is_less == (row["true_rank"] != "1")
    objects = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text("utf-8").splitlines()]
    assert [list(one) for one in objects] == [list(rows[0])] * len(rows)
    for one, row in zip(objects, rows, strict=True):
        assert one["right"] is (row["right"] == "true")
        assert f"{one['true_probability']:.6f}" == row["true_probability"]
        assert [str(one[name]) for name in ("path", "true_rank", "label", "templates")] == [
            row[name] for name in ("path", "true_rank", "label", "templates")
        ]


def test_a_run_that_fails_keeps_the_old_predictions(measure: Cli, tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text("gone.jpg,dog\nlost.jpg,cat\n")
    (tmp_path / "p.csv").write_text("the old ones")
    assert measure(tmp_path / "truth.csv", "--predictions", tmp_path / "p.csv").code == 1
    assert (tmp_path / "p.csv").read_text() == "the old ones"
    assert not [*tmp_path.glob("*.part")]


@pytest.mark.parametrize(
    "command",
    [
        ("eval",),
        ("calibrate", "--pairs", "0", "-o", "made.json"),
        ("probe", "fit", "-o", "made.probe"),
        ("prompts", "choose"),
    ],
)
def test_what_labelled_passes_over_is_counted_and_named(
    cli: Cli,
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    album = tmp_path / "album"
    shutil.copytree(place / "album", album)
    for path in [*album.rglob("*.jpg")]:  # `prompts choose` takes no fewer than ten
        shutil.copy(path, path.with_name(f"again_{path.name}"))
    (album / "thing" / "notes.txt").write_text("by hand")
    (album / "living_thing" / ".cache.png").write_text("hidden")
    options = ("--model", "lite", "--cache-dir", place / "cache")
    result = cli(*command, album, *options, "--verbose", "--passed-over", "passed.csv")
    assert result.code == 0
    assert read_csv(tmp_path / "passed.csv") == [
        {"path": f"{album}/living_thing/.cache.png", "reason": "hidden"},
        {"path": f"{album}/thing/notes.txt", "reason": "the suffix .txt is no picture's"},
    ]
    assert "notes.txt: passed over, the suffix .txt is no picture's" in result.stderr
    assert "14 files: 12 " in result.stderr
    assert ", 2 passed over, 0 failed" in result.stderr
    same = cli(*command, album, *options, "--failures", "a.csv", "--passed-over", "a.csv")
    assert same.code == 2
    assert "--failures and --passed-over name the same file" in same.stderr
