"""Text to token ids: lower-cased byte-pair encoding with CLIP's 49,408 entries (paper, 2.4).

The merges are those of CLIP's `bpe_simple_vocab_16e6.txt.gz`, kept in `clipcli/models/vocabulary`.
"""

from __future__ import annotations

import gzip
import html
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from itertools import pairwise
from typing import TYPE_CHECKING

import ftfy
import regex

from clipcli.errors import TextTooLongError

if TYPE_CHECKING:
    import torch

CONTEXT_LENGTH = 77
START_OF_TEXT = "<|startoftext|>"
END_OF_TEXT = "<|endoftext|>"
N_MERGES = 49_152 - 256 - 2  # what the published vocabulary uses of the longer merges file

_WORD = regex.compile(
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+",
    regex.IGNORECASE,
)
_SPACES = regex.compile(r"\s+")


class Tokenizer:
    """Byte-pair encoding over a fixed list of merges, best merge first."""

    def __init__(self, merges: Sequence[tuple[str, str]]) -> None:
        self._byte_symbols = _byte_symbols()
        symbols = list(self._byte_symbols.values())
        vocabulary = [*symbols, *(symbol + "</w>" for symbol in symbols)]
        vocabulary += ["".join(merge) for merge in merges]
        vocabulary += [START_OF_TEXT, END_OF_TEXT]
        self._ids = {symbol: token for token, symbol in enumerate(vocabulary)}
        self._ranks = {merge: rank for rank, merge in enumerate(merges)}
        self._word_tokens = lru_cache(maxsize=65_536)(self._encode_word)
        self.start_token = self._ids[START_OF_TEXT]
        self.end_token = self._ids[END_OF_TEXT]
        self.n_tokens = len(vocabulary)

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`, without the start and end marks."""
        clean = html.unescape(html.unescape(ftfy.fix_text(text)))
        clean = _SPACES.sub(" ", clean).strip().lower()
        return [token for word in _WORD.findall(clean) for token in self._word_tokens(word)]

    def rows(
        self, texts: Sequence[str], context_length: int = CONTEXT_LENGTH, truncate: bool = False
    ) -> list[list[int]]:
        """Each text's token ids with start and end marks, not padded.

        Raises TextTooLongError for a text of more than `context_length` tokens, unless `truncate`,
        which keeps its beginning and puts the end mark last.
        """
        rows = ([self.start_token, *self.encode(text), self.end_token] for text in texts)
        return [
            cut(row, text, context_length, truncate) for row, text in zip(rows, texts, strict=True)
        ]

    def longest(self, texts: Sequence[str]) -> int:
        """Tokens of the longest text, its start and end marks included."""
        return max(2 + len(self.encode(text)) for text in texts)

    def suits(self, vocab_size: int) -> bool:
        """Whether a model with so many tokens was trained with this tokenizer."""
        return vocab_size == self.n_tokens

    def _encode_word(self, word: str) -> tuple[int, ...]:
        if word in (START_OF_TEXT, END_OF_TEXT):
            return (self._ids[word],)
        symbols = [self._byte_symbols[byte] for byte in word.encode("utf-8")]
        symbols[-1] += "</w>"
        while len(symbols) > 1:
            best = min(pairwise(symbols), key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if best not in self._ranks:
                break
            symbols = _merge(symbols, best)
        return tuple(self._ids[symbol] for symbol in symbols)


def _merge(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    """`symbols` with every occurrence of `pair`, from the left, joined into one symbol."""
    merged: list[str] = []
    position = 0
    while position < len(symbols):
        if tuple(symbols[position : position + 2]) == pair:
            merged.append(pair[0] + pair[1])
            position += 2
        else:
            merged.append(symbols[position])
            position += 1
    return merged


def _byte_symbols() -> dict[int, str]:
    """One printable character for each byte, so that merges can be stored as text lines.

    Bytes that print as themselves in Latin-1 come first; the rest follow from U+0100 on.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    printable += range(ord("®"), ord("ÿ") + 1)
    symbols = {byte: chr(byte) for byte in printable}
    others = [byte for byte in range(256) if byte not in symbols]
    return symbols | {byte: chr(256 + index) for index, byte in enumerate(others)}


def cut(row: list[int], text: str, context_length: int, truncate: bool) -> list[int]:
    """At most `context_length` tokens of `row`, the last one still its end mark.

    Raises TextTooLongError for more, unless `truncate`.
    """
    if len(row) <= context_length:
        return row
    if not truncate:
        raise TextTooLongError(
            f"{shortened(text)} has {len(row)} tokens, the model's context holds {context_length};"
            " shorten it, or pass --truncate (truncate=True) to use its beginning"
        )
    return [*row[: context_length - 1], row[-1]]


def shortened(text: str) -> str:
    """`text` quoted for a message, at most 60 characters of it."""
    return repr(text if len(text) <= 60 else text[:59] + "…")


@lru_cache(maxsize=1)
def clip_tokenizer() -> Tokenizer:
    """The tokenizer of the published models."""
    file = files("clipcli.models") / "vocabulary/bpe_simple_vocab_16e6.txt.gz"
    lines = gzip.decompress(file.read_bytes()).decode("utf-8").split("\n")[1 : N_MERGES + 1]
    return Tokenizer([(first, second) for first, second in (line.split() for line in lines)])


def tokenize(
    texts: str | Sequence[str], context_length: int = CONTEXT_LENGTH, truncate: bool = False
) -> torch.Tensor:
    """Token ids of one or several texts: int64 [n_texts, context_length], padded with zeros.

    Raises TextTooLongError as `Tokenizer.rows` does.
    """
    import torch  # not needed to import this module, and seconds to import

    several = [texts] if isinstance(texts, str) else texts
    rows = clip_tokenizer().rows(several, context_length, truncate)
    tokens = torch.zeros(len(rows), context_length, dtype=torch.int64)
    for index, row in enumerate(rows):
        tokens[index, : len(row)] = torch.tensor(row)
    return tokens
