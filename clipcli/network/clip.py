"""CLIP: an image encoder and a text encoder that meet in one space (paper, 2.3 and figure 3)."""

from __future__ import annotations

import math
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clipcli.network.config import ClipConfig, EfficientNetLiteConfig, ResNetConfig
from clipcli.network.efficientnet_lite import EfficientNetLite
from clipcli.network.known_words import EvidenceTest
from clipcli.network.resnet import Bottleneck, ModifiedResNet
from clipcli.network.transformer import LayerNorm, ResidualAttentionBlock, Transformer
from clipcli.network.vision_transformer import VisionTransformer

INITIAL_LOGIT_SCALE = math.log(1 / 0.07)  # paper, 2.5


class CLIP(nn.Module):
    """Both towers. Attribute names are the keys of the published checkpoints, which keep the
    text encoder's parts at the top level."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.config = config
        text = config.text
        width = text.transformer.width
        self.visual: VisionTransformer | ModifiedResNet | EfficientNetLite
        if isinstance(config.vision, ResNetConfig):
            self.visual = ModifiedResNet(config.vision, config.embed_dim)
        elif isinstance(config.vision, EfficientNetLiteConfig):
            self.visual = EfficientNetLite(config.vision, config.embed_dim)
        else:
            self.visual = VisionTransformer(config.vision, config.embed_dim)
        self.transformer = Transformer(text.transformer, causal=True)
        # from_pretrained: the default's random numbers would, without memory to fill, cost a
        # second of imports at every start
        tokens = torch.empty(text.vocab_size, width)
        self.token_embedding: nn.Embedding = nn.Embedding.from_pretrained(  # type: ignore[no-untyped-call]
            tokens, freeze=False
        )
        self.positional_embedding = nn.Parameter(torch.empty(text.context_length, width))
        self.ln_final = LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, config.embed_dim))
        self.logit_scale = nn.Parameter(torch.tensor(INITIAL_LOGIT_SCALE))
        self.evidence: EvidenceTest | None = None
        if config.evidence is not None:
            self.evidence = EvidenceTest(config.evidence, config.embed_dim)

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

        A causal tower's output at the end mark does not depend on the padding behind it.
        """
        x = self.token_embedding(text).to(self.dtype)  # [n, length, width]
        x = x + self.positional_embedding[: text.shape[1]].to(self.dtype)
        x = self.transformer(x)
        # the end mark is the highest id of this vocabulary, so argmax finds the first one
        ends = text.argmax(dim=-1)
        x = self.ln_final(x[torch.arange(len(x), device=x.device), ends])
        embeddings: Tensor = x @ self.text_projection
        return embeddings

    def forward(self, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine similarities times the learned scale: [n, m] by image and [m, n] by text."""
        image_embeddings = F.normalize(self.encode_image(image), dim=-1)
        text_embeddings = F.normalize(self.encode_text(text), dim=-1)
        scale = self.logit_scale.exp().to(image_embeddings.dtype)
        logits_per_image = scale * image_embeddings @ text_embeddings.t()
        return logits_per_image, logits_per_image.t()

    def to_precision(self, dtype: torch.dtype) -> Self:
        """Weights in `dtype`, but what halves lose most in float32: norms, scale, evidence."""
        to_precision(self, dtype)
        self.logit_scale.data = self.logit_scale.data.float()
        return self

    def initialize_parameters(self) -> Self:
        """Initial weights as published, for training and for checkpoints that need no meaning."""
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        nn.init.normal_(self.text_projection, std=self.text_projection.shape[0] ** -0.5)
        _initialize_transformer(self.transformer)
        if isinstance(self.visual, VisionTransformer):
            scale = self.visual.proj.shape[0] ** -0.5
            for parameter in (
                self.visual.class_embedding,
                self.visual.positional_embedding,
                self.visual.proj,
            ):
                nn.init.normal_(parameter, std=scale)
            _initialize_transformer(self.visual.transformer)
        elif isinstance(self.visual, ModifiedResNet):
            _initialize_resnet(self.visual)
        return self


def to_precision(module: nn.Module, dtype: torch.dtype) -> None:
    """A CLIP's part in `dtype`, but its norms and its evidence in float32."""
    module.to(dtype)
    for part in module.modules():
        if isinstance(part, nn.LayerNorm | nn.BatchNorm2d | EvidenceTest):
            part.float()


def _initialize_transformer(transformer: Transformer) -> None:
    """Residual outputs start smaller the deeper the stack, so that the sum keeps its scale."""
    for block in transformer.resblocks:
        assert isinstance(block, ResidualAttentionBlock)  # ModuleList forgets it
        width = block.mlp.c_fc.in_features
        output_std = width**-0.5 * (2 * len(transformer.resblocks)) ** -0.5
        nn.init.normal_(block.attn.in_proj_weight, std=width**-0.5)
        nn.init.normal_(block.attn.out_proj.weight, std=output_std)
        nn.init.normal_(block.mlp.c_fc.weight, std=(2 * width) ** -0.5)
        nn.init.normal_(block.mlp.c_proj.weight, std=output_std)


def _initialize_resnet(resnet: ModifiedResNet) -> None:
    """Attention pool by its width; last norms at zero, so that blocks start as their shortcut."""
    pool = resnet.attnpool
    std = pool.c_proj.in_features**-0.5
    nn.init.normal_(pool.positional_embedding, std=std)
    for linear in (pool.q_proj, pool.k_proj, pool.v_proj, pool.c_proj):
        nn.init.normal_(linear.weight, std=std)
    for stage in (resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4):
        for block in stage:
            assert isinstance(block, Bottleneck)  # Sequential forgets it
            nn.init.zeros_(block.bn3.weight)
