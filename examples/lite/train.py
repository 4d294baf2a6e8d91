"""Train the text tower and the class embeddings of `lite`: words only, no photograph.

    python train.py --wordnet /usr/share/wordnet --work work --output work/trained.safetensors

The work folder keeps MiniLM's vectors between runs. The same seed and thread count give the same
result on one machine.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import image_tower
import texts as texts_module
import torch
from batches import Batches, dense, scene_texts, weak_targets
from losses import distillation_loss
from minilm import VectorCache
from pictures import Simulator, class_similarity
from safetensors.torch import save_file
from teacher import Group, simulated_match, train_teacher
from text_tower import TextTower
from torch import Tensor
from torch.nn import functional as F
from wordnet import WordNet

from clipcli.labels.label import DEFAULT_TEMPLATE
from clipcli.models.tokenizer import clip_tokenizer
from clipcli.training.optimizer import descend, parameter_groups, warm_cosine

LEARNING_RATE, WEIGHT_DECAY, WARM_UP = 1.5e-3, 0.02, 80
DISTILLATION_WEIGHT = 8.0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--wordnet", type=Path, required=True, help="folder with data.noun and index.noun"
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for MiniLM's vectors")
    parser.add_argument("--output", type=Path, required=True, help="trained tensors (.safetensors)")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=384)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--leave-out", default="", help="words that no text may contain, with commas"
    )
    return parser.parse_args()


def vocabulary() -> list[str]:
    """The strings of CLIP's tokens, `</w>` at the end of a word, without the two marks."""
    ids = clip_tokenizer()._ids
    return sorted(ids, key=ids.get)[:-2]


def teach(
    texts: texts_module.Texts, simulator: Simulator, vectors_of: VectorCache
) -> tuple[dict[str, Tensor], Tensor]:
    """Stage 1. Returns each text's target, unit float16 [d], and the class embeddings [1000, d]."""
    groups = {}
    for name in ("known", "everyday", "plurals", "glosses"):
        pairs = getattr(texts, name)
        wordings = ["{}", DEFAULT_TEMPLATE] if name in ("known", "everyday") else ["{}"]
        vectors = [
            vectors_of([wording.replace("{}", text) for text in pairs]) for wording in wordings
        ]
        groups[name] = Group(torch.stack(vectors), dense(pairs).float())
    teacher, class_embedding = train_teacher(groups, name_vectors(texts, vectors_of), simulator)
    everything = texts.all()
    taught = torch.cat([teacher(vectors) for vectors in vectors_of(everything).split(8192)])
    targets = dict(zip(everything, taught.half(), strict=True))
    weak = list(texts.weak)
    bent = weak_targets(
        torch.stack([targets[text] for text in weak]).float(), dense(texts.weak), class_embedding
    )
    return targets | dict(zip(weak, bent.half(), strict=True)), class_embedding


def name_vectors(texts: texts_module.Texts, vectors_of: VectorCache) -> Tensor:
    """Where the class embeddings start: MiniLM's vectors of the names.

    For a name left out: of the widest known text that names its class.
    """
    fallback = {
        c: text
        for text, pairs in sorted(texts.known.items(), key=lambda item: -len(item[1]))
        for c in pairs
    }
    names = [name if name in texts.known else fallback[c] for c, name in enumerate(texts.names)]
    return vectors_of(names)


def optimizer_for(tower: TextTower, class_embedding: Tensor) -> torch.optim.Optimizer:
    groups = [
        *parameter_groups(tower.named_parameters(), WEIGHT_DECAY),
        {"params": [class_embedding], "weight_decay": 0.0, "lr": LEARNING_RATE / 10},
    ]
    return torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.98), fused=True)


def train(
    tower: TextTower, class_embedding: Tensor, batches: Batches, simulator: Simulator, steps: int
) -> None:
    """Stage 2: match the simulated photographs and follow the teacher, both all the time."""
    optimizer = optimizer_for(tower, class_embedding)

    def backward(step: int) -> tuple[Tensor, Tensor]:
        batch = batches.draw()
        with torch.autocast("cpu", torch.bfloat16):
            embeddings = tower(clip_tokenizer().rows(batch.texts, truncate=True))
        matched = embeddings[: len(batch.weights)]
        match = simulated_match(matched, batch.weights, class_embedding, simulator, batch.is_weak)
        distil = distillation_loss(embeddings, batch.targets)
        (match + DISTILLATION_WEIGHT * distil).backward()
        return match, distil

    start = time.perf_counter()
    factor = warm_cosine(steps, WARM_UP)
    updates = descend(optimizer, backward, range(steps), factor, max_norm=1.0)
    for step, (match, distil) in updates:
        if step % 50 == 0 or step == steps - 1:
            minutes = (time.perf_counter() - start) / 60
            print(
                f"step {step} of {steps}: match {match.item():.3f},"
                f" distil {distil.item():.3f}, {minutes:.1f} min",
                file=sys.stderr,
                flush=True,
            )


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    options.work.mkdir(parents=True, exist_ok=True)
    vectors_of = VectorCache(options.work / "minilm.npz")
    tokens = vocabulary()
    left_out = [word for word in options.leave_out.split(",") if word]
    texts = texts_module.build(WordNet(options.wordnet), tokens, left_out, options.seed)
    similarity = class_similarity(image_tower.load().classifier.weight)
    simulator = Simulator(similarity, *scene_texts(texts))
    targets, class_embedding = teach(texts, simulator, vectors_of)
    tower = TextTower(options.width, class_embedding.shape[1])
    tower.start_tokens(vectors_of([token.replace("</w>", "") for token in tokens]))
    table = torch.nn.Parameter(class_embedding.clone())
    train(
        tower,
        table,
        Batches(texts, targets, options.batch_size, options.seed),
        simulator,
        options.steps,
    )
    state = {name: tensor.detach().contiguous() for name, tensor in tower.state_dict().items()}
    state["class_embedding"] = F.normalize(table.detach(), dim=-1)
    save_file(
        state,
        options.output,
        {"seed": str(options.seed), "steps": str(options.steps), "left_out": options.leave_out},
    )


if __name__ == "__main__":
    main()
