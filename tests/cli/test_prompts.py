"""`clipcli prompts show` and `clipcli prompts choose`, as a user meets them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from pictures import save_truncated_jpeg
from PIL import Image, ImageEnhance, ImageOps
from program import Result, run

from clipcli.cli.work.prompts import SOURCES
from clipcli.labels.label import read_labels_file
from clipcli.labels.templates import SEVEN, TEMPLATE_SETS

Cli = Callable[..., Result]
NAMES = ("astronaut", "cat", "coffee", "galaxies", "photographer", "rocket")
NONSENSE = dict(zip(("dax", "wug", "blick", "toma", "zib", "glorp"), NAMES, strict=True))


@pytest.fixture(scope="module")
def remembered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache for all tests of this file: the photographs are encoded once."""
    return tmp_path_factory.mktemp("remembered")


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory, example_photos: Path) -> Path:
    """Eight versions of each of the six photographs, in folders whose names say nothing."""
    folder = tmp_path_factory.mktemp("album")
    for nonsense, name in NONSENSE.items():
        (folder / nonsense).mkdir()
        with Image.open(example_photos / f"{name}.jpg") as photo:
            versions = [
                turned
                for version in (photo, ImageOps.crop(photo, 12), ImageOps.crop(photo, 24))
                for turned in (version, ImageOps.mirror(version))
            ]
            versions += [ImageEnhance.Brightness(photo).enhance(factor) for factor in (0.8, 1.2)]
            for number, version in enumerate(versions):
                version.save(folder / nonsense / f"{number}.jpg", quality=95)
    return folder


@pytest.fixture
def choose(cli: Cli, lite: str, remembered: Path) -> Cli:
    return lambda *arguments: cli(
        "prompts", "choose", "--model", lite, "--cache-dir", remembered, *arguments
    )


@pytest.fixture
def rewordings(tmp_path: Path) -> Path:
    path = tmp_path / "words.txt"
    path.write_text("".join(f"{label} = violin | {name}\n" for label, name in NONSENSE.items()))
    return path


# --- show


def test_show_prints_what_each_label_becomes_one_prompt_a_line(cli: Cli, tmp_path: Path) -> None:
    shown = cli("prompts", "show", "--labels", "dog,polar bear")
    assert shown.code == 0
    assert shown.stdout == b"dog\ta photo of a dog.\npolar bear\ta photo of a polar bear.\n"
    path = tmp_path / "labels.txt"
    path.write_text('pet = any: cat | dog\ncrane = "a photo of a crane, a type of bird."\n猫 = cat')
    shown = cli("prompts", "show", "--labels-file", path, "--template", "a {}", "--template", "{}")
    assert shown.stdout.decode().splitlines() == [
        "pet\ta cat",
        "pet\tcat",
        "pet\ta dog",
        "pet\tdog",
        "crane\ta photo of a crane, a type of bird.",
        "猫\ta cat",
        "猫\tcat",
    ]
    assert shown.stderr == ""


def test_show_fills_named_sets_and_files_of_templates(cli: Cli, tmp_path: Path) -> None:
    shown = cli("prompts", "show", "--labels", "dog", "--templates", "seven")
    assert shown.stdout.decode().splitlines() == [f"dog\t{some.format('dog')}" for some in SEVEN]
    (tmp_path / "mine.txt").write_text("my {}\n")
    shown = cli("prompts", "show", "--labels", "dog", "--templates", tmp_path / "mine.txt")
    assert shown.stdout == b"dog\tmy dog\n"


def test_show_without_labels_lists_the_sets_or_the_templates_of_one(cli: Cli) -> None:
    listed = cli("prompts", "show").stdout.decode()
    assert listed == cli("prompts").stdout.decode()
    rows = [line.split(maxsplit=2) for line in listed.splitlines()[1:]]
    assert rows == [[name, str(len(some)), SOURCES[name]] for name, some in TEMPLATE_SETS.items()]
    of_one = cli("prompts", "show", "--templates", "seven").stdout.decode()
    assert of_one.splitlines() == list(SEVEN)


def test_control_characters_do_not_break_the_columns(cli: Cli) -> None:
    shown = cli("prompts", "show", "--labels", "a\tb,c")
    assert shown.stdout.splitlines()[0] == rb"a\tb" + b"\t" + rb"a photo of a a\tb."


def test_show_needs_no_model_and_runs_as_a_program() -> None:
    shown = run("prompts", "show", "--labels", "dog", CLIPCLI_MODEL="/nowhere.pt")
    assert (shown.code, shown.stdout) == (0, b"dog\ta photo of a dog.\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--labels", "dog", "--labels-file", "x"), "give one of them"),
        (("--labels", "dog,dog"), "dog given twice"),
        (("--labels-file", "nowhere.txt"), "nowhere.txt: No such file"),
        (("--template", "a photo"), "has no {} for the label"),
        (("--templates", "nine"), "no set of that name"),
        (("--template", "{}", "--templates", "seven"), "give one of them"),
    ],
)
def test_show_refuses_in_one_line(cli: Cli, arguments: tuple[str, ...], said: str) -> None:
    result = cli("prompts", "show", *arguments)
    assert (result.code, result.stdout) == (2, b"")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


# --- choose


def test_better_words_are_found_and_saved_for_classify(
    choose: Cli,
    cli: Cli,
    lite: str,
    remembered: Path,
    album: Path,
    rewordings: Path,
    tmp_path: Path,
) -> None:
    labels = tmp_path / "better.txt"
    result = choose(album, "--rewordings", rewordings, "-o", labels)
    assert result.code == 0
    text = result.stdout.decode()
    assert text.startswith("48 photographs, 6 labels; chosen on 24, tested on the other 24 (seed 0")
    assert text.splitlines()[-1].startswith("better than the default: ")
    assert "cat" in next(line for line in text.splitlines() if line.startswith("wug = "))
    assert f"--labels-file {labels}" in result.last_line
    read = read_labels_file(str(labels))
    assert [label.name for label in read] == sorted(NONSENSE)
    assert all(text.is_prompt for label in read for text in label.texts)
    assert labels.read_text().startswith("# clipcli prompts choose: better than the default: ")
    rows = cli(
        "classify", album, "--model", lite, "--cache-dir", remembered, "--labels-file", labels
    ).rows
    assert sum(row["label"] == Path(row["path"]).parent.name for row in rows) >= 40


def test_where_nothing_is_better_it_says_so_and_saves_the_default(
    choose: Cli, album: Path, tmp_path: Path
) -> None:
    true_words = tmp_path / "labels.txt"
    true_words.write_text("".join(f"{label} = {name}\n" for label, name in NONSENSE.items()))
    saved = tmp_path / "saved.txt"
    result = choose(album, "--labels-file", true_words, "-o", saved)
    assert result.code == 0
    assert (
        result.stdout.decode()
        .splitlines()[-1]
        .startswith(
            "nothing beats the default beyond chance: keep 'a photo of a {}.' and the labels as"
            " they are, "
        )
    )
    assert [label.texts[0].text for label in read_labels_file(str(saved))] == [
        f"a photo of a {name}." for name in NONSENSE.values()
    ]
    again = choose(album, "--labels-file", true_words)
    assert again.stdout == result.stdout


def test_one_s_own_templates_and_a_hint_are_tried(choose: Cli, album: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("a {} on a stamp\na {} on a wall\n")
    published = choose(album).stdout.decode()
    more = choose(album, "--templates", tmp_path / "mine.txt", "--hint", "thing").stdout.decode()

    def n_more(text: str) -> int:
        (line,) = [line for line in text.splitlines() if line.startswith("and ")]
        return int(line.split()[1])

    assert n_more(more) - n_more(published) == 4  # the file's set, its two templates, the hint


def test_another_seed_splits_otherwise(choose: Cli, album: Path, rewordings: Path) -> None:
    texts = [choose(album, "--rewordings", rewordings, "--seed", s).stdout for s in (1, 1, 2)]
    assert texts[0] == texts[1]
    assert b"(seed 1)" in texts[0]
    assert b"(seed 2)" in texts[2]


def test_a_csv_gives_what_its_folder_gives(choose: Cli, album: Path, tmp_path: Path) -> None:
    paths = sorted(album.rglob("*.jpg"))
    with (tmp_path / "truth.csv").open("w", newline="") as file:
        csv.writer(file).writerows([path, path.parent.name] for path in paths)
    assert choose(tmp_path / "truth.csv").stdout == choose(album).stdout


def test_a_failed_photograph_is_named_and_takes_no_part(
    choose: Cli, album: Path, tmp_path: Path
) -> None:
    rows = [[str(path), path.parent.name] for path in sorted(album.rglob("*.jpg"))]
    rows.append([str(save_truncated_jpeg(tmp_path / "half.jpg")), "wug"])
    with (tmp_path / "truth.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    result = choose(tmp_path / "truth.csv", "--failures", tmp_path / "failed.csv")
    assert result.code == 3
    assert "half.jpg: " in result.stderr
    assert result.stdout.startswith(b"48 photographs")
    assert "half.jpg" in (tmp_path / "failed.csv").read_text()


def test_labels_with_too_few_photographs_are_left_out_by_name(
    choose: Cli, album: Path, rewordings: Path, tmp_path: Path
) -> None:
    paths = [path for path in sorted(album.rglob("*.jpg")) if path.parent.name != "dax"]
    broken = save_truncated_jpeg(tmp_path / "half.jpg")
    with (tmp_path / "truth.csv").open("w", newline="") as file:
        rows = [[path.parent.name, path] for path in paths]
        rows += [["dax", album / "dax" / "0.jpg"], ["owl", album / "dax" / "1.jpg"]]
        csv.writer(file).writerows([*rows, ["owl", broken]])
    columns = ("--path-column", 2, "--label-column", 1)
    result = choose(
        *(tmp_path / "truth.csv", *columns, "--leave-out-rare", "--rewordings", rewordings),
        *("-o", tmp_path / "saved.txt"),
    )
    assert result.code == 3
    assert "fewer than 2 photographs: 1 of 7 labels, dax (1)" in result.stderr
    assert "fewer than 2 photographs: 1 of 6 labels, owl (1)" in result.stderr
    assert result.stdout.startswith(b"40 photographs, 5 labels")
    saved = read_labels_file(str(tmp_path / "saved.txt"))
    assert {label.name for label in saved} == NONSENSE.keys() - {"dax"}


def test_choose_refuses_in_one_line_before_anything_is_encoded(
    choose: Cli, album: Path, example_photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "words.txt").write_text("poodle = dog\n")
    (tmp_path / "flat.txt").write_text("a photo\n")
    (tmp_path / "few.csv").write_text(
        f"{example_photos}/cat.jpg,cat\n{example_photos}/rocket.jpg,rocket\n"
    )
    for arguments, said in [
        ((album, "--rewordings", tmp_path / "words.txt"), "poodle is not among the labels"),
        ((album, "--rewordings", tmp_path / "nowhere.txt"), "No such file"),
        ((album, "--templates", tmp_path / "flat.txt"), "has no {} for the label"),
        ((album, "--templates", "nine"), "no set of that name"),
        ((album, "--labels", "cat,dog"), "among the true labels and not among the chosen"),
        ((album, "--labels", "cat", "--labels-file", "x"), "give one of them"),
        ((album, "--null"), "--null"),
        ((album / "wug",), "no sub-folder in it"),
        ((tmp_path / "few.csv",), "few.csv: 2 photographs; expected at least 10"),
    ]:
        result = choose(*arguments, "-o", tmp_path / "saved.txt")
        assert result.code == 2
        assert said in result.stderr
        assert result.stderr.count("\n") == 1
        assert result.stdout == b""
        assert not list(tmp_path.glob("saved.txt*"))
    unwritable = choose(album, "-o", tmp_path / "no" / "such" / "labels.txt")
    assert unwritable.code == 1
    assert "looked at" not in unwritable.stderr
