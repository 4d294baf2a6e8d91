"""How good a model is on held-out pairs: as it would be used, and each time on the same batches.

Nothing is drawn: a photograph is the square that `clipcli classify` sees, the loss compares it
with the first of its captions, and models in training are left as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from clipcli.embedding.local import default_workers
from clipcli.errors import NothingReadError, PhotoError
from clipcli.network.clip import CLIP
from clipcli.photos.decode import DecodeOptions, decode
from clipcli.photos.preprocess import normalise
from clipcli.records import Failure
from clipcli.training.batches import Captions, read_ahead
from clipcli.training.loss import contrastive_loss
from clipcli.training.run import Run

Square = NDArray[np.uint8] | PhotoError


class HeldOut:
    """The held-out pairs of a run, in an order that the seed mixes once.

    `on_failure` hears once of each unreadable file, which is left out. Raises TextTooLongError.
    """

    def __init__(self, run: Run, on_failure: Callable[[Failure], None]) -> None:
        self.run, self.on_failure = run, on_failure
        context_length = run.start.model.config.text.context_length
        self.captions = Captions(run.candidates, context_length, run.settings.truncate)
        self._failed: set[int] = set()

    def measure(self, model: CLIP) -> tuple[float, float]:
        """The contrastive loss, a mean over photographs in batches as equal as can be; and the
        share of photographs whose nearest caption of all is one of their own.

        In every process, which reads its share and gets the whole result. Raises NothingReadError.
        """
        with _in_use(model), torch.no_grad():
            texts = self._texts(model)
            numbers, images = self._images(model)
            if not len(numbers):
                raise NothingReadError("not one photograph of --validate can be read")
            return self._loss(model, images, texts, numbers), self._recall(images, texts, numbers)

    def _texts(self, model: CLIP) -> Tensor:
        """Unit embeddings of all captions by number, float32 [n_captions, d]."""
        own = [self._no_embedding(model)]
        for numbers in self._parts_of_share(np.arange(self.captions.n_distinct)):
            own.append(self._encoded(model.encode_text, self.captions.tokens(numbers)))
        return torch.cat(self.run.processes.joined(torch.cat(own)))

    def _images(self, model: CLIP) -> tuple[list[int], Tensor]:
        """Numbers of the photographs that can be read, and unit embeddings, float32 [n, d]."""
        mixed = np.random.default_rng(self.run.settings.seed).permutation(len(self.run.held_out))
        parts = [part.tolist() for part in self._parts_of_share(mixed)]
        n_threads = self.run.n_threads or default_workers()
        own = [self._no_embedding(model)]
        read: list[int] = []
        with closing(read_ahead(parts, self._square, n_threads)) as squares_of_parts:
            for part, squares in zip(parts, squares_of_parts, strict=True):
                good = self._good(part, squares)
                if good:
                    pictures = torch.from_numpy(np.stack(list(good.values())))
                    pictures = normalise(
                        pictures.to(self.run.precision.device), self.run.start.preprocess
                    )
                    own.append(self._encoded(model.encode_image, pictures))
                    read.extend(good)
        numbers = torch.tensor(read, dtype=torch.int64, device=self.run.precision.device)
        joined = torch.cat(self.run.processes.joined(numbers))
        return joined.tolist(), torch.cat(self.run.processes.joined(torch.cat(own)))

    def _parts_of_share(self, numbers: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """This process's share of the numbers, a micro-batch at a time."""
        share = np.array_split(numbers, self.run.processes.size)[self.run.processes.rank]
        for start in range(0, len(share), self.run.settings.micro_batch):
            yield share[start : start + self.run.settings.micro_batch]

    def _square(self, number: int) -> Square:
        try:
            return decode(
                self.run.held_out[number].path, self.run.start.preprocess, DecodeOptions()
            ).pixels
        except PhotoError as error:
            return error

    def _good(self, numbers: list[int], squares: list[Square]) -> dict[int, NDArray[np.uint8]]:
        good = {}
        for number, square in zip(numbers, squares, strict=True):
            if not isinstance(square, PhotoError):
                good[number] = square
            elif number not in self._failed:
                self._failed.add(number)
                self.on_failure(Failure(self.run.held_out[number].path, str(square)))
        return good

    def _encoded(self, encode: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
        with self.run.precision.autocast():
            encoded = encode(inputs.to(self.run.precision.device)).float()
        return F.normalize(encoded, dim=-1)

    def _no_embedding(self, model: CLIP) -> Tensor:
        """float32 [0, d]: all that a process has whose share is empty."""
        return torch.zeros(0, model.config.embed_dim, device=self.run.precision.device)

    def _loss(self, model: CLIP, images: Tensor, texts: Tensor, numbers: list[int]) -> float:
        pairs = [self.run.held_out[number] for number in numbers]
        firsts = [pair.captions[0] for pair in pairs]
        rows = torch.tensor([self.captions.number(text) for text in firsts])
        meanings = torch.tensor(
            [self.captions.meaning(pair, text) for pair, text in zip(pairs, firsts, strict=True)]
        )
        n_batches = max(1, round(len(pairs) / self.run.settings.batch_size))
        total = 0.0
        for batch in torch.tensor_split(torch.arange(len(pairs)), n_batches):
            loss = contrastive_loss(
                images[batch],
                texts[rows[batch]],
                model.logit_scale,
                meanings[batch].to(images.device),
            )
            total += len(batch) * float(loss)
        return total / len(pairs)

    def _recall(self, images: Tensor, texts: Tensor, numbers: list[int]) -> float:
        meaning = {
            self.captions.number(text): self.captions.meaning(pair, text)
            for pair in self.run.candidates
            for text in pair.captions
        }
        nearest = torch.cat(
            [
                (some @ texts.t()).argmax(dim=1)
                for some in torch.split(images, self.run.settings.micro_batch)
            ]
        )
        n_right = 0
        for number, caption in zip(numbers, nearest.tolist(), strict=True):
            pair = self.run.held_out[number]
            own = {self.captions.meaning(pair, text) for text in pair.captions}
            n_right += meaning[caption] in own
        return n_right / len(numbers)


@contextmanager
def _in_use(model: nn.Module) -> Iterator[None]:
    """Batch norms use what they have learnt, and learn nothing; afterwards as before, where a
    frozen tower differs from the rest."""
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, was_training in before:
            module.training = was_training
