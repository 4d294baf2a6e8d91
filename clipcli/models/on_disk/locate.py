"""A model's name or path to its files on disk. Nothing is read from them, and torch not needed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from clipcli.errors import CheckpointError, ModelError
from clipcli.models.on_disk import catalogue
from clipcli.models.on_disk.fetch import OnProgress, fetch

# what a directory may hold, in the order in which they are looked for
WEIGHTS_FILES = (
    "model.safetensors",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "pytorch_model.bin",
    "open_clip_pytorch_model.bin",
)
CONFIG_FILES = ("open_clip_config.json", "config.json", "preprocessor_config.json")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


def locate(
    name_or_path: str,
    cache_dir: str | os.PathLike[str] | None = None,
    on_progress: OnProgress | None = None,
) -> Path:
    """The checkpoint of a name or a path, downloaded if it is not on disk.

    Raises ModelError where there is neither, or where it cannot be had.
    """
    name = catalogue.model_name(name_or_path)
    if name == catalogue.LITE:
        return catalogue.lite_path()
    if name is not None:
        root = catalogue.cache_root(cache_dir)
        if on_hub := catalogue.find_on_hub(name):
            from clipcli.models.on_disk import hub  # a path or one of the nine needs none of it

            return Path(hub.fetch(on_hub, root, on_progress).folder)
        published = catalogue.find_published(name)
        assert published is not None
        return fetch(published, root, on_progress)
    path = Path(name_or_path)
    if not os.path.exists(path):
        raise ModelError(
            f"{name_or_path}: no such file and no published model; expected a path,"
            f" {catalogue.LITE} or one of {', '.join(catalogue.known_names())} or hf:ORG/NAME"
            f"{catalogue.nearest_name(name_or_path)}"
        )
    return path


def find_weights(path: Path) -> Path:
    """The file of tensors that is, or lies in, `path`. Raises CheckpointError if there is none."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise CheckpointError(f"{path}: no such file; expected a checkpoint or a directory of one")
    # in open_clip's layout a model.safetensors beside it may be timm's, an image encoder alone
    if (path / CONFIG_FILES[0]).is_file():
        names = sorted(WEIGHTS_FILES, key=lambda name: not name.startswith("open_clip"))
    else:
        names = list(WEIGHTS_FILES)
    for name in names:
        if (path / name).is_file():
            return path / name
    found = ", ".join(sorted(child.name for child in path.iterdir())[:5]) or "nothing"
    raise CheckpointError(
        f"{path}: no weights found ({found}); expected {WEIGHTS_FILES[0]} beside config.json,"
        f" or one of {', '.join(WEIGHTS_FILES[1:])}"
    )


def kind_of(weights: Path) -> Literal["archive", "safetensors"]:
    """What a file of tensors is, by its first bytes. Raises CheckpointError for anything else."""
    try:
        with weights.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise CheckpointError(f"{weights}: {error.strerror}; expected a checkpoint") from error
    if start.startswith(b"PK\x03\x04"):
        return "archive"
    if start[8:9] == b"{":  # the length of a header of JSON comes first
        return "safetensors"
    if start[:1] == b"\x80":
        raise CheckpointError(
            f"{weights}: a bare pickle, which can run code when it is read; expected .safetensors"
            " or an archive as torch.save has written since torch 1.6; save it again with one of"
            " them"
        )
    found = f"begins with {start!r}" if start else "the file is empty"
    raise CheckpointError(
        f"{weights}: {found}; expected a TorchScript archive, a state dict saved by torch.save,"
        " a .safetensors file, or a directory with config.json and model.safetensors"
    )


def files_of(path: Path) -> list[Path]:
    """Every file that the model is made from: its tensors, and what lies beside them."""
    weights = find_weights(path)
    beside = (weights.with_name(name) for name in CONFIG_FILES + TOKENIZER_FILES)
    return [weights, *(config for config in beside if config.is_file())]
