"""CLIP: an image encoder and a text encoder that meet in one space (paper, 2.3 and figure 3)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clipcli.network.config import (
    ClipConfig,
    EfficientNetLiteConfig,
    ResNetConfig,
    VisionTransformerConfig,
)
from clipcli.network.efficientnet_lite import EfficientNetLite
from clipcli.network.known_words import KnownWords
from clipcli.network.resnet import ModifiedResNet
from clipcli.network.transformer import LayerNorm, Transformer
from clipcli.network.vision_transformer import VisionTransformer

INITIAL_LOGIT_SCALE = math.log(1 / 0.07)  # paper, 2.5

ImageEncoder = VisionTransformer | ModifiedResNet | EfficientNetLite
# called with the config and embed_dim
IMAGE_ENCODERS: dict[type, Callable[[Any, int], ImageEncoder]] = {
    VisionTransformerConfig: VisionTransformer,
    ResNetConfig: ModifiedResNet,
    EfficientNetLiteConfig: EfficientNetLite,
}


class CLIP(nn.Module):
    """Attribute names are the keys of the published checkpoints, which keep the text encoder's
    parts at the top level."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.config = config
        text = config.text
        width = text.transformer.width
        self.visual = IMAGE_ENCODERS[type(config.vision)](config.vision, config.embed_dim)
        self.transformer = Transformer(text.transformer, text.causal)
        # from_pretrained: nn.Embedding draws random numbers, and on the device "meta" that imports
        # modules for a second at every start
        tokens = torch.empty(text.vocab_size, width)
        self.token_embedding: nn.Embedding = nn.Embedding.from_pretrained(  # type: ignore[no-untyped-call]
            tokens, freeze=False
        )
        self.positional_embedding = nn.Parameter(torch.empty(text.context_length, width))
        self.ln_final = LayerNorm(width, text.transformer.eps)
        self.text_projection = nn.Parameter(torch.empty(width, config.embed_dim))
        has_bias = text.projection == "linear"
        self.text_projection_bias = (
            nn.Parameter(torch.empty(config.embed_dim)) if has_bias else None
        )
        self.logit_scale = nn.Parameter(torch.tensor(INITIAL_LOGIT_SCALE))
        self.logit_bias = nn.Parameter(torch.tensor(-10.0)) if config.sigmoid else None
        self.evidence: KnownWords | None = None
        if config.evidence is not None:
            self.evidence = KnownWords(config.evidence, config.embed_dim)

    @property
    def dtype(self) -> torch.dtype:
        """The precision that pictures and texts are encoded in."""
        return self.text_projection.dtype

    def encode_image(self, image: Tensor) -> Tensor:
        """Normalised pictures [n, 3, px, px] -> [n, embed_dim], not unit length."""
        embeddings: Tensor = self.visual(image.to(self.dtype))
        return embeddings

    def encode_text(self, text: Tensor) -> Tensor:
        """Token ids [n, length] with length <= context_length -> [n, embed_dim], not unit length.

        Where a token sees only what stands before it, padding behind the end token changes nothing;
        the other texts are of context_length, padded.
        """
        x = self.token_embedding(text).to(self.dtype)  # [n, length, width]
        x = x + self.positional_embedding[: text.shape[1]].to(self.dtype)
        x = self.transformer(x)
        x = self.ln_final(x[torch.arange(len(x), device=x.device), text_places(text, self.config)])
        embeddings: Tensor = x @ self.text_projection
        if self.text_projection_bias is not None:
            embeddings = embeddings + self.text_projection_bias
        return embeddings

    def forward(self, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine similarities times the learned scale, and a learned bias where there is one:
        [n, m] by image and [m, n] by text."""
        image_embeddings = F.normalize(self.encode_image(image), dim=-1)
        text_embeddings = F.normalize(self.encode_text(text), dim=-1)
        scale = self.logit_scale.exp().to(image_embeddings.dtype)
        logits_per_image = scale * image_embeddings @ text_embeddings.t()
        if self.logit_bias is not None:
            logits_per_image = logits_per_image + self.logit_bias.to(logits_per_image.dtype)
        return logits_per_image, logits_per_image.t()

    def knows_words(self, words: list[str], embeddings: Tensor) -> Tensor:
        """bool [n]: whether the embedded model learned anything near these words.

        embeddings: float32 [n, embed_dim] on the CPU, unit length, of the words in a prompt.
        """
        assert self.evidence is not None
        assert isinstance(self.visual, EfficientNetLite)
        known: Tensor = self.evidence(words, embeddings, self.visual.class_embedding.cpu())
        return known

    def to_precision(self, dtype: torch.dtype) -> Self:
        """Weights in `dtype`, except norms, scale, bias and known words, which need float32."""
        to_precision(self, dtype)
        self.logit_scale.data = self.logit_scale.data.float()
        if self.logit_bias is not None:
            self.logit_bias.data = self.logit_bias.data.float()
        return self

    def initialize_parameters(self) -> Self:
        """Initial weights as published, for training and for checkpoints that need no meaning."""
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        nn.init.normal_(self.text_projection, std=self.text_projection.shape[0] ** -0.5)
        if self.text_projection_bias is not None:
            nn.init.zeros_(self.text_projection_bias)
        self.transformer.initialize_parameters()
        self.visual.initialize_parameters()
        return self


def text_places(tokens: Tensor, config: ClipConfig) -> Tensor:
    """Where in each text [n, length] its embedding stands: int64 [n]."""
    text = config.text
    if text.pool == "last":
        return torch.full((len(tokens),), tokens.shape[1] - 1, device=tokens.device)
    # argmax finds the first: of the end tokens, or of the highest ids
    return (tokens if text.end_token is None else (tokens == text.end_token).int()).argmax(dim=-1)


def to_precision(module: nn.Module, dtype: torch.dtype) -> None:
    """A part of a CLIP in `dtype`, except its norms and its known words, which need float32."""
    module.to(dtype)
    for part in module.modules():
        if isinstance(part, nn.LayerNorm | nn.BatchNorm2d | KnownWords):
            part.float()
