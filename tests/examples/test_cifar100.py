"""`examples/cifar100.py` on a made-up data set in CIFAR-100's binary format."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from places import ROOT

from clipcli.embedding.embedder import Embedder
from clipcli.labelling.labeller import LabelRequest, classify_photos, open_labeller
from clipcli.labels.label import parse_labels
from clipcli.records import Photo

NAMES = ("cat", "coffee", "rocket", "polar_bear")
SHOWN = ("cat", "coffee", "rocket")


def cifar100(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "examples/cifar100.py", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path, example_photos: Path) -> Path:
    """Three photographs of 32 px; the last is labelled wrongly."""
    records = []
    for number, name in enumerate(SHOWN):
        picture = Image.open(example_photos / f"{name}.jpg").convert("RGB").resize((32, 32))
        planes = np.asarray(picture).transpose(2, 0, 1).tobytes()
        records.append(bytes([7, number if name != "rocket" else 3]) + planes)
    (tmp_path / "test.bin").write_bytes(b"".join(records))
    (tmp_path / "fine_label_names.txt").write_text("\n".join(NAMES) + "\n")
    return tmp_path


def test_the_top_predictions_are_classifys(folder: Path, tmp_path: Path, lite: str) -> None:
    printed = cifar100(folder, "--model", lite, "--index", 1)
    assert printed.returncode == 0, printed.stderr
    assert printed.stderr == ""
    title, *lines = printed.stdout.strip().splitlines()
    assert title == "Top predictions:"
    cifar100(folder, "--export", tmp_path / "photos")
    photo = Photo(str(tmp_path / "photos" / "coffee" / "00001.png"))
    embedder = Embedder.open(lite, precision="fp32")
    request = LabelRequest(tuple(parse_labels([",".join(NAMES)])), ("a photo of a {}",), top_k=4)
    labeller = open_labeller(request, embedder, "crop")
    (record,) = classify_photos([photo], embedder, labeller)
    expected = [f"{p.label}: {100 * p.probability:.2f}%" for p in record.predictions]
    assert [line.strip() for line in lines if line] == expected


def test_all_prints_the_accuracy_with_its_interval(folder: Path, lite: str) -> None:
    printed = cifar100(folder, "--model", lite, "--all")
    assert printed.stdout == "2 of 3 right: 66.67 % (95 % interval 20.77 to 93.85)\n"


def test_the_export_is_what_eval_reads(folder: Path, tmp_path: Path) -> None:
    assert cifar100(folder, "--export", tmp_path / "photos").returncode == 0
    written = sorted(path.relative_to(tmp_path / "photos") for path in tmp_path.rglob("*.png"))
    assert [str(path) for path in written] == [
        "cat/00000.png",
        "coffee/00001.png",
        "polar_bear/00002.png",
    ]
    stored = (folder / "test.bin").read_bytes()[2:3074]
    pixels = np.asarray(Image.open(tmp_path / "photos" / "cat" / "00000.png"))
    assert pixels.transpose(2, 0, 1).tobytes() == stored


@pytest.mark.parametrize(
    ("size", "names", "said"),
    [
        (None, "cat", "test.bin: No such file or directory"),
        (0, "cat", "expected a multiple of 3,074"),
        (3073, "cat", "expected a multiple of 3,074"),
        (3074, "", "label 0 and only 0 names"),
    ],
)
def test_what_is_not_the_data_set_is_refused_in_a_line(
    tmp_path: Path, size: int | None, names: str, said: str
) -> None:
    (tmp_path / "fine_label_names.txt").write_text(names)
    if size is not None:
        (tmp_path / "test.bin").write_bytes(bytes(size))
    printed = cifar100(tmp_path)
    assert printed.returncode == 1
    assert said in printed.stderr
    assert printed.stderr.count("\n") == 1
