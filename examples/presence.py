"""How honest is an uncalibrated `--multi-label`? Precision, recall, and whether 0.8 means 0.8.

    python examples/presence.py --eval EVAL_FOLDER

EVAL_FOLDER holds coarse.csv (path,label) and coarse_labels.txt. Pictures: each photograph, and
collages of two and of three of different labels, side by side in a square. Each is asked for ten
labels, those that are there and others drawn at random. The constants of `lite` were chosen on
photographs at even places of the list (--half even); the others are for measuring, the default.
"""

from __future__ import annotations

import argparse
import csv
import random
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from clipcli.embedding.embedder import Embedder
from clipcli.labelling.classifier import Classifier, build_classifier
from clipcli.labelling.multi_label import (
    BACKGROUND_PROMPTS,
    MultiLabelClassifier,
    label_photos_that_fit,
    probabilities,
)
from clipcli.labels.label import DEFAULT_TEMPLATE, Label, Text
from clipcli.records import Embedded, Photo

N_ASKED = 10  # labels of a picture
N_COLLAGES = 150  # of two photographs, and as many of three
SIDE_PX = 600
BINS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
KINDS = {1: "single photographs", 2: "collages of two", 3: "collages of three"}

Picture = tuple[str, list[str]]  # path, labels that are there
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def pictures(folder: Path, half: int, work: Path) -> list[Picture]:
    """The photographs at every second place of the list, and collages of them."""
    with (folder / "coarse.csv").open(encoding="utf-8", newline="") as file:
        rows = [(str(folder / row["path"]), row["label"]) for row in csv.DictReader(file)]
    paths: dict[str, list[str]] = {}
    for path, label in rows[half::2]:
        paths.setdefault(label, []).append(path)
    made: list[Picture] = [(path, [label]) for path, label in rows[half::2]]
    chance = random.Random(100 + half)
    for n_parts in (2, 3):
        for number in range(N_COLLAGES):
            labels = chance.sample(sorted(paths), n_parts)
            path = work / f"{n_parts}-{number:03}.png"
            collage([chance.choice(paths[label]) for label in labels]).save(path)
            made.append((str(path), labels))
    return made


def collage(paths: list[str]) -> Image.Image:
    """The middle of each photograph, side by side, all of the square's height."""
    canvas = Image.new("RGB", (SIDE_PX, SIDE_PX))
    width = SIDE_PX // len(paths)
    for place, path in enumerate(paths):
        with Image.open(path) as photo:
            part = ImageOps.fit(photo.convert("RGB"), (width, SIDE_PX), Image.Resampling.BICUBIC)
        canvas.paste(part, (place * width, 0))
    return canvas


def ten_labels(first: Bools) -> Bools:
    """For each picture those of `first` [n, n_labels] and others at random, ten in all."""
    order = np.argsort(np.random.default_rng(0).random(first.shape) - first, axis=1)
    asked = np.zeros_like(first)
    np.put_along_axis(asked, order[:, :N_ASKED], True, axis=1)
    return asked


def scores(chances: Floats, there: Bools, asked: Bools) -> str:
    given = asked & (chances >= 0.5)
    n_right = int((given & there).sum())
    precision, recall = n_right / given.sum(), n_right / there.sum()
    f1 = 2 * precision * recall / (precision + recall)
    return f"precision {precision:.1%}, recall {recall:.1%}, F1 {f1:.1%}"


def rejections(embeddings: NDArray[np.float32], judge: MultiLabelClassifier, asked: Bools) -> str:
    """How many photographs `--unknown other` finds to fit none of their labels."""
    classifier = judge.classifier
    n_unknown = 0
    for embedding, labels in zip(embeddings, asked, strict=True):
        names = tuple(np.array(classifier.names)[labels])
        few = Classifier(names, classifier.embeddings[labels], classifier.score)
        one = MultiLabelClassifier(few, judge.backgrounds)
        ((best,),) = label_photos_that_fit(embedding[None], one, unknown="other")
        n_unknown += best.is_unknown
    return f"{n_unknown / len(asked):.1%}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="lite", help="a name or a file (default: lite)")
    parser.add_argument("--eval", type=Path, required=True, help="folder with coarse.csv")
    parser.add_argument("--half", choices=("even", "odd"), default="odd")
    options = parser.parse_args()
    embedder = Embedder.open(options.model, precision="fp32", remember=False)
    names = (options.eval / "coarse_labels.txt").read_text("utf-8").split("\n")
    labels = [Label(name, (Text(name),)) for name in names if name]
    with tempfile.TemporaryDirectory() as work:
        made = pictures(options.eval, int(options.half == "odd"), Path(work))
        records = embedder.embed_photos([Photo(path) for path, _ in made])
        embeddings = np.stack([one.embedding for one in records if isinstance(one, Embedded)])
    classifier = build_classifier(embedder, labels, [DEFAULT_TEMPLATE])
    judge = MultiLabelClassifier(classifier, embedder.encode_texts(BACKGROUND_PROMPTS))
    there = np.array([[label.name in shown for label in labels] for _, shown in made])
    asked = ten_labels(there)
    chances = probabilities(embeddings, judge)
    n_parts = there.sum(axis=1)
    for n, kind in KINDS.items():
        some = n_parts == n
        print(f"{kind} ({some.sum()}):", scores(chances[some], there[some], asked[some]))
    print("all of them:", scores(chances, there, asked))

    print("called, so many labels, right:")
    for low, high in pairwise(BINS):
        some = asked & (chances >= low) & ((chances < high) | (high == 1))
        if some.any():
            called, right = chances[some].mean(), there[some].mean()
            print(f"  {called:.2f} {some.sum():5} {right:.2f}")

    single = n_parts == 1
    absent = ten_labels(there) & ~there  # nine
    for kind, some in {"asked for": asked, "not among them": absent}.items():
        rejected = rejections(embeddings[single], judge, some[single])
        print(f"--unknown rejects, of single photographs, label {kind}: {rejected}")


if __name__ == "__main__":
    main()
