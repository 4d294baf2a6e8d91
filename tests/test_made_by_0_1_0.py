"""What version 0.1.0 wrote is read, and gives the answers that it gave then.

made_by_0_1_0/ holds its files: all of `--model lite --precision fp32` over examples/photos, run in
the root of a checkout. Not the answers of an uncalibrated `--multi-label`: it was too sure of them.
"""

from __future__ import annotations

import gzip
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from places import REFERENCE, ROOT, TESTS
from program import Result

from clipcli.embedding.embedder import Embedder
from clipcli.files import embedding_file
from clipcli.labelling.calibration_file import read_calibration
from clipcli.labelling.probe_file import read_probe

Cli = Callable[..., Result]

MADE = TESTS / "made_by_0_1_0"
LABELS = ("--labels", "astronaut,cat,coffee,galaxies,photographer,rocket")
OPEN_SET = ("--multi-label", "--unknown", "other")
RUNS: dict[str, list[tuple[object, ...]]] = {
    "classified": [(*LABELS, "--top-k", 6)],
    "calibrated": [("--calibration", MADE / "calibration.json", *more) for more in ((), OPEN_SET)],
    "exact": [("--exact", "--calibration", MADE / "exact.json")],
    "probed": [("--probe", MADE / "labels.probe", "--top-k", 3)],
    "probed_pad": [("--fit", "pad", "--probe", MADE / "pad.probe", "--top-k", 3)],
}
RECALLED = 1.5e-6  # rows have six decimals, and the last may be rounded otherwise
ENCODED_ANEW = 1e-4


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """The paths in the files start there."""
    monkeypatch.chdir(ROOT)


@pytest.fixture
def on_lite(cli: Cli) -> Cli:
    """A command as it was run then."""
    model = ("--model", "lite", "--precision", "fp32", "--device", "cpu")
    return lambda command, *arguments: cli(command, *arguments, *model)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache directory with the cache of 0.1.0."""
    packed = (MADE / "embeddings.sqlite.gz").read_bytes()
    (tmp_path / "embeddings.sqlite").write_bytes(gzip.decompress(packed))
    return tmp_path


def rows_then(name: str) -> list[Any]:
    return [json.loads(line) for line in (MADE / f"{name}.jsonl").read_text().splitlines()]


def assert_same_answers(now: list[Any], then: list[Any], tolerance: float) -> None:
    """Paths, labels, ranks and models are equal, numbers nearly."""

    def split(value: Any, numbers: list[float]) -> Any:
        if isinstance(value, float):
            return numbers.append(value)
        if isinstance(value, dict):
            return {name: split(one, numbers) for name, one in value.items()}
        return [split(one, numbers) for one in value] if isinstance(value, list) else value

    for row in now:  # what later versions say besides
        row.pop("scoring", None)
        for one in row.get("predictions", ()):
            del one["accepted"]
    numbers_now: list[float] = []
    numbers_then: list[float] = []
    assert split(now, numbers_now) == split(then, numbers_then)
    assert numbers_now == pytest.approx(numbers_then, rel=0, abs=tolerance)


def all_that_was_encoded(cache: Path) -> list[list[Any]]:
    """With row numbers, which change when a row is written again, and without checksums, which
    are made anew."""
    queries = (
        "SELECT rowid, pixels, model, vector FROM embedding ORDER BY rowid",
        "SELECT rowid, text, model, vector FROM text ORDER BY rowid",
        "SELECT content, preprocessing, pixels, middle_only FROM pixels",
    )
    with closing(sqlite3.connect(cache / "embeddings.sqlite")) as connection:
        return [connection.execute(query).fetchall() for query in queries]


@pytest.mark.parametrize("name", RUNS)
def test_photographs_get_the_labels_that_they_got_then(on_lite: Cli, name: str) -> None:
    rows = []
    for options in RUNS[name]:
        more = ("--format", "jsonl", "--no-cache")
        rows += on_lite("classify", "examples/photos", *options, *more).objects
    assert_same_answers(rows, rows_then(name), ENCODED_ANEW)


@pytest.mark.parametrize("name", RUNS)
def test_its_cache_is_used_and_not_made_again(on_lite: Cli, cache: Path, name: str) -> None:
    before = all_that_was_encoded(cache)
    assert [len(rows) for rows in before] == [12, 29, 18]
    rows = []
    for options in RUNS[name]:
        more = ("--format", "jsonl", "--cache-dir", cache)
        result = on_lite("classify", "examples/photos", *options, *more)
        assert "; all known from before" in result.last_line
        rows += result.objects
    assert_same_answers(rows, rows_then(name), RECALLED)
    assert all_that_was_encoded(cache) == before


def test_a_photograph_that_its_cache_does_not_know_is_added(on_lite: Cli, cache: Path) -> None:
    before = all_that_was_encoded(cache)
    squash = ("--fit", "squash", "--cache-dir", cache)
    assert on_lite("classify", "examples/photos/cat.jpg", *LABELS, *squash).code == 0
    after = all_that_was_encoded(cache)
    assert [len(rows) for rows in after] == [13, 29, 19]
    assert after[0][:12] == before[0]


def test_its_cache_is_verified(cli: Cli, cache: Path) -> None:
    result = cli("cache", "verify", "--cache-dir", cache)
    assert result.code == 0, result.stderr


def test_the_embedded_model_is_the_same_in_all_of_them() -> None:
    fingerprint = Embedder.open("lite", device="cpu", precision="fp32").spec.fingerprint
    files = [embedding_file.read(path).header for path in sorted(MADE.glob("p*.[ns][pa]*"))]
    assert [header.made_by.model for header in files] == ["lite"] * 4
    probes = [read_probe(str(path)).origin for path in MADE.glob("*.probe")]
    calibrations = [
        read_calibration(str(MADE / f"{name}.json")) for name in ("calibration", "exact")
    ]
    made_by = [one.made_by for one in (*files, *probes, *calibrations)]
    assert {one.fingerprint for one in made_by} == {fingerprint}
    assert {one.preprocessing for one in made_by} == {"crop", "pad", "crop exact"}


@pytest.mark.parametrize("remembered", [True, False])
@pytest.mark.parametrize(
    ("name", "options", "rounding"),
    [
        ("photos.npy", (), 0.0),
        ("photos.npz", (), 0.0),
        ("photos.safetensors", (), 0.0),
        ("pad.npz", ("--fit", "pad"), 2.0**-11),  # float16
    ],
)
def test_its_files_hold_the_embeddings_of_today(
    on_lite: Cli,
    cache: Path,
    name: str,
    options: tuple[str, ...],
    rounding: float,
    remembered: bool,
) -> None:
    more = ("--cache-dir", cache) if remembered else ("--no-cache",)
    rows = on_lite("embed", "examples/photos", *options, *more, "--format", "jsonl").objects
    file = embedding_file.read(MADE / name)
    assert [row["path"] for row in rows] == list(file.paths)
    now = np.array([row["embedding"] for row in rows], dtype=np.float32)
    then = file.embeddings.astype(np.float32)
    tolerance = (RECALLED if remembered else ENCODED_ANEW) + rounding
    np.testing.assert_allclose(now, then, rtol=0, atol=tolerance)


@pytest.mark.parametrize("suffix", ["npy", "npz", "safetensors"])
def test_its_files_are_searched(cli: Cli, suffix: str) -> None:
    file = MADE / f"photos.{suffix}"
    result = cli("similar", "examples/photos/cat.jpg", "--embeddings", file, "--format", "jsonl")
    assert "6 embeddings compared; lite, from the file alone" in result.last_line
    assert_same_answers(result.objects, rows_then("similar"), RECALLED)


def test_a_photograph_that_the_file_does_not_hold_is_the_query(
    on_lite: Cli, cache: Path, tmp_path: Path
) -> None:
    query = tmp_path / "query.jpg"
    shutil.copy("examples/photos/cat.jpg", query)
    file = ("--embeddings", MADE / "photos.npy", "--format", "jsonl", "--cache-dir", cache)
    itself, *others = on_lite("similar", query, *file).objects
    assert itself["path"] == "examples/photos/cat.jpg"
    assert itself["similarity"] == pytest.approx(1, abs=RECALLED)
    then = [{**row, "rank": row["rank"] + 1} for row in rows_then("similar")]
    assert_same_answers(others, then, RECALLED)
    words = on_lite("similar", "--text", "a photo of a cat.", *file, "--fit", "pad").objects
    assert words[0]["path"] == "examples/photos/cat.jpg"


@pytest.mark.parametrize(
    ("option", "name", "fit", "its", "now", "cure"),
    [
        ("--probe", "pad.probe", (), "--fit pad", "--fit crop", "fit a probe on this model"),
        (
            "--probe",
            "labels.probe",
            ("--fit", "pad"),
            "--fit crop",
            "--fit pad",
            "fit a probe on this model",
        ),
        (
            "--calibration",
            "calibration.json",
            ("--fit", "pad"),
            "--fit crop",
            "--fit pad",
            "calibrate again",
        ),
        (
            "--calibration",
            "calibration.json",
            ("--exact",),
            "--fit crop",
            "--fit crop --exact",
            "calibrate again",
        ),
        ("--calibration", "exact.json", (), "--fit crop --exact", "--fit crop", "calibrate again"),
    ],
)
def test_what_was_learned_of_photographs_prepared_otherwise_is_refused(
    on_lite: Cli, option: str, name: str, fit: tuple[str, ...], its: str, now: str, cure: str
) -> None:
    result = on_lite("classify", "examples/photos", option, MADE / name, *fit)
    assert (result.code, result.stdout) == (2, b"")
    assert result.stderr == (
        f"clipcli: {MADE / name}: its photographs were prepared with {its}, these with {now};"
        f" pass {its}, or {cure}\n"
    )


@pytest.mark.parametrize(
    ("name", "fit", "its", "now"),
    [
        ("photos.npy", ("--fit", "pad"), "--fit crop", "--fit pad"),
        ("pad.npz", (), "--fit pad", "--fit crop"),
    ],
)
def test_a_query_prepared_otherwise_is_refused(
    on_lite: Cli, name: str, fit: tuple[str, ...], its: str, now: str
) -> None:
    file = MADE / name
    result = on_lite("similar", "examples/photos/cat.jpg", "--embeddings", file, *fit)
    assert (result.code, result.stdout) == (1, b"")
    assert result.stderr == (
        f"clipcli: {file}: its photographs were prepared with {its}, these with {now}; pass {its},"
        " or embed the photographs again\n"
    )


def test_another_model_is_refused(cli: Cli) -> None:
    other = REFERENCE / "models" / "vit.pt"
    now = Embedder.open(str(other), device="cpu").spec.fingerprint
    models = f"made by lite (bf990aa2fee3), and this is {other} ({now[:12]}); pass --model lite"
    query = "examples/photos/cat.jpg"
    file = MADE / "photos.npy"
    refused = [
        (1, ("similar", query, "--embeddings", file), file, "embed the photographs again"),
        (
            2,
            ("classify", query, "--probe", MADE / "pad.probe"),
            MADE / "pad.probe",
            "fit a probe on this model",
        ),
        (
            2,
            ("classify", query, "--calibration", MADE / "exact.json"),
            MADE / "exact.json",
            "calibrate again",
        ),
    ]
    for code, arguments, source, cure in refused:
        result = cli(*arguments, "--model", other, "--device", "cpu")
        assert (result.code, result.stdout) == (code, b"")
        assert result.last_line == f"clipcli: {source}: {models}, or {cure}"
