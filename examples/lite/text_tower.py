"""The text side on its own while it is trained: clipcli's transformer, under the published keys."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clipcli.models.tokenizer import CONTEXT_LENGTH
from clipcli.network.config import TransformerConfig
from clipcli.network.transformer import LayerNorm, Transformer

N_TOKENS, LAYERS, HEADS = 49_408, 4, 4
TOKEN_STD = 0.05  # of the token table at the start


class TextTower(nn.Module):
    """Token rows -> unit embeddings; the keys of a CLIP without `visual` and `logit_scale`."""

    def __init__(self, width: int, embed_dim: int) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(N_TOKENS, width)
        self.positional_embedding = nn.Parameter(0.01 * torch.randn(CONTEXT_LENGTH, width))
        self.transformer = Transformer(
            TransformerConfig(width, LAYERS, HEADS, 4 * width, "gelu"), causal=True
        )
        self.ln_final = LayerNorm(width)
        self.text_projection = nn.Parameter(width**-0.5 * torch.randn(width, embed_dim))
        for block in self.transformer.resblocks:
            nn.init.normal_(block.attn.in_proj_weight, std=width**-0.5)
            nn.init.normal_(block.mlp.c_fc.weight, std=width**-0.5)
            for output in (block.attn.out_proj, block.mlp.c_proj):
                nn.init.normal_(output.weight, std=(2 * LAYERS * width) ** -0.5)
            for linear in (block.attn.out_proj, block.mlp.c_fc, block.mlp.c_proj):
                nn.init.zeros_(linear.bias)

    @torch.no_grad()
    def start_tokens(self, vectors: Tensor) -> None:
        """Start the token table from the principal components of the tokens' strings' vectors.

        vectors: [n <= n_tokens, d]. A word that no text holds thus begins near words of like
        meaning.
        """
        width = self.token_embedding.embedding_dim
        centred = vectors.float() - vectors.float().mean(0)
        _, basis = torch.linalg.eigh(centred.t() @ centred)  # ascending
        components = centred @ basis[:, -width:]
        table = self.token_embedding.weight
        table.normal_(std=TOKEN_STD)
        table[: len(components)] = components * (TOKEN_STD / components.std())

    def forward(self, rows: list[list[int]], n_chunks: int = 5) -> Tensor:
        """Unpadded token rows -> [n, embed_dim], unit length; rows of like length run together."""
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        size = -(-len(rows) // n_chunks)
        chunks = [
            _padded([rows[i] for i in order[start : start + size]])
            for start in range(0, len(rows), size)
        ]
        # one look-up for all chunks: the gradient of the token table is as large as the table,
        # and is made once
        looked_up = self.token_embedding(torch.cat([tokens.flatten() for tokens in chunks]))
        parts = looked_up.split([tokens.numel() for tokens in chunks])
        embeddings = torch.cat(
            [self._encode(tokens, part) for tokens, part in zip(chunks, parts, strict=True)]
        )
        return F.normalize(embeddings.float()[torch.tensor(order).argsort()], dim=-1)

    def _encode(self, tokens: Tensor, looked_up: Tensor) -> Tensor:
        """tokens [n, length]; looked_up [n * length, width] -> [n, embed_dim]."""
        n, length = tokens.shape
        x = looked_up.view(n, length, -1) + self.positional_embedding[:length]
        x = self.transformer(x)
        ends = tokens.argmax(dim=-1)  # the end mark has the highest id
        return self.ln_final(x[torch.arange(n), ends]) @ self.text_projection


def _padded(rows: list[list[int]]) -> Tensor:
    """int64 [n, longest], zeros behind the end marks."""
    longest = max(map(len, rows))
    return torch.tensor([row + [0] * (longest - len(row)) for row in rows])
