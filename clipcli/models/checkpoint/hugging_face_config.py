"""`config.json` and `preprocessor_config.json` of Hugging Face's CLIPModel and SiglipModel.

Both are sparse: what is absent has the library's defaults.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clipcli.errors import CheckpointError
from clipcli.models.checkpoint.description import (
    Description,
    Seen,
    count,
    norm_eps,
    read_json,
    triple,
)
from clipcli.models.checkpoint.shapes import Tower, Unseen
from clipcli.photos.preprocess import CLIP_MEAN, CLIP_STD, Resample
from clipcli.records import Activation

_ACTIVATIONS: dict[str, Activation] = {
    "quick_gelu": "quickgelu",
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
}
_RESAMPLE: dict[int, Resample] = {2: "bilinear", 3: "bicubic"}
_HALF = (0.5, 0.5, 0.5)
_OF_BOTH: dict[str, object] = {"image size": 224, "vision width": 768}
_OF_BOTH |= {"vision layers": 12, "text layers": 12}
_CLIP_DEFAULTS = _OF_BOTH | {"context length": 77, "vocabulary": 49_408, "text width": 512}
_SIGLIP_DEFAULTS = _OF_BOTH | {"context length": 64, "vocabulary": 32_000, "text width": 768}


def describe(config: dict[str, Any], path: Path) -> Description:
    """Raises CheckpointError for a model that is not built here, and for what it has no place."""
    model_type = config.get("model_type")
    if model_type == "clip":
        return _clip(config, path)
    if model_type == "siglip":
        return _siglip(config, path)
    if model_type == "siglip2":
        raise CheckpointError(
            f"{path}: model_type is 'siglip2', a NaFlex model, which takes pictures of any shape;"
            " expected a SigLIP 2 of a fixed size, whose model_type is 'siglip'"
        )
    if model_type is None and "architecture" in config:
        raise CheckpointError(
            f"{path}: timm's {config['architecture']}, an image encoder alone; expected a CLIP:"
            " open_clip_config.json, or a config.json whose model_type is 'clip' or 'siglip'"
        )
    raise CheckpointError(
        f"{path}: model_type is {model_type!r}; expected 'clip' (CLIPModel) or 'siglip'"
        " (SiglipModel)"
    )


def _clip(config: dict[str, Any], path: Path) -> Description:
    vision, text = config.get("vision_config", {}), config.get("text_config", {})
    vocab_size = text.get("vocab_size", 49_408)
    end = text.get("eos_token_id", 49_407)
    unseen = Unseen(
        vision=_tower(vision, path, heads=12, activation="quick_gelu", eps=1e-5),
        text=_tower(text, path, heads=8, activation="quick_gelu", eps=1e-5),
        # 2 is what early files say, and the library then takes the highest token, as CLIP does
        end_token=None if end in (2, vocab_size - 1) else _token(end, vocab_size),
    )
    seen = _seen(path, Seen())
    expected = _expected(vision, text, _CLIP_DEFAULTS)
    expected["embed_dim"] = config.get("projection_dim", 512)
    return Description(path.name, unseen, expected, seen)


def _siglip(config: dict[str, Any], path: Path) -> Description:
    vision, text = config.get("vision_config", {}), config.get("text_config", {})
    if not vision.get("vision_use_head", True):
        raise CheckpointError(f"{path}: vision_use_head is false; expected an attention pool")
    of_vision, of_text = (
        _tower(tower, path, heads=12, activation="gelu_pytorch_tanh", eps=1e-6)
        for tower in (vision, text)
    )
    unseen = Unseen(
        vision=of_vision,
        text=of_text,
        pool=of_vision,
        px=vision.get("image_size", 224),
        causal=False,
        text_pool="last",
    )
    seen = _seen(path, Seen(_HALF, _HALF, "bicubic", "squash"))
    return Description(path.name, unseen, _expected(vision, text, _SIGLIP_DEFAULTS), seen)


def _token(token: Any, vocab_size: Any) -> int:
    if count(token) >= count(vocab_size):
        raise ValueError(f"token {token} of a vocabulary of {vocab_size}")
    return int(token)


def _tower(config: dict[str, Any], path: Path, heads: int, activation: str, eps: float) -> Tower:
    name = config.get("hidden_act", activation)
    if name not in _ACTIVATIONS:
        raise CheckpointError(
            f"{path}: hidden_act is {name!r}; expected one of {', '.join(_ACTIVATIONS)}"
        )
    n_heads = count(config.get("num_attention_heads", heads))
    return Tower(n_heads, _ACTIVATIONS[name], norm_eps(config.get("layer_norm_eps", eps)))


def _expected(
    vision: dict[str, Any], text: dict[str, Any], defaults: dict[str, object]
) -> dict[str, object]:
    """What shapes must say; defaults: of the library, by our names."""
    said = {
        "image size": vision.get("image_size"),
        "vision width": vision.get("hidden_size"),
        "vision layers": vision.get("num_hidden_layers"),
        "context length": text.get("max_position_embeddings"),
        "vocabulary": text.get("vocab_size"),
        "text width": text.get("hidden_size"),
        "text layers": text.get("num_hidden_layers"),
    }
    return defaults | {name: value for name, value in said.items() if value is not None}


def _seen(config_path: Path, default: Seen) -> Seen:
    """default: what the library does for this kind of model without a file."""
    path = config_path.with_name("preprocessor_config.json")
    if not path.is_file():
        return default
    config = read_json(path)
    size, crop = (_side(config.get(key)) for key in ("size", "crop_size"))
    is_cropped = config.get("do_center_crop", default.rule == "shortest")
    resample = config.get("resample", 3)
    off = [
        name for name in ("do_resize", "do_rescale", "do_normalize") if not config.get(name, True)
    ]
    is_squashed = not is_cropped and _is_square(config.get("size"))
    if off or resample not in _RESAMPLE or not (is_squashed or (is_cropped and size == crop)):
        raise CheckpointError(
            f"{path}: resizes to {config.get('size')}, crops to {config.get('crop_size')},"
            f" resample {resample}, off: {', '.join(off) or 'nothing'}; expected one size for both,"
            " or a square and no crop, bilinear or bicubic, and every other step on"
        )
    is_half = default.mean == _HALF
    return Seen(
        triple(config.get("image_mean", _HALF if is_half else CLIP_MEAN)),
        triple(config.get("image_std", _HALF if is_half else CLIP_STD)),
        _RESAMPLE[resample],
        "squash" if is_squashed else "shortest",
        size,
    )


def _is_square(size: Any) -> bool:
    return isinstance(size, dict) and {"height", "width"} <= size.keys()


def _side(size: Any) -> int | None:
    """The one side that a size names: 224, {"shortest_edge": 224} or a square."""
    if isinstance(size, dict):
        sides = set(size.values())
        return int(sides.pop()) if len(sides) == 1 else None
    return None if size is None else int(size)
