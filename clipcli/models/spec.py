"""What is known of a model without opening it: a warm run needs neither its file nor torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from clipcli.photos.preprocess import PreprocessConfig
from clipcli.records import Activation, Precision


@dataclass(frozen=True)
class ModelSpec:
    """A model, where it runs and how; picklable, and enough to open it again.

    name: as the user called it; path: of its checkpoint; fingerprint: SHA-256 of its tensors,
    architecture and preprocessing; device and precision: what was chosen, never "auto".
    `judges_words`: it can tell labels that it has no evidence for.
    """

    name: str
    path: str
    activation: Activation | None
    fingerprint: str
    preprocess: PreprocessConfig
    embed_dim: int
    context_length: int
    logit_scale: float
    judges_words: bool
    device: str
    precision: Precision

    def named(self, name: str) -> ModelSpec:
        """The same model under another name."""
        return replace(self, name=name)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """Raises ValueError, KeyError or TypeError for a text that is none."""
        fields: dict[str, Any] = json.loads(text)
        seen: dict[str, Any] = fields.pop("preprocess")
        for name in ("mean", "std"):
            seen[name] = tuple(seen[name])
        return cls(preprocess=PreprocessConfig(**seen), **fields)
