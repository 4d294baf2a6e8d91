"""Logit scale and temperature on simulated photographs.

    python calibrate.py --model lite --wordnet /usr/share/wordnet

The right scale is the one at which probabilities are as right as they claim.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import texts as texts_module
import torch
from pictures import Simulator, class_similarity
from torch import Tensor
from torch.nn import functional as F
from wordnet import WordNet

from clipcli.labels.label import DEFAULT_TEMPLATE, PLACE
from clipcli.models.encoder import Encoder

SCALES = (10, 15, 20, 25, 30, 40, 60)
TEMPERATURES = (0.5, 0.7, 1.0)


def label_sets(
    texts: texts_module.Texts, n: int, n_labels: int, chance: random.Random
) -> list[tuple[int, list[str]]]:
    """(class, labels): the first label is true of the class, the others are not."""
    pool = {
        text: pairs
        for text, pairs in texts.known.items()
        if len(pairs) <= 130 and max(pairs.values()) == 1
    }
    true_of = {c: [text for text, pairs in pool.items() if pairs.get(c) == 1] for c in range(1000)}
    sets = []
    while len(sets) < n:
        c = chance.randrange(1000)
        drawn = chance.sample(sorted(pool), n_labels - 1)
        others = [text for text in drawn if c not in texts.known[text]]
        if true_of[c] and len(others) == n_labels - 1:
            sets.append((c, [chance.choice(true_of[c]), *others]))
    return sets


@torch.inference_mode()
def cosines_of(
    encoder: Encoder, simulator: Simulator, sets: list[tuple[int, list[str]]], temperature: float
) -> Tensor:
    """Cosines [n_sets, n_labels]; one simulated photograph a set."""
    words = sorted({label for _, labels in sets for label in labels})
    prompts = [DEFAULT_TEMPLATE.replace(PLACE, word) for word in words]
    embeddings = torch.from_numpy(encoder.encode_texts(prompts))
    index = {word: row for row, word in enumerate(words)}
    probabilities = (simulator.class_pictures() / temperature).softmax(dim=-1)
    pictures = F.normalize(probabilities @ encoder.model.network.visual.class_embedding, dim=-1)
    return torch.stack(
        [embeddings[[index[label] for label in labels]] @ pictures[c] for c, labels in sets]
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="lite", help="lite, or a file that export.py wrote")
    parser.add_argument("--wordnet", type=Path, required=True)
    parser.add_argument("--labels", type=int, default=10, help="labels in a set")
    options = parser.parse_args()
    torch.manual_seed(0)
    encoder = Encoder.open(options.model, device="cpu", precision="fp32")
    texts = texts_module.build(WordNet(options.wordnet), [])
    similarity = class_similarity(encoder.model.network.visual.classifier.weight)
    simulator = Simulator(similarity, [torch.arange(2)], torch.ones(1))  # no scenes are drawn
    sets = label_sets(texts, 2000, options.labels, random.Random(0))
    for temperature in TEMPERATURES:
        cosines = cosines_of(encoder, simulator, sets, temperature)
        top_1 = (cosines.argmax(dim=1) == 0).float().mean()
        print(f"temperature {temperature}: top-1 {top_1:.3f}")
        for scale in SCALES:
            probabilities = (scale * cosines).softmax(dim=-1)
            loss, top = -probabilities[:, 0].log().mean(), probabilities.amax(dim=1).mean()
            print(f"  scale {scale}: loss {loss:.3f}, mean top probability {top:.3f}")


if __name__ == "__main__":
    main()
