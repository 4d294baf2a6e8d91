"""What a configuration beside the weights says that their shapes cannot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipcli.errors import CheckpointError
from clipcli.models.checkpoint.shapes import ShapeError, Unseen
from clipcli.network.config import ClipConfig, EfficientNetLiteConfig
from clipcli.photos.preprocess import CLIP_MEAN, CLIP_STD, PreprocessConfig, Resample, ResizeRule
from clipcli.records import Activation

CONFIG_LIMIT_BYTES = 1_000_000


@dataclass(frozen=True)
class Seen:
    """How pictures are prepared; px where the file says it."""

    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    resample: Resample = "bicubic"
    rule: ResizeRule = "shortest"
    px: int | None = None


@dataclass(frozen=True)
class Description:
    """What a config file says. `expected` must match the shapes, which cannot show the rest."""

    source: str
    unseen: Unseen
    expected: Mapping[str, object]
    seen: Seen

    @property
    def activation(self) -> Activation:
        return self.unseen.vision.activation

    def check(self, config: ClipConfig) -> None:
        """Raises ShapeError where the file says something else than the shapes."""
        assert not isinstance(config.vision, EfficientNetLiteConfig)  # it has no config file
        found: dict[str, object] = {
            "embed_dim": config.embed_dim,
            "image size": config.vision.px,
            "context length": config.text.context_length,
            "vocabulary": config.text.vocab_size,
            "text width": config.text.transformer.width,
            "vision width": config.vision.width,
            "text layers": config.text.transformer.layers,
            "vision layers": config.vision.layers,
        }
        for name, value in self.expected.items():
            if value is not None and value != found[name]:
                raise ShapeError(f"{self.source} says {name} {value}, the shapes {found[name]}")

    def preprocess(self, px: int) -> PreprocessConfig:
        if self.seen.px not in (None, px):
            raise ShapeError(
                f"pictures are prepared at {self.seen.px} pixels, the shapes need {px}"
            )
        seen = self.seen
        return PreprocessConfig(px, seen.mean, seen.std, seen.resample, rule=seen.rule)


def count(value: Any) -> int:
    """A whole number above zero. Raises ValueError for anything else, true included."""
    if type(value) is not int or value < 1:
        raise ValueError(f"{value!r} where a number of heads or channels is expected")
    return value


def triple(values: Any) -> tuple[float, float, float]:
    """Of each channel; `PreprocessConfig` says which numbers they may be."""
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def norm_eps(value: Any) -> float:
    """What a norm adds to the variance. Raises ValueError for what no model was trained with."""
    if not isinstance(value, float) or not 1e-12 <= value <= 1e-2:
        raise ValueError(f"a norm's eps is {value!r}; expected 1e-12 to 0.01")
    return value


def read_json(path: Path) -> dict[str, Any]:
    """Raises CheckpointError for what is no object of JSON."""
    if path.stat().st_size > CONFIG_LIMIT_BYTES:
        raise CheckpointError(
            f"{path}: {path.stat().st_size:,} bytes; expected at most {CONFIG_LIMIT_BYTES:,}"
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: {error}; expected a file of JSON") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path}: a {type(config).__name__}; expected an object of JSON")
    return config
