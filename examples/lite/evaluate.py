"""Measure a model as its user sees it: labels, other words for them, text to photograph.

    python evaluate.py --eval EVAL_FOLDER --cifar CIFAR_FOLDER

EVAL_FOLDER holds coarse.csv and fine.csv (path,label) with coarse_labels.txt and fine_labels.txt,
CIFAR_FOLDER holds truth.csv (path,label). They are for measuring only.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from pathlib import Path

import numpy as np

from clipcli.embedding.embedder import Embedder
from clipcli.labelling.classifier import build_classifier
from clipcli.labelling.zero_shot import label_photos
from clipcli.labels.label import DEFAULT_TEMPLATE, Label, Text
from clipcli.records import Embedded, Photo
from clipcli.search.query import QueryPart, encode_query
from clipcli.search.similar import similar_photos

HELD_OUT = ("bird", "car", "boat", "snake", "monkey")  # for a model trained with --leave-out
OTHER_WORDS = {
    "dog": ["puppy", "doggy"],
    "cat": ["kitten"],
    "car": ["automobile"],
    "truck": ["lorry", "pickup"],
    "boat": ["ship", "sailboat"],
    "turtle": ["tortoise"],
    "snake": ["serpent"],
    "insect": ["bug"],
    "bird": ["songbird"],
    "spider": ["arachnid"],
    "frog": ["toad"],
    "monkey": ["ape"],
    "butterfly": ["moth"],
}

Truth = dict[str, str]  # path -> label
Album = dict[str, Embedded]  # by path


def read_table(path: Path) -> Truth:
    with path.open(encoding="utf-8", newline="") as file:
        return {str(path.parent / row["path"]): row["label"] for row in csv.DictReader(file)}


def read_labels(path: Path) -> list[str]:
    return path.read_text("utf-8").strip("\n").split("\n")


def embed(embedder: Embedder, paths: list[str]) -> Album:
    """Every photograph; one that cannot be read ends the run."""
    album = {}
    for record in embedder.embed_photos([Photo(path) for path in paths]):
        if not isinstance(record, Embedded):
            raise SystemExit(f"{record.path}: {getattr(record, 'error', 'passed over')}")
        album[record.path] = record
    return album


def best_labels(
    embedder: Embedder, album: Album, truth: Truth, labels: list[str]
) -> dict[str, list[str]]:
    """The best five labels of each photograph of the truth, best first."""
    asked = [Label(label, (Text(label),)) for label in labels]
    classifier = build_classifier(embedder, asked, [DEFAULT_TEMPLATE])
    embeddings = np.stack([album[path].embedding for path in truth])
    labelled = label_photos(embeddings, classifier, top_k=5)
    return {
        path: [one.label for one in predictions]
        for path, predictions in zip(truth, labelled, strict=True)
    }


def accuracy(best: dict[str, list[str]], truth: Truth) -> str:
    """Per cent of the photographs, and the mean over labels of the first guess."""
    hits = defaultdict(list)
    for path, label in truth.items():
        hits[label].append(best[path][0] == label)
    top_1 = sum(map(sum, hits.values())) / len(truth)
    top_5 = sum(label in best[path] for path, label in truth.items()) / len(truth)
    mean = sum(sum(some) / len(some) for some in hits.values()) / len(hits)
    return f"top-1 {top_1:.2%}, top-5 {top_5:.2%}, mean over labels {mean:.2%}"


def other_words(
    embedder: Embedder, album: Album, truth: Truth, labels: list[str]
) -> dict[str, tuple[int, int]]:
    """Of each label's photographs, how many still choose it under another word, and all."""
    found = {}
    for label, words in OTHER_WORDS.items():
        some = {path: name for path, name in truth.items() if name == label}
        for word in words:
            changed = [word if name == label else name for name in labels]
            best = best_labels(embedder, album, some, changed)
            found[word] = (sum(guesses[0] == word for guesses in best.values()), len(some))
    return found


def precision_at_5(embedder: Embedder, album: Album, truth: Truth, labels: list[str]) -> float:
    """Mean over labels that at least five photographs bear; the label alone is the query."""
    shares = []
    for label in labels:
        if list(truth.values()).count(label) >= 5:
            query = encode_query([QueryPart("text", label)], embedder)
            matches = similar_photos(query, (album[path] for path in truth), top_k=5)
            shares.append(sum(truth[match.path] == label for match in matches) / 5)
    return sum(shares) / len(shares)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="lite", help="a name or a file (default: lite)")
    parser.add_argument("--eval", type=Path, required=True, help="folder with coarse.csv, fine.csv")
    parser.add_argument("--cifar", type=Path, help="folder with truth.csv")
    options = parser.parse_args()
    embedder = Embedder.open(options.model, remember=False)
    coarse, fine = (read_table(options.eval / name) for name in ("coarse.csv", "fine.csv"))
    album = embed(embedder, list(coarse | fine))

    labels = read_labels(options.eval / "coarse_labels.txt")
    best = best_labels(embedder, album, coarse, labels)
    print("coarse:", accuracy(best, coarse))
    held_out = [best[path][0] == label for path, label in coarse.items() if label in HELD_OUT]
    print(f"{', '.join(HELD_OUT)}: {sum(held_out)} of {len(held_out)}")
    words = other_words(embedder, album, coarse, labels)
    mean = sum(hits / n for hits, n in words.values()) / len(words)
    each = ", ".join(f"{word} {hits}/{n}" for word, (hits, n) in words.items())
    print(f"other words: {mean:.2%} ({each})")
    print(f"mean precision at 5: {precision_at_5(embedder, album, coarse, labels):.3f}")

    labels = read_labels(options.eval / "fine_labels.txt")
    print("fine:", accuracy(best_labels(embedder, album, fine, labels), fine))
    if options.cifar:
        truth = read_table(options.cifar / "truth.csv")
        album, labels = embed(embedder, list(truth)), sorted(set(truth.values()))
        print("CIFAR-10:", accuracy(best_labels(embedder, album, truth, labels), truth))


if __name__ == "__main__":
    main()
