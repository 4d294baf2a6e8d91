"""What `config.json` or `open_clip_config.json` beside the weights says that shapes cannot.

A key that would change the embeddings and is not known here is refused, never ignored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipcli.errors import CheckpointError
from clipcli.models.checkpoint.shapes import ShapeError
from clipcli.network.config import ClipConfig, EfficientNetLiteConfig
from clipcli.photos.preprocess import CLIP_MEAN, CLIP_STD, PreprocessConfig, Resample
from clipcli.records import Activation

CONFIG_LIMIT_BYTES = 1_000_000

_HF_ACTIVATIONS: dict[str, Activation] = {"quick_gelu": "quickgelu", "gelu": "gelu"}
_HF_RESAMPLE: dict[int, Resample] = {2: "bilinear", 3: "bicubic"}
_OPEN_CLIP_VISION_KEYS = {"image_size", "layers", "width", "head_width", "patch_size", "mlp_ratio"}
_OPEN_CLIP_TEXT_KEYS = {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio"}


@dataclass(frozen=True)
class Description:
    """What a config file says. `expected` must match the shapes, which cannot show the rest."""

    source: str
    activation: Activation
    vision_heads: int
    text_heads: int
    expected: Mapping[str, object]
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    resample: Resample = "bicubic"
    px: int | None = None

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
        if self.px not in (None, px):
            raise ShapeError(f"pictures are prepared at {self.px} pixels, the shapes need {px}")
        return PreprocessConfig(px, self.mean, self.std, self.resample)


def read_beside(weights_path: Path) -> Description | None:
    """The description in the folder of a weights file, or None where there is none."""
    for name, describe in (("open_clip_config.json", _open_clip), ("config.json", _hugging_face)):
        path = weights_path.with_name(name)
        if path.is_file():
            try:
                return describe(_read_json(path), path)
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                raise CheckpointError(
                    f"{path}: {type(error).__name__}: {error}; expected the configuration of a"
                    " CLIP as Hugging Face or open_clip writes it"
                ) from error
    return None


def _hugging_face(config: dict[str, Any], path: Path) -> Description:
    if config.get("model_type") != "clip":
        raise CheckpointError(
            f"{path}: model_type is {config.get('model_type')!r}; expected 'clip' (CLIPModel)"
        )
    vision, text = config["vision_config"], config["text_config"]
    activations = {tower.get("hidden_act", "quick_gelu") for tower in (vision, text)}
    if len(activations) != 1 or not activations <= _HF_ACTIVATIONS.keys():
        raise CheckpointError(
            f"{path}: hidden_act is {', '.join(sorted(map(str, activations)))}; expected"
            " quick_gelu or gelu in both towers"
        )
    for tower in (vision, text):
        if tower.get("layer_norm_eps", 1e-5) != 1e-5:
            raise CheckpointError(
                f"{path}: layer_norm_eps is {tower['layer_norm_eps']}; expected 1e-05"
            )
    vocab_size = text.get("vocab_size", 49_408)
    # 2 is what early files say, and the library then takes the highest id, as CLIP does
    if text.get("eos_token_id", 2) not in (2, vocab_size - 1):
        raise CheckpointError(
            f"{path}: eos_token_id is {text['eos_token_id']}; expected the highest token,"
            f" {vocab_size - 1}"
        )
    preprocess = _hugging_face_preprocess(path.with_name("preprocessor_config.json"))
    return Description(
        source=path.name,
        activation=_HF_ACTIVATIONS[activations.pop()],
        vision_heads=_count(vision.get("num_attention_heads", 12)),
        text_heads=_count(text.get("num_attention_heads", 8)),
        expected={
            "embed_dim": config.get("projection_dim"),
            "image size": vision.get("image_size"),
            "vision width": vision.get("hidden_size"),
            "vision layers": vision.get("num_hidden_layers"),
            "context length": text.get("max_position_embeddings"),
            "vocabulary": text.get("vocab_size"),
            "text width": text.get("hidden_size"),
            "text layers": text.get("num_hidden_layers"),
        },
        **preprocess,
    )


def _hugging_face_preprocess(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    config = _read_json(path)
    size, crop = (_side(config.get(key)) for key in ("size", "crop_size"))
    resample = config.get("resample", 3)
    switches = ("do_resize", "do_center_crop", "do_rescale", "do_normalize")
    off = [name for name in switches if not config.get(name, True)]
    if off or size != crop or resample not in _HF_RESAMPLE:
        raise CheckpointError(
            f"{path}: resizes to {config.get('size')}, crops to {config.get('crop_size')},"
            f" resample {resample}, off: {', '.join(off) or 'nothing'}; expected one size for both,"
            " bilinear or bicubic, and every step on, as CLIP does"
        )
    return {
        "mean": triple(config.get("image_mean", CLIP_MEAN)),
        "std": triple(config.get("image_std", CLIP_STD)),
        "resample": _HF_RESAMPLE[resample],
        "px": crop,
    }


def _side(size: Any) -> int | None:
    """The one side that a size names: 224, {"shortest_edge": 224} or a square."""
    if isinstance(size, dict):
        sides = set(size.values())
        return int(sides.pop()) if len(sides) == 1 else None
    return None if size is None else int(size)


def _open_clip(config: dict[str, Any], path: Path) -> Description:
    model = config["model_cfg"]
    vision, text = model["vision_cfg"], model["text_cfg"]
    unknown = (vision.keys() - _OPEN_CLIP_VISION_KEYS) | (text.keys() - _OPEN_CLIP_TEXT_KEYS)
    unknown |= model.keys() - {"embed_dim", "quick_gelu", "vision_cfg", "text_cfg"}
    if unknown:
        raise CheckpointError(
            f"{path}: {', '.join(sorted(unknown))} is not known here; expected a CLIP with"
            " open_clip's own towers and nothing but sizes"
        )
    is_resnet = isinstance(vision["layers"], list)
    width = _count(vision.get("width", 64 if is_resnet else 768))
    head_width = _count(vision.get("head_width", 64))
    vision_heads, left_over = divmod(width * 32 if is_resnet else width, head_width)
    if left_over:
        raise ValueError(f"width {width} is no multiple of head_width {head_width}")
    if not isinstance(model.get("quick_gelu", False), bool):
        raise ValueError(f"quick_gelu is {model['quick_gelu']!r}")
    preprocess = config.get("preprocess_cfg", {})
    resize_mode = preprocess.get("resize_mode", "shortest")
    interpolation = preprocess.get("interpolation", "bicubic")
    if resize_mode != "shortest" or interpolation not in ("bicubic", "bilinear"):
        raise CheckpointError(
            f"{path}: resize_mode {resize_mode!r}, interpolation {interpolation!r}; expected"
            " 'shortest' with 'bicubic' or 'bilinear'"
        )
    return Description(
        source=path.name,
        activation="quickgelu" if model.get("quick_gelu", False) else "gelu",
        vision_heads=_count(vision_heads),
        text_heads=_count(text["heads"]),
        expected={
            "embed_dim": model["embed_dim"],
            "image size": vision["image_size"],
            "vision width": width,
            "vision layers": tuple(vision["layers"]) if is_resnet else vision["layers"],
            "context length": text.get("context_length"),
            "vocabulary": text.get("vocab_size"),
            "text width": text["width"],
            "text layers": text["layers"],
        },
        mean=triple(preprocess.get("mean", CLIP_MEAN)),
        std=triple(preprocess.get("std", CLIP_STD)),
        resample=interpolation,
    )


def _count(value: Any) -> int:
    """A whole number above zero. Raises ValueError for anything else, true included."""
    if type(value) is not int or value < 1:
        raise ValueError(f"{value!r} where a number of heads or channels is expected")
    return value


def triple(values: Any) -> tuple[float, float, float]:
    """Of each channel; `PreprocessConfig` says which numbers they may be."""
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _read_json(path: Path) -> dict[str, Any]:
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
