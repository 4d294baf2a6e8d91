"""Which pairs each step learns from, read ahead of it.

Everything is drawn from the seed, the epoch and the pair's number: neither the number of threads
or processes nor a pause between two steps changes what is seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clipcli.errors import NothingReadError, PhotoError
from clipcli.models.tokenizer import clip_tokenizer
from clipcli.records import Failure
from clipcli.training.crops import Pictures
from clipcli.training.distributed import Processes
from clipcli.training.gradient import Batch
from clipcli.training.pairs import Pair

N_BATCHES_AHEAD = 2

Item = TypeVar("Item")
Read = TypeVar("Read")


@dataclass(frozen=True)
class Plan:
    """The order of all pairs, of which each epoch leaves out what does not fill a batch."""

    n_pairs: int
    batch_size: int
    n_epochs: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        return self.n_pairs // self.batch_size

    @property
    def n_steps(self) -> int:
        return self.n_epochs * self.steps_per_epoch

    def batch(self, step: int) -> NDArray[np.int64]:
        """Numbers of the pairs of a step, in all processes together."""
        epoch, position = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng([self.seed, epoch]).permutation(self.n_pairs)
        return order[position * self.batch_size :][: self.batch_size]


def read_ahead(
    groups: Iterable[Sequence[Item]], read: Callable[[Item], Read], n_threads: int
) -> Generator[list[Read]]:
    """What `read` makes of each item, group by group, up to two of them being read ahead."""
    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="decode")
    ahead: deque[list[Future[Read]]] = deque()
    try:
        for group in groups:
            ahead.append([pool.submit(read, item) for item in group])
            if len(ahead) > N_BATCHES_AHEAD:
                yield [future.result() for future in ahead.popleft()]
        while ahead:
            yield [future.result() for future in ahead.popleft()]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class Captions:
    """Every caption as tokens, numbered; captions of the same tokens are the same caption.

    Raises TextTooLongError as `Tokenizer.rows` does.
    """

    def __init__(self, pairs: Sequence[Pair], context_length: int, truncate: bool) -> None:
        texts = list(dict.fromkeys(text for pair in pairs for text in pair.captions))
        rows = map(tuple, clip_tokenizer().rows(texts, context_length, truncate))
        numbers: dict[tuple[int, ...], int] = {}
        self._number = {
            text: numbers.setdefault(row, len(numbers))
            for text, row in zip(texts, rows, strict=True)
        }
        self._rows = [np.array(row) for row in numbers]

    @property
    def n_distinct(self) -> int:
        return len(self._rows)

    def number(self, text: str) -> int:
        return self._number[text]

    def meaning(self, pair: Pair, text: str) -> int:
        """The number of what stands for this caption when it is compared with others."""
        return self._number[pair.captions[0] if pair.is_label else text]

    def tokens(self, numbers: NDArray[np.int64]) -> Tensor:
        """int64 [n, longest], zeros behind the end marks."""
        rows = [self._rows[number] for number in numbers]
        padded = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
        for line, row in zip(padded, rows, strict=True):
            line[: len(row)] = row
        return torch.from_numpy(padded)


@dataclass
class Batches:
    """Draws and reads the batches of a plan. `on_failure` hears once of each unreadable file,
    whose batches are smaller by one."""

    pairs: Sequence[Pair]
    captions: Captions
    pictures: Pictures
    plan: Plan
    processes: Processes
    on_failure: Callable[[Failure], None]
    _failed: set[int] = field(default_factory=set, init=False)

    def read(self, steps: range, n_threads: int) -> Generator[Batch]:
        """This process's share of each step, up to two of them being read ahead.

        Its pictures are uint8 [n, px, px, 3], not yet normalised.
        """
        with closing(read_ahead(map(self._share, steps), self._draw, n_threads)) as batches:
            for drawn in batches:
                yield self._batch(drawn)

    def _share(self, step: int) -> list[tuple[int, int]]:
        """Epoch and number of each pair of a step that is this process's."""
        shares = np.array_split(self.plan.batch(step), self.processes.size)
        epoch = step // self.plan.steps_per_epoch
        return [(epoch, int(number)) for number in shares[self.processes.rank]]

    def _draw(self, of_epoch: tuple[int, int]) -> DrawnPair:
        epoch, number = of_epoch
        pair = self.pairs[number]
        chance = np.random.default_rng([self.plan.seed, epoch, number])
        text = pair.captions[int(chance.integers(len(pair.captions)))]
        caption, meaning = self.captions.number(text), self.captions.meaning(pair, text)
        try:
            return DrawnPair(number, caption, meaning, self.pictures.square(number, chance))
        except PhotoError as error:
            return DrawnPair(number, caption, meaning, None, str(error))

    def _batch(self, drawn: list[DrawnPair]) -> Batch:
        for one in drawn:
            if one.pixels is None and one.number not in self._failed:
                self._failed.add(one.number)
                self.on_failure(Failure(self.pairs[one.number].path, one.error))
        squares = [one.pixels for one in drawn if one.pixels is not None]
        if not squares:
            raise NothingReadError(f"not one of a batch's {len(drawn)} photographs can be read")
        read = [one for one in drawn if one.pixels is not None]
        distinct, rows = np.unique([one.caption for one in read], return_inverse=True)
        return Batch(
            torch.from_numpy(np.stack(squares)),
            self.captions.tokens(distinct),
            torch.from_numpy(rows),
            torch.tensor([one.meaning for one in read]),
        )


@dataclass(frozen=True)
class DrawnPair:
    """A pair as one epoch sees it: a square uint8 [px, px, 3] and a caption, or an error."""

    number: int
    caption: int
    meaning: int
    pixels: NDArray[np.uint8] | None
    error: str = ""
