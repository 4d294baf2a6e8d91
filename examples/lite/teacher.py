"""Stage 1: MiniLM's vectors bent towards the class embeddings; the result teaches the text tower.

MiniLM knows 200,000 words but not what ImageNet's classes look like; a small map learns that from
the known texts and carries the other words along.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import torch
from losses import matching_loss
from pictures import Simulator
from torch import Tensor, nn
from torch.nn import functional as F

from clipcli.training.optimizer import descend, warm_cosine

SHARES = {"known": 0.68, "everyday": 0.14, "plurals": 0.06, "glosses": 0.12}  # of a batch


class Teacher(nn.Module):
    """Unit MiniLM vectors [n, d] -> unit embeddings [n, d]; starts as a shift by the mean."""

    def __init__(self, mean: Tensor) -> None:
        super().__init__()
        width = len(mean)
        self.linear = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(0.2), nn.Linear(2 * width, width)
        )
        with torch.no_grad():
            self.linear.weight.copy_(torch.eye(width))
            self.linear.bias.copy_(-mean)
            self.mlp[-1].weight.zero_()
            self.mlp[-1].bias.zero_()

    def forward(self, vectors: Tensor) -> Tensor:
        return F.normalize(self.linear(vectors) + self.mlp(4 * vectors), dim=-1)


@dataclass
class Group:
    """Texts used alike: vectors in each wording [n_wordings, n, d], weights [n, n_classes]."""

    vectors: Tensor
    weights: Tensor


def train_teacher(
    groups: dict[str, Group],
    name_vectors: Tensor,
    simulator: Simulator,
    steps: int = 500,
    batch_size: int = 1536,
) -> tuple[Teacher, Tensor]:
    """Returns the map and the class embeddings [n_classes, d], unit length."""
    mean = groups["known"].vectors[0].mean(0)
    teacher = Teacher(mean)
    class_embedding = nn.Parameter(F.normalize(name_vectors - mean, dim=-1))
    optimizer = torch.optim.AdamW(
        [*teacher.parameters(), class_embedding], lr=1e-3, weight_decay=0.01
    )

    def backward(step: int) -> Tensor:
        vectors, weights = [], []
        for name, share in SHARES.items():
            group = groups[name]
            rows = torch.randint(group.weights.shape[0], (round(share * batch_size),))
            wordings = torch.randint(len(group.vectors), (len(rows),))
            vectors.append(group.vectors[wordings, rows])
            weights.append(group.weights[rows])
        x = torch.cat(vectors)
        texts = teacher(x + 0.015 * torch.randn_like(x))
        loss = simulated_match(texts, torch.cat(weights), class_embedding, simulator)
        loss.backward()
        return loss

    factor = warm_cosine(steps, warm_up=30)
    for step, loss in descend(optimizer, backward, range(steps), factor):
        if step % 25 == 0 or step == steps - 1:
            print(f"teacher: step {step} of {steps}, loss {loss.item():.3f}", file=sys.stderr)
    return teacher.eval().requires_grad_(False), F.normalize(class_embedding.detach(), dim=-1)


def simulated_match(
    texts: Tensor,
    weights: Tensor,
    class_embedding: Tensor,
    simulator: Simulator,
    is_weak: Tensor | None = None,
    n_scenes: int = 200,
) -> Tensor:
    """Matching loss of texts [n, d] against a fresh set of simulated photographs."""
    scene_logits, shares = simulator.scenes(n_scenes)
    pictures = F.normalize(simulator.class_pictures().softmax(-1) @ class_embedding, dim=-1)
    scenes = F.normalize(scene_logits.softmax(-1) @ class_embedding, dim=-1)
    if is_weak is None:
        is_weak = torch.zeros(len(texts), dtype=torch.bool)
    return matching_loss(texts, pictures, scenes, weights, shares, is_weak)
