"""`clipcli classify` over real photographs, as a user meets it."""

from __future__ import annotations

import csv
import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from places import TESTS
from program import Result, command, run

from clipcli.embedding.embedder import Embedder
from clipcli.embedding.local import RunOptions
from clipcli.labelling.labeller import LabelRequest, classify_photos, open_labeller
from clipcli.labels.label import parse_labels
from clipcli.photos.find import find_photos
from clipcli.records import Classified

Cli = Callable[..., Result]
NAMES = ["astronaut", "cat", "coffee", "galaxies", "photographer", "rocket"]


@pytest.fixture
def classify(cli: Cli, lite: str) -> Cli:
    return lambda *arguments: cli("classify", "--model", lite, *arguments)


@pytest.fixture
def album(tmp_path: Path, example_photos: Path) -> Path:
    """One good photograph, one truncated, one hidden, and a text file."""
    folder = tmp_path / "album"
    folder.mkdir()
    shutil.copy(example_photos / "cat.jpg", folder / "a.jpg")
    data = (example_photos / "rocket.jpg").read_bytes()
    (folder / "b.jpg").write_bytes(data[: len(data) // 2])
    (folder / ".hidden.jpg").write_bytes(data)
    (folder / "notes.txt").write_text("a text")
    return folder


def test_each_photograph_gets_one_row_in_the_order_of_names(
    classify: Cli, example_photos: Path
) -> None:
    result = classify(example_photos, "--labels", "dog,cat,tiger", "--no-cache")
    assert result.code == 0
    assert (
        result.stdout.splitlines()[0]
        == b"path,rank,label,probability,similarity,accepted,scoring,model"
    )
    assert [row["path"] for row in result.rows] == [f"{example_photos}/{n}.jpg" for n in NAMES]
    assert {row["label"] for row in result.rows} <= {"dog", "cat", "tiger"}
    assert "7 files: 6 labelled, 1 passed over, 0 failed" in result.last_line
    assert " on cpu, " in result.last_line


def test_top_k_rows_are_ranked_and_all_probabilities_sum_to_one(
    classify: Cli, example_photos: Path
) -> None:
    rows = classify(example_photos / "cat.jpg", "--labels", "dog,cat,tiger", "--top-k", 9).rows
    assert [row["rank"] for row in rows] == ["1", "2", "3"]
    assert sum(float(row["probability"]) for row in rows) == pytest.approx(1, abs=3e-6)
    similarities = [float(row["similarity"]) for row in rows]
    assert similarities == sorted(similarities, reverse=True)


def test_a_row_says_whether_its_label_stands_how_it_was_scored_and_by_which_model(
    classify: Cli, example_photos: Path
) -> None:
    photos = (example_photos / "cat.jpg", example_photos / "galaxies.jpg")

    def rows(*options: object) -> list[list[str]]:
        found = classify(*photos, "--labels", "cat,dog", *options).rows
        assert {row["model"] for row in found} == {"lite"}
        columns = ("rank", "label", "accepted", "scoring")
        return [[row[name] for name in columns] for row in found]

    galaxies_best, galaxies_next = (row[1] for row in rows("--top-k", 2)[2:])
    assert rows("--top-k", 2) == [
        ["1", "cat", "true", "softmax"],
        ["2", "dog", "false", "softmax"],
        ["1", galaxies_best, "true", "softmax"],
        ["2", galaxies_next, "false", "softmax"],
    ]
    fits_none = ("--min-probability", 1)
    other = ["1", "other", "false"]
    assert rows("--multi-label", *fits_none) == [["0", "", "false", "presence"]] * 2
    assert rows("--multi-label", "--unknown", "other", *fits_none) == [[*other, "presence"]] * 2
    assert rows("--unknown", "other", *fits_none) == [[*other, "softmax"]] * 2
    both = rows("--multi-label", "--min-probability", 0)
    assert [row[2] for row in both] == ["true"] * 4


def test_json_is_an_array_and_json_lines_are_the_same_objects(
    classify: Cli, example_photos: Path
) -> None:
    arguments = (example_photos, "--labels", "dog,cat", "--top-k", 2, "--format")
    array = json.loads(classify(*arguments, "json").stdout)
    assert array == classify(*arguments, "jsonl").objects
    assert [item["path"] for item in array] == [f"{example_photos}/{n}.jpg" for n in NAMES]
    assert [set(item["predictions"][0]) for item in array] == [
        {"label", "probability", "similarity", "accepted"}
    ] * 6


def test_every_file_is_accounted_for(classify: Cli, album: Path, tmp_path: Path) -> None:
    failures = tmp_path / "failures.csv"
    result = classify(album, "--labels", "dog,cat", "--format", "jsonl", "--failures", failures)
    assert result.code == 3
    good, bad = result.objects
    assert good["path"] == f"{album}/a.jpg"
    assert bad["path"] == f"{album}/b.jpg"
    assert "truncated" in bad["error"]
    assert f"{album}/b.jpg: {bad['error']}" in result.stderr
    assert "4 files: 1 labelled, 2 passed over, 1 failed" in result.last_line
    with failures.open(newline="") as file:
        assert list(csv.reader(file)) == [["path", "error"], [bad["path"], bad["error"]]]


def test_what_was_passed_over_is_named_and_written(
    classify: Cli, album: Path, tmp_path: Path
) -> None:
    passed_over = tmp_path / "passed_over.csv"
    arguments = (album, "--labels", "dog,cat", "--passed-over", passed_over)
    result = classify(*arguments, "--verbose")
    assert result.stderr.splitlines()[:2] == [
        f"clipcli: {album}/.hidden.jpg: passed over, hidden",
        f"clipcli: {album}/notes.txt: passed over, the suffix .txt is no picture's",
    ]
    assert passed_over.read_text().splitlines() == [
        "path,reason",
        f"{album}/.hidden.jpg,hidden",
        f"{album}/notes.txt,the suffix .txt is no picture's",
    ]
    assert "passed over," not in classify(*arguments).stderr.replace("2 passed over", "")
    assert (
        "--failures and --passed-over name"
        in classify(*arguments, "--failures", passed_over).stderr
    )


def test_a_failure_has_no_row_in_csv(classify: Cli, album: Path) -> None:
    assert [row["path"] for row in classify(album, "--labels", "dog").rows] == [f"{album}/a.jpg"]


COMMANDS: dict[str, tuple[object, ...]] = {
    "classify": ("classify", "--labels", "dog,cat"),
    "embed": ("embed",),
    "similar": ("similar", "cat", "--text"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_rows_are_never_replaced_by_none(
    cli: Cli, lite: str, tmp_path: Path, command: str, example_photos: Path
) -> None:
    empty, texts = tmp_path / "empty", tmp_path / "texts"
    empty.mkdir()
    texts.mkdir()
    (texts / "a.txt").touch()
    old, new, failures = (tmp_path / name for name in ("old.csv", "new.csv", "failures.csv"))
    old.write_text("yesterday's rows\n")

    def on(*arguments: object) -> Result:
        return cli(*COMMANDS[command], "--model", lite, *arguments)

    for more in ((), ("-q",)):
        result = on(empty, texts, "-o", old, "--failures", failures, *more)
        assert (result.code, result.stdout) == (1, b"")
        assert result.stderr == (
            f"clipcli: {empty}, {texts}: no photograph in these folders, 1 file passed over;"
            f" {old} stays as it was; --allow-empty, if that is all right\n"
        )
    assert failures.read_text() == (
        f"path,error\n{empty},no photograph in this folder\n{texts},no photograph in this folder\n"
    )
    assert on(empty, "-o", new).code == 1
    assert {*tmp_path.iterdir()} == {empty, texts, old, failures}

    result = on(empty, example_photos / "cat.jpg", "-q", "--failures", failures)
    assert (result.code, len(result.rows)) == (3, 1)
    assert result.stderr == f"clipcli: {empty}: no photograph in this folder\n"
    assert len(failures.read_text().splitlines()) == 2
    assert old.read_text() == "yesterday's rows\n"

    result = on(texts, "--allow-empty", "-o", old, "--format", "jsonl")
    assert "nothing to do" in result.last_line
    assert (result.code, old.read_text()) == (0, "yesterday's rows\n" if command == "embed" else "")


def test_an_empty_list_on_stdin_is_all_well_and_keeps_the_old_rows(
    lite: str, tmp_path: Path
) -> None:
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    old.write_text("yesterday's rows\n")
    arguments = ("classify", "-", "--labels", "dog,cat", "--model", lite)
    result = run(*arguments, "-o", old)
    assert (result.code, old.read_text()) == (0, "yesterday's rows\n")
    assert f"{old} stays as it was" in result.last_line
    assert run(*arguments, "-o", new).code == 0
    assert new.read_text().startswith("path,rank,")
    assert run(*arguments, "--format", "json").stdout == b"[]\n"


def test_a_missing_path_is_named_and_the_rest_is_done(classify: Cli, example_photos: Path) -> None:
    result = classify("missing", example_photos / "cat.jpg", "--labels", "dog")
    assert result.code == 3
    assert "clipcli: missing: no such file or folder" in result.stderr
    assert len(result.rows) == 1


def test_missing_paths_alone_give_no_rows_and_keep_the_old_ones(
    classify: Cli, tmp_path: Path
) -> None:
    old, json_rows = tmp_path / "old.csv", tmp_path / "rows.json"
    old.write_text("yesterday's rows\n")
    missing = ("gone.jpg", tmp_path / "away", "--labels", "dog,cat")
    named = [f"clipcli: {path}: no such file or folder" for path in ("gone.jpg", tmp_path / "away")]
    end = "clipcli: not one photograph could be read, 2 failed"
    result = classify(*missing)
    assert (result.code, result.stdout) == (1, b"")
    assert result.stderr.splitlines() == [*named, end]
    result = classify(*missing, "-o", old)
    assert (result.code, old.read_text()) == (1, "yesterday's rows\n")
    assert result.last_line == f"{end}; {old} stays as it was"
    assert [*tmp_path.iterdir()] == [old]
    result = classify(*missing, "--format", "json")  # where a failure is an object
    assert (result.code, len(json.loads(result.stdout))) == (1, 2)
    assert classify(*missing, "-o", json_rows).code == 1
    assert not json_rows.exists()


def test_not_one_readable_photograph_is_a_failed_run(
    classify: Cli, album: Path, tmp_path: Path
) -> None:
    before = tmp_path / "rows.csv"
    before.write_text("yesterday's rows\n")
    failures = tmp_path / "failures.csv"
    arguments = (album / "b.jpg", "--labels", "dog", "-o", before, "--failures", failures)
    result = classify(*arguments)
    assert result.code == 1
    end = "clipcli: not one photograph could be read, 1 failed"
    assert result.last_line == f"{end}; {before} stays as it was"
    assert before.read_text() == "yesterday's rows\n"
    assert len(failures.read_text().splitlines()) == 2
    new = tmp_path / "new.json"  # where a failure is an object
    assert classify(album / "b.jpg", "--labels", "dog", "-o", new).last_line == end
    assert not {*tmp_path.glob("*.part"), new} & {*tmp_path.iterdir()}


def test_output_appears_whole_in_the_format_of_its_suffix(
    classify: Cli, example_photos: Path, tmp_path: Path
) -> None:
    output = tmp_path / "labels.jsonl"
    result = classify(example_photos, "--labels", "dog,cat", "-o", output)
    assert (result.code, result.stdout) == (0, b"")
    assert len(output.read_text().splitlines()) == 6
    assert [path.name for path in tmp_path.iterdir()] == ["labels.jsonl"]


def test_a_name_that_promises_another_format_than_format_says_is_warned_of(
    classify: Cli, example_photos: Path, tmp_path: Path
) -> None:
    for name, is_warned in (("a.csv", True), ("a.CSV", True), ("a.json", False), ("a.out", False)):
        output = tmp_path / name
        arguments = ("--labels", "dog,cat", "-q", "-o", output, "--format", "json")
        result = classify(example_photos / "cat.jpg", *arguments)
        said = f"clipcli: {output}: is written as --format json, whatever its name\n"
        assert (result.code, result.stderr) == (0, said if is_warned else "")
        assert len(json.loads(output.read_text())) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "expected --labels dog,cat,tiger, or --labels-file"),
        (("--labels", " , "), "--labels: no label in it"),
        (("--labels", "dog,cat,dog"), "dog given twice"),
        (("--labels", "dog", "--template", "a photo"), "template 'a photo' has no {}"),
        (("--labels", "dog", "--template", "{} {}"), "template '{} {}' has 2 {}"),
        (("--labels", "dog,cat", "--unknown", "Dog "), "dog is one of the labels"),
        (("--labels", __file__), f"did you mean --labels-file {__file__}?"),
        (("--labels", "dog", "--reference", "--precision", "bf16"), "give one of them"),
        (("--labels", "dog", "--reference", "--fit", "pad"), "give one of them"),
        (
            ("--labels", "dog", "--labelz", "cat"),
            "--labelz: clipcli classify has no such option; did you mean --labels",
        ),
        (("--labels", "dog,cat", "--device", "tpu"), "expected auto, cpu, cuda, cuda:1 or mps"),
        (("--labels", "dog", "-o", "x", "--failures", "x"), "name the same file"),
    ],
)
def test_what_cannot_work_is_one_line_and_exit_code_2(
    classify: Cli, example_photos: Path, arguments: tuple[str, ...], message: str
) -> None:
    result = classify(example_photos, *arguments)
    assert result.code == 2
    assert result.stdout == b""
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--labels", "dog"), "a sigmoid; to ask whether it is there, --multi-label or --unknown"),
        (("--labels", "polar bear"), "; if several were meant, --labels polar,bear; to ask"),
        (("--labels", "dog;cat"), "; if several were meant, --labels dog,cat; to ask"),
        (("--labels", "dog", "cat", "bird"), "; if several were meant, --labels dog,cat,bird; to"),
        (("--labels", "dog,", "cat,", "bird"), "; if several were meant, --labels dog,cat,bird;"),
        (("--labels", "dog", "--unknown", "other", "--min-probability", "0.5"), "gets it with"),
        (("--labels-file", "listed.txt"), "dog,cat: the only label"),
        (("--labels-file", "two.txt"), "dog, cat, bird: one label; if several were meant, one a"),
        (("--labels", "dog cat bird", "--multi-label"), "one label; if several were meant, --lab"),
        (("--labels", "dog cat", "--multi-label"), ""),
        (("--labels", "a dog on grass", "--multi-label"), ""),
        (("--labels", "dog", "--unknown", "other"), ""),
        (("--labels", "folder,dog"), ""),
        (("--labels", "folder", "--multi-label"), ""),
        (("--labels-file", "honest.txt"), ""),
    ],
)  # fmt: skip
def test_labels_that_are_seldom_meant_get_one_warning(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("listed.txt").write_text("dog,cat\n")
    Path("two.txt").write_text("dog, cat, bird\ntiger\n")
    Path("honest.txt").write_text("Paris, France\na dog, asleep\ngreat white shark\n")
    lines = cli("classify", "missing.jpg", *arguments, "-q").stderr.splitlines()
    warnings = [line for line in lines if "no such file" not in line and "not one" not in line]
    assert len(warnings) == (1 if said else 0)
    assert all(said in line for line in warnings)


def test_an_unknown_model_names_the_published_ones(cli: Cli, example_photos: Path) -> None:
    result = cli("classify", example_photos, "--labels", "dog", "--model", "ViT-B-23")
    assert (result.code, result.stdout) == (1, b"")
    assert "did you mean ViT-B/32" in result.last_line


def test_a_label_that_is_too_long_is_named_and_truncate_accepts_it(
    classify: Cli, example_photos: Path
) -> None:
    label = "very " * 80 + "long"
    result = classify(example_photos / "cat.jpg", "--labels", f"dog,{label}")
    assert result.code == 2
    assert "label 'very very" in result.last_line
    assert "88 tokens" in result.last_line
    result = classify(example_photos / "cat.jpg", "--labels", f"dog,{label}", "--truncate")
    assert result.code == 0


def test_a_label_that_is_not_latin_gets_one_warning(
    classify: Cli, example_photos: Path, tmp_path: Path
) -> None:
    result = classify(example_photos / "cat.jpg", "--labels", "猫,犬")
    assert sum("not in Latin letters" in line for line in result.stderr.splitlines()) == 1
    labels = tmp_path / "labels.txt"
    labels.write_text("猫 = cat\n", encoding="utf-8")
    result = classify(example_photos / "cat.jpg", "--labels-file", labels)
    assert "Latin" not in result.stderr
    assert result.rows[0]["label"] == "猫"


def test_labels_of_the_same_words_are_equal_and_come_as_they_were_given(
    classify: Cli, example_photos: Path
) -> None:
    rows = classify(example_photos, "--labels", "Dog,dog,DOG", "--top-k", 3).rows
    assert [row["label"] for row in rows] == ["Dog", "dog", "DOG"] * 6
    assert len({(row["path"], row["similarity"]) for row in rows}) == 6


def test_templates_and_quoted_prompts_make_the_same_ensemble(
    classify: Cli, example_photos: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text(
        'dog = "a photo of a dog." | "art of a dog."\ncat = "a photo of a cat." | "art of a cat."\n'
    )
    templates = ("--template", "a photo of a {}.", "--template", "art of a {}.")
    by_template = classify(example_photos, "--labels", "dog,cat", *templates, "--top-k", 2)
    by_prompt = classify(example_photos, "--labels-file", labels, "--top-k", 2)
    assert by_template.stdout == by_prompt.stdout


def test_names_with_newlines_and_bytes_that_are_no_utf8_come_out_intact(
    classify: Cli, example_photos: Path, tmp_path: Path
) -> None:
    names = [b"new\nline.jpg", b"caf\xe9.jpg", "日本.jpg".encode()]
    for name in names:
        shutil.copy(example_photos / "cat.jpg", os.fsencode(tmp_path) + b"/" + name)
    expected = {os.fsencode(tmp_path) + b"/" + name for name in names}
    rows = classify(tmp_path, "--labels", "dog").rows
    assert {os.fsencode(row["path"]) for row in rows} == expected
    objects = classify(tmp_path, "--labels", "dog", "--format", "jsonl").objects
    assert {os.fsencode(item["path"]) for item in objects} == expected


def test_a_long_picture_is_counted_as_judged_by_its_middle(
    classify: Cli, example_photos: Path, tmp_path: Path
) -> None:
    picture = Image.open(example_photos / "rocket.jpg")
    picture.resize((640, 300)).save(tmp_path / "wide.jpg")
    picture.resize((640, 320)).save(tmp_path / "twice.jpg")
    assert "; 1 longer than 2:1 judged" in classify(tmp_path, "--labels", "dog").last_line
    assert "2:1" not in classify(tmp_path, "--labels", "dog", "--fit", "pad").last_line


def test_quiet_says_nothing_when_all_is_well(classify: Cli, example_photos: Path) -> None:
    assert classify(example_photos, "--labels", "dog,cat", "--quiet").stderr == ""


def test_a_list_on_stdin_is_tried_file_by_file(
    lite: str, example_photos: Path, tmp_path: Path
) -> None:
    oddly_named = tmp_path / ".cat\npicture"
    shutil.copy(example_photos / "cat.jpg", oddly_named)
    paths = [example_photos / "rocket.jpg", oddly_named]
    listed = b"\0".join(map(os.fsencode, paths)) + b"\0"
    arguments = ("classify", "-0", "-", "--labels", "dog", "--model", lite)
    result = run(*arguments, stdin=listed)
    assert (result.code, [row["path"] for row in result.rows]) == (0, [str(p) for p in paths])


@pytest.mark.skipif(shutil.which("jq") is None, reason="needs jq: apt-get install jq")
def test_a_pipeline_carries_nothing_but_json(
    lite: str, example_photos: Path, tmp_path: Path
) -> None:
    shutil.copy(example_photos / "cat.jpg", tmp_path / "a cat.jpg")
    (tmp_path / "no\npicture.jpg").write_text("text")
    classify = shlex.join(command("classify", "-0", "-", "--labels", "dog,cat"))
    pipeline = (
        f"find {tmp_path} -name '*.jpg' -print0"
        f" | {classify} --model {lite} --format jsonl | jq -c keys"
    )
    done = subprocess.run(["sh", "-c", pipeline], capture_output=True, text=True, check=True)
    assert sorted(done.stdout.splitlines()) == [
        '["error","path"]',
        '["model","path","predictions","scoring"]',
    ]


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("bf16", 5e-3)])
def test_batch_size_order_workers_and_neighbours_do_not_change_an_answer(
    lite: str, example_photos: Path, precision: str, tolerance: float
) -> None:
    embedder = Embedder.open(lite, precision=precision, remember=False)  # type: ignore[arg-type]
    labels = parse_labels(["dog,cat,tiger,rocket,cup"])
    request = LabelRequest(tuple(labels), top_k=5)
    labeller = open_labeller(request, embedder, "crop")
    paths = [str(example_photos / f"{name}.jpg") for name in NAMES]

    def classified(paths: list[str], batch_size: int, workers: int) -> dict[str, Classified]:
        options = RunOptions(batch_size=batch_size, workers=workers)
        records = classify_photos(find_photos(paths), embedder, labeller, options)
        return {r.path: r for r in records if isinstance(r, Classified)}

    expected = classified(paths, 32, 2)
    assert len(expected) == 6
    for some in (
        classified(paths[::-1], 1, 1),
        classified(paths, 4, 3),
        classified(paths[2:3], 8, 1),
    ):
        for path, record in some.items():
            scores = {p.label: p.similarity for p in expected[path].predictions}
            for prediction in record.predictions:
                assert prediction.similarity == pytest.approx(
                    scores[prediction.label], abs=tolerance
                )
            first, second = expected[path].predictions[:2]
            if first.similarity - second.similarity > tolerance:
                assert record.predictions[0].label == first.label


def test_an_uncalibrated_presence_is_called_a_guess_once(
    classify: Cli, example_photos: Path
) -> None:
    guessing = (example_photos, "--labels", "cat,rocket", "--multi-label")
    said = classify(*guessing).stderr
    assert said.count("lite guesses which labels are there") == 1
    assert "`clipcli calibrate` improves the guess" in said
    assert "guess" not in classify(*guessing, "--quiet").stderr
    calibrated = ("--calibration", TESTS / "made_by_0_1_0" / "calibration.json", "--multi-label")
    assert "guess" not in classify(example_photos, *calibrated).stderr
