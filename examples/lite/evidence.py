r"""Does `lite` know the thing that a label names? A small test, fitted on words only.

    python evidence.py --trained work/trained.safetensors --wordnet /usr/share/wordnet \
        --output work/evidence.safetensors

Words with evidence: those of the classes and of the ideas above them, everyday ideas that are no
mere guess, and kinds of a narrow idea (puppy, a kind of dog). Words without: nouns that lie under
no such idea, words that are no nouns, kinds of a wide idea (a treadmill is a kind of machine),
guesses. A small network on the label's embedding and on its highest cosines with the class
embeddings tells them apart; its threshold is where 19 of 20 words without evidence, none of which
it was fitted on, are told right. None of the words of `evidence_words.txt` is fitted on. The design
was changed by its lists marked "fit"; those marked "test" are counted, but an earlier design's
count of them was seen before this one was made.

The words that were learned outright (commonest meaning above a class, or an unmarked everyday idea)
are kept as a table of checksums as well: for them there is nothing to guess.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from zlib import crc32

import texts as texts_module
import torch
from safetensors.torch import load_file, save_file
from text_tower import TextTower
from torch import Tensor
from torch.nn import functional as F
from train import vocabulary
from wordnet import WordNet

from clipcli.labels.label import DEFAULT_TEMPLATE, PLACE
from clipcli.models.tokenizer import clip_tokenizer
from clipcli.network.config import KnownWordsConfig
from clipcli.network.known_words import INPUT_SCALE, N_HIGHEST, KnownWords

HIDDEN_WIDTH = 32
# length of the mean of an idea's unit class embeddings; words between are not used
NARROW, WIDE = 0.75, 0.6
NARROW_CLASSES = 4  # fewer classes lie close together by chance
# share of the words without evidence: a missing warning is worse than one too many
TOLD_RIGHT = 0.95
ANIMALS = ["dog", "cat", "tiger"]  # never to be warned of
N_EXAMPLES = 12_000  # of either kind
STEPS, LEARNING_RATE = 800, 3e-3


def log_odds(test: KnownWords, embeddings: Tensor, class_embedding: Tensor) -> Tensor:
    """Unit embeddings [n, d] -> log odds [n] that the words name something learned.

    What `KnownWords` computes, without the table of learned words and before the sign is taken.
    """
    highest = (embeddings @ class_embedding.t()).topk(N_HIGHEST, dim=-1).values
    features = INPUT_SCALE * torch.cat([embeddings, highest], dim=-1)
    odds: Tensor = test.output(F.gelu(test.hidden(features))).squeeze(-1)
    return odds


def word_lists(path: Path) -> dict[tuple[str, str], list[str]]:
    """(use, kind) -> labels."""
    lists = {}
    for line in path.read_text("utf-8").splitlines():
        if not line.startswith("#"):
            head, _, labels = line.partition(":")
            use, kind = head.split(", ")
            lists[use, kind] = [label.strip() for label in labels.split(",")]
    return lists


def examples(
    texts: texts_module.Texts, class_embedding: Tensor, kept_apart: set[str]
) -> tuple[list[str], list[str]]:
    """Words with and without evidence; none of those kept apart."""

    def spread(classes: dict[int, float]) -> float:
        return class_embedding[list(classes)].mean(0).norm().item()

    guesses = texts_module.guesses()
    known = {
        text
        for pairs in (texts.known, texts.plurals)
        for text, classes in pairs.items()
        if max(classes.values()) >= 0.5
    }
    kinds = [
        text
        for text, classes in texts.weak.items()
        if len(classes) >= NARROW_CLASSES and spread(classes) > NARROW
    ]
    wide = [text for text, classes in texts.weak.items() if spread(classes) < WIDE]
    known |= {*texts.everyday, *_sample(kinds, 3000)}
    unknown = {*wide, *_sample([*texts.nouns, *texts.words], N_EXAMPLES), *guesses}
    return sorted(known - guesses - kept_apart), sorted(unknown - kept_apart)


def learned_words(texts: texts_module.Texts) -> set[str]:
    """Words that surely name something learned, with their plurals."""
    guesses = texts_module.guesses()
    sure = {text for text, classes in texts.known.items() if max(classes.values()) >= 1} - guesses
    sure |= set(texts.everyday) - guesses
    return sure | {texts_module.plural(word) for word in sure}


def checksums(words: set[str]) -> Tensor:
    """Sorted int64 [n]; of UTF-8, lower case."""
    return torch.tensor(sorted({crc32(word.lower().encode()) for word in words}))


def _sample(words: list[str], n: int) -> list[str]:
    return [words[i] for i in torch.randperm(len(words))[:n].tolist()]


@torch.inference_mode()
def embed(tower: TextTower, texts: list[str], size: int = 1024) -> Tensor:
    parts = [texts[start : start + size] for start in range(0, len(texts), size)]
    return torch.cat(
        [
            tower(
                clip_tokenizer().rows(
                    [DEFAULT_TEMPLATE.replace(PLACE, text) for text in part], truncate=True
                )
            )
            for part in parts
        ]
    )


def fit(positive: Tensor, negative: Tensor, class_embedding: Tensor, n_learned: int) -> KnownWords:
    """Both kinds count alike, however many there are."""
    test = KnownWords(KnownWordsConfig(HIDDEN_WIDTH, n_learned), class_embedding.shape[1])
    optimizer = torch.optim.AdamW(test.parameters(), lr=LEARNING_RATE, weight_decay=0.05)
    for _ in range(STEPS):
        with_evidence = positive[torch.randint(len(positive), (1024,))]
        without = negative[torch.randint(len(negative), (1024,))]
        too_low = F.softplus(-log_odds(test, with_evidence, class_embedding)).mean()
        too_high = F.softplus(log_odds(test, without, class_embedding)).mean()
        optimizer.zero_grad()
        (too_low + too_high).backward()
        optimizer.step()
    return test.eval().requires_grad_(False)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trained", type=Path, required=True)
    parser.add_argument("--wordnet", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    state = load_file(options.trained)
    class_embedding = state.pop("class_embedding")
    tower = TextTower(state["token_embedding.weight"].shape[1], class_embedding.shape[1])
    tower.load_state_dict(state)
    lists = word_lists(texts_module.HERE / "evidence_words.txt")
    texts = texts_module.build(WordNet(options.wordnet), vocabulary())
    apart = {label for labels in lists.values() for label in labels} | {*ANIMALS}
    positive, negative = examples(texts, class_embedding, apart)
    print(f"{len(positive):,} words with evidence, {len(negative):,} without")
    with_evidence, without = embed(tower, positive).clone(), embed(tower, negative).clone()
    learned = learned_words(texts)
    table = checksums(learned)
    test = fit(with_evidence[::2], without[::2], class_embedding, len(table))
    test.learned.copy_(table)
    rest = [log_odds(test, some[1::2], class_embedding) for some in (with_evidence, without)]
    threshold = rest[1].quantile(TOLD_RIGHT).item()
    print(
        f"words not fitted on: {(rest[0] >= threshold).float().mean():.3f} with evidence and"
        f" {(rest[1] < threshold).float().mean():.3f} without are told right at {threshold:.2f}"
    )
    test.output.bias -= threshold  # so that the sign decides
    for (use, kind), labels in lists.items():
        embeddings = embed(tower, labels).clone()
        answers = test(labels, embeddings, class_embedding)
        alone = log_odds(test, embeddings, class_embedding) >= 0
        right, right_alone = (some == (kind == "known") for some in (answers, alone))
        wrong = [label for label, hit in zip(labels, right.tolist(), strict=True) if not hit]
        print(
            f"{use}, {kind}: {int(right.sum())} of {len(labels)} right"
            f" ({int(right_alone.sum())} by the network alone);"
            f" wrong: {', '.join(wrong) or 'none'}"
        )
    odds = log_odds(test, embed(tower, ANIMALS).clone(), class_embedding).tolist()
    print(
        f"{', '.join(ANIMALS)}: {', '.join(f'{one:.1f}' for one in odds)} above the threshold;"
        f" all in the table: {learned.issuperset(ANIMALS)}"
    )
    state = {f"evidence.{name}": tensor for name, tensor in test.state_dict().items()}
    save_file(state, options.output)


if __name__ == "__main__":
    main()
