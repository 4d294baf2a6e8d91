"""What training asks for: each photograph nearest to its own caption, each caption to its own
photograph (paper, 2.3 and figure 3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

MAX_LOGIT_SCALE = math.log(100)  # paper, 2.5: cosines are multiplied by 100 at most


def contrastive_loss(
    images: Tensor, texts: Tensor, logit_scale: Tensor, captions: Tensor | None = None
) -> Tensor:
    """The symmetric cross-entropy over scaled cosines, 0 where nothing is left to learn.

    images, texts: float [n, d], of any length; logit_scale: the logarithm of what cosines are
    multiplied with; captions: integers [n], the same for pairs whose captions mean the same.

    A caption that stands k times in the batch cannot be told from its copies, so the target of
    each of its photographs is shared evenly among them, and the caption's among its photographs.
    That is the true posterior, hence the best answer is still the true one: leaving copies out of
    the softmax instead would count a wrong caption as often as it is repeated and the right one
    once, and teach too large a scale. The targets' entropy, which no model can go below, is taken
    off. Without copies this is figure 3.
    """
    if captions is None:
        captions = torch.arange(len(images), device=images.device)
    logits = logit_scale.exp() * F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).t()
    same = captions.unsqueeze(1) == captions  # [n, n]
    entropy = same.sum(dim=1).to(logits.dtype).log().mean()
    both = shared_cross_entropy(logits, same) + shared_cross_entropy(logits.t(), same)
    return both / 2 - entropy


def shared_cross_entropy(logits: Tensor, weights: Tensor) -> Tensor:
    """The mean over rows of the cross-entropy with a target shared in proportion to `weights`.

    logits, weights: [n, m]; each row of weights holds at least one above zero, and none below.
    """
    weights = weights.to(logits.dtype)
    return F.cross_entropy(logits, weights / weights.sum(dim=1, keepdim=True))
