"""What is known of a model without opening it: a run that encodes nothing new needs no torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from clipcli.models.score import Score
from clipcli.models.text_tokens import TokenizerKind
from clipcli.photos.preprocess import PreprocessConfig
from clipcli.records import Activation, MadeBy, Precision

N_FOR_A_CORE = 16  # photographs at once; more are no faster
MOST_ON_A_CPU = 256
N_COMPILED_AT_ONCE = 256  # photographs, where finding out would mean compiling twice
MOST_ENGLISH_TOKENS = 100_000  # CLIP's are 49,408, SigLIP's 32,000, those of many tongues 250,000
MOST_PIXEL_BYTES = 100_000_000  # of a batch: 256 squares of 336 pixels, or 31 of 1,024


@dataclass(frozen=True)
class ModelSpec:
    """A model, where it runs and how; picklable, and enough for `Encoder.from_spec`.

    name: as the user called it; path: of its checkpoint; fingerprint: `Model.fingerprint`;
    tokenizer: what `text_tokens.open_tokenizer` takes; judges_words: it can tell which labels it
    does not know; device and precision: what was chosen, never "auto"; compiled: by torch.compile;
    vocab_size: of its texts.
    """

    name: str
    path: str
    activation: Activation | None
    fingerprint: str
    preprocess: PreprocessConfig
    tokenizer: TokenizerKind
    score: Score
    embed_dim: int
    context_length: int
    judges_words: bool
    device: str
    precision: Precision
    compiled: bool = False
    vocab_size: int = 49_408

    @property
    def is_multilingual(self) -> bool:
        """Whether it was trained with texts of many languages."""
        return self.vocab_size > MOST_ENGLISH_TOKENS

    def batch_size(self, n_cores: int) -> int | None:
        """Photographs to encode at once where the user does not say.

        None on CUDA, where the open model says it: `Encoder.default_batch_size`.
        """
        if self.device.startswith("cuda"):
            return None
        if self.device == "cpu" and not self.compiled:
            return self.bounded(min(N_FOR_A_CORE * n_cores, MOST_ON_A_CPU))
        return self.bounded(N_COMPILED_AT_ONCE)

    def bounded(self, n_photos: int) -> int:
        """So many, or what MOST_PIXEL_BYTES hold of this model's squares, but one at least."""
        return max(1, min(n_photos, MOST_PIXEL_BYTES // (3 * self.preprocess.px**2)))

    def named(self, name: str) -> ModelSpec:
        """The same model under another name."""
        return replace(self, name=name)

    def made_by(self, preprocessing: str) -> MadeBy:
        """The provenance of its embeddings; preprocessing: as `DecodeOptions.name`."""
        return MadeBy(self.name, self.fingerprint, self.precision, preprocessing)

    def to_json(self) -> str:
        return json.dumps(asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """Raises ValueError, KeyError or TypeError for a text that is none."""
        fields: dict[str, Any] = json.loads(text)
        seen: dict[str, Any] = fields.pop("preprocess")
        for name in ("mean", "std"):
            seen[name] = tuple(seen[name])
        score = Score(**fields.pop("score"))
        return cls(preprocess=PreprocessConfig(**seen), score=score, **fields)
