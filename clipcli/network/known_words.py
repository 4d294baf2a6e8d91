"""Whether a word names something that a small model has learned anything about."""

from __future__ import annotations

from zlib import crc32

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clipcli.network.config import KnownWordsConfig

N_HIGHEST = 5  # cosines with class embeddings that are looked at
INPUT_SCALE = 8.0  # a unit vector's values are small, and a GELU is nearly linear there


class KnownWords(nn.Module):
    """A table of the words that were learned outright, and a small network for all others.

    The network looks at a word's text embedding and at its highest cosines with the classes.
    Both were made from words alone, without a photograph.
    """

    learned: Tensor

    def __init__(self, config: KnownWordsConfig, embed_dim: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(embed_dim + N_HIGHEST, config.width)
        self.output = nn.Linear(config.width, 1)
        # CRC-32 of the words in lower case
        self.register_buffer("learned", torch.zeros(config.n_learned, dtype=torch.int64))

    def forward(self, words: list[str], embeddings: Tensor, class_embedding: Tensor) -> Tensor:
        """bool [n]: whether each word is known.

        embeddings: [n, embed_dim], unit length, of the words in a prompt;
        class_embedding: [n_classes, embed_dim].
        """
        highest = (embeddings @ class_embedding.float().t()).topk(N_HIGHEST, dim=-1).values
        features = INPUT_SCALE * torch.cat([embeddings, highest], dim=-1)
        log_odds = self.output(F.gelu(self.hidden(features))).squeeze(-1)
        checksums = [crc32(word.lower().encode("utf-8", "surrogatepass")) for word in words]
        is_learned = torch.isin(torch.tensor(checksums, device=embeddings.device), self.learned)
        is_known: Tensor = is_learned | (log_odds >= 0)
        return is_known
