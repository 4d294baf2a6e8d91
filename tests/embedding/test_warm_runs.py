"""A run over what is known needs neither torch, nor the model's file, nor the photographs."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from program import Result

from clipcli.cli.main import run

LABELS = ("--labels", "dog,cat,invoice")
OPTIONS = ("", "--fit pad", "--reference")
QUERY = "an animal"
NEEDLESS = ("torch", "safetensors", "clipcli.models.encoder", "clipcli.model", "ftfy", "regex")

# runs a command line, and writes down what was imported and what was opened
WATCHED = """
import json, sys
opened = []
def listen(event, arguments):
    if event == "open":
        opened.append(str(arguments[0]))
sys.addaudithook(listen)
from clipcli.cli.main import run
code = run(sys.argv[2:])
imported = sorted(sys.modules)
with open(sys.argv[1], "w") as file:
    json.dump([imported, opened], file)
sys.exit(code)
"""


@dataclass(frozen=True)
class Watched:
    """How a run ended, the modules that it imported and the paths that it opened."""

    result: Result
    imported: list[str]
    opened: list[str]

    @property
    def needless(self) -> list[str]:
        return [name for name in NEEDLESS if name in self.imported]

    def opened_in(self, folder: Path) -> list[str]:
        return [Path(path).name for path in self.opened if Path(path).parent == folder]


@dataclass(frozen=True)
class Cold:
    """What the first runs left: the cache, their rows, and their last words."""

    cache: Path
    rows: dict[str, str]  # by the options of the run
    summary: str
    embeddings: Path


@pytest.fixture(scope="module")
def cold(tmp_path_factory: pytest.TempPathFactory, lite: str, example_photos: Path) -> Cold:
    folder = tmp_path_factory.mktemp("cold")
    shared = ["--model", lite, "--cache-dir", str(folder / "cache")]
    rows = {}
    output = folder / "rows.csv"
    said = io.StringIO()
    with redirect_stderr(said):
        for options in OPTIONS:
            arguments = ["classify", str(example_photos), *LABELS, *options.split(), *shared]
            assert run([*arguments, "-o", str(output)]) == 0
            rows[options] = output.read_text()
            if not options:
                summary = said.getvalue().splitlines()[-1]  # of what auto chose
        assert run(["similar", QUERY, str(example_photos), "--text", *shared]) == 0
        embeddings = folder / "photos.npz"
        assert run(["embed", str(example_photos), "-o", str(embeddings), *shared]) == 0
    return Cold(folder / "cache", rows, summary, embeddings)


def watch(tmp_path: Path, cold: Cold, *arguments: object, **environment: str) -> Watched:
    """Run clipcli as a child process, with the cache of the first runs."""
    words = [str(argument) for argument in arguments]
    notes = tmp_path / "watched.json"
    done = subprocess.run(
        # -P: the clipcli that this process has imported, not one in the working directory
        [sys.executable, "-P", "-c", WATCHED, notes, *words],
        capture_output=True,
        env=os.environ | {"CLIPCLI_CACHE": str(cold.cache)} | environment,
        timeout=120,
        check=False,
    )
    result = Result(done.returncode, done.stdout, done.stderr.decode())
    assert result.code == 0, result.stderr
    return Watched(result, *json.loads(notes.read_text()))


@pytest.mark.parametrize("options", OPTIONS)
def test_known_photographs_are_labelled_without_torch_or_their_bytes(
    cold: Cold, lite: str, example_photos: Path, tmp_path: Path, options: str
) -> None:
    output = tmp_path / "warm.csv"
    arguments = ("classify", example_photos, *LABELS, *options.split(), "--model", lite)
    warm = watch(tmp_path, cold, *arguments, "-o", output)
    assert warm.result.last_line.endswith("; all known from before")
    assert warm.needless == []
    assert warm.opened_in(example_photos) == []
    assert not [path for path in warm.opened if path.endswith(".safetensors")]
    assert output.read_text() == cold.rows[options]


def test_labels_without_evidence_are_named_again_without_torch(
    cold: Cold, lite: str, example_photos: Path, tmp_path: Path
) -> None:
    warm = watch(tmp_path, cold, "classify", example_photos, *LABELS, "--model", lite)
    warnings = [line for line in warm.result.stderr.splitlines() if "no evidence" in line]
    assert len(warnings) == 1
    assert warnings[0].startswith("clipcli: lite has no evidence for invoice: ")
    assert warm.needless == []


def test_what_auto_chose_is_remembered_and_said(
    cold: Cold, lite: str, example_photos: Path, tmp_path: Path
) -> None:
    chosen = cold.summary.split("; ")[1].rpartition(",")[0]
    assert chosen.startswith("lite, ")
    warm = watch(tmp_path, cold, "classify", example_photos, *LABELS, "--model", lite)
    assert f"; {chosen}; " in warm.result.last_line
    assert warm.needless == []


def test_auto_chooses_again_where_other_gpus_can_be_seen(
    cold: Cold, lite: str, example_photos: Path, tmp_path: Path
) -> None:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    arguments = ("classify", example_photos, *LABELS, "--model", lite)
    other = "" if visible != "" else "0"
    again = watch(tmp_path, cold, *arguments, CUDA_VISIBLE_DEVICES=other)
    assert "torch" in again.imported


def test_known_photographs_are_embedded_without_torch_or_their_bytes(
    cold: Cold, lite: str, example_photos: Path, tmp_path: Path
) -> None:
    output = tmp_path / "photos.npy"
    warm = watch(tmp_path, cold, "embed", example_photos, "--model", lite, "-o", output)
    assert warm.needless == []
    assert warm.opened_in(example_photos) == []
    embeddings = np.load(output)
    assert embeddings.shape == (6, 384)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)


def test_known_texts_are_embedded_without_torch(cold: Cold, lite: str, tmp_path: Path) -> None:
    arguments = ("embed", "--text", QUERY, "--text", QUERY, "--model", lite)
    warm = watch(tmp_path, cold, *arguments)
    assert warm.needless == []
    assert len(warm.result.rows) == 2


@pytest.mark.parametrize("kind", ["text", "photograph"])
def test_similar_does_not_touch_known_photographs(
    cold: Cold, lite: str, example_photos: Path, tmp_path: Path, kind: str
) -> None:
    query = (QUERY, "--text") if kind == "text" else (example_photos / "cat.jpg",)
    warm = watch(tmp_path, cold, "similar", *query, example_photos, "--model", lite)
    assert warm.needless == []
    assert warm.opened_in(example_photos) == []
    assert len(warm.result.rows) == (6 if kind == "text" else 5)
    assert warm.result.last_line.endswith("; all known from before")


def test_a_file_of_embeddings_is_asked_without_torch(cold: Cold, lite: str, tmp_path: Path) -> None:
    arguments = ("similar", QUERY, "--text", "--embeddings", cold.embeddings, "--model", lite)
    warm = watch(tmp_path, cold, *arguments)
    assert warm.needless == []
    assert len(warm.result.rows) == 6


def test_moved_photographs_and_rewritten_metadata_are_read_without_torch(
    cold: Cold, lite: str, example_photos: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    shutil.copy(example_photos / "cat.jpg", moved / "kitten.jpg")
    jpeg = (example_photos / "rocket.jpg").read_bytes()
    (moved / "rocket.jpg").write_bytes(jpeg[:2] + b"\xff\xfe\0\x08launch" + jpeg[2:])
    warm = watch(tmp_path, cold, "classify", moved, *LABELS, "--model", lite)
    assert warm.needless == []
    assert sorted(set(warm.opened_in(moved))) == ["kitten.jpg", "rocket.jpg"]
    assert warm.result.last_line.endswith("; all known from before")


def test_only_what_is_new_is_read(
    cold: Cold, lite: str, example_photos: Path, tmp_path: Path
) -> None:
    mirrored = tmp_path / "new" / "mirrored.png"
    mirrored.parent.mkdir()
    with Image.open(example_photos / "cat.jpg") as photo:
        ImageOps.mirror(photo).save(mirrored)
    labels = ("--labels", "dog,cat,kitten")  # one of them is new
    warm = watch(tmp_path, cold, "classify", example_photos, mirrored, *labels, "--model", lite)
    assert "torch" in warm.imported
    assert warm.opened_in(example_photos) == []
    assert set(warm.opened_in(mirrored.parent)) == {"mirrored.png"}
    assert warm.result.last_line.endswith(" images/s; 6 known from before")
