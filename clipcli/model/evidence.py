"""Whether a text names something that a small model has learned anything about."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

INPUT_SCALE = 8.0  # brings the parts of a unit vector near the width of a GELU


class EvidenceTest(nn.Module):
    """Unit text embeddings [n, embed_dim] -> log odds [n]; fitted on words, positive is known."""

    def __init__(self, embed_dim: int, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(embed_dim, width)
        self.output = nn.Linear(width, 1)

    def forward(self, embeddings: Tensor) -> Tensor:
        log_odds: Tensor = self.output(F.gelu(self.hidden(INPUT_SCALE * embeddings)))
        return log_odds.squeeze(-1)
