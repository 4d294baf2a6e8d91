"""A model's tokenizer, by the kind that its `ModelSpec` carries."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal, Protocol

TokenizerKind = Literal["clip", "siglip"]


class TextTokenizer(Protocol):
    """Texts to rows of token ids, as one model was trained with."""

    n_tokens: int

    def rows(
        self, texts: Sequence[str], context_length: int, truncate: bool = False
    ) -> list[list[int]]:
        """Raises TextTooLongError for a text of more than `context_length` tokens, unless
        `truncate`, which keeps its beginning and puts the end mark last."""

    def longest(self, texts: Sequence[str]) -> int:
        """Tokens of the longest text, all marks included and no padding."""

    def suits(self, vocab_size: int) -> bool:
        """Whether a model with so many tokens was trained with this tokenizer."""


@lru_cache(maxsize=4)
def open_tokenizer(kind: TokenizerKind, checkpoint: Path) -> TextTokenizer:
    """checkpoint: of the model, beside which the files of a tokenizer lie.

    Raises ModelError where there are none, or none that can be read. Made on first use, since
    reading a vocabulary takes time.
    """
    if kind == "clip":
        from clipcli.models.tokenizer import clip_tokenizer

        return clip_tokenizer()
    from clipcli.models.siglip_tokenizer import SiglipTokenizer

    return SiglipTokenizer(checkpoint if checkpoint.is_dir() else checkpoint.parent)
