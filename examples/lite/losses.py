"""What the two towers are asked for: logits [n_texts, n_pictures] against weights that say which
pairs belong together."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from clipcli.training.loss import shared_cross_entropy

SCALE = 25.0  # of the cosines, while training


def pair_loss(logits: Tensor, weights: Tensor, ignored: Tensor, dim: int) -> Tensor:
    """Each pair against what does not belong.

    Pairs do not compete with one another, so dog and beagle can both be near.
    weights: 0 for what does not belong together; ignored: bool, neither one nor the other.
    """
    others = logits.masked_fill((weights > 0) | ignored, -torch.inf).logsumexp(dim, keepdim=True)
    losses = F.softplus(others - logits) * weights
    totals = weights.sum(dim)
    # a text of weak pairs only weighs less
    means = losses.sum(dim) / totals.clamp(min=1e-6) * weights.amax(dim)
    return means.sum() / (totals > 0).sum().clamp(min=1)


def specific_loss(logits: Tensor, weights: Tensor) -> Tensor:
    """Of the texts that fit a picture the narrower come first: butterfly before insect."""
    narrowness = weights / (weights > 0).sum(1, keepdim=True).clamp(min=1).sqrt()
    used = narrowness.sum(0) > 0
    return shared_cross_entropy(logits[:, used].t(), narrowness[:, used].t())


def distillation_loss(embeddings: Tensor, targets: Tensor) -> Tensor:
    """Both unit length."""
    return (1 - (embeddings * targets).sum(-1)).mean()


def matching_loss(
    texts: Tensor,
    class_pictures: Tensor,
    scenes: Tensor,
    weights: Tensor,
    shares: Tensor,
    is_weak: Tensor,
) -> Tensor:
    """Texts against simulated photographs.

    texts [n, d], class_pictures [n_classes, d], scenes [m, d]: unit length; weights [n, n_classes];
    shares [m, n_classes] of each scene's classes; is_weak [n]: texts left out of the specific loss.
    """
    covered = (weights > 0).float() @ shares.t()  # [n, m]
    scene_weights = 0.5 * (covered >= 0.6).float() * weights.amax(1, keepdim=True)
    ignored = torch.cat(
        [torch.zeros_like(weights, dtype=torch.bool), (covered > 0) & (covered < 0.6)], dim=1
    )
    logits = SCALE * texts @ torch.cat([class_pictures, scenes]).t()
    both = torch.cat([weights, scene_weights], dim=1)
    loss = pair_loss(logits, both, ignored, dim=1) + pair_loss(logits, both, ignored, dim=0)
    sure = ~is_weak
    return loss + 0.3 * specific_loss(logits[sure, : len(class_pictures)], weights[sure])
