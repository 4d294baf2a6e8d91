"""Which model a name means, and where the nine and the embedded one belong on disk."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from clipcli.errors import CacheError, UsageError
from clipcli.files.user_folder import user_folder
from clipcli.models.on_disk.known_models import ON_HUB, PUBLISHED, KnownModel, PublishedModel

LITE = "lite"
ON_THE_HUB = "hf:"  # before a repository that has no name here
N_DIGITS = 7  # of a commit: enough to find one on disk

_PUBLISHED_URL = "https://openaipublic.azureedge.net/clip/models"
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_REVISION = re.compile(r"[\w.-]+(/[\w.-]+)*", re.ASCII)

K = TypeVar("K", bound=KnownModel)


def available_models() -> list[str]:
    """Names of the published models, in the order in which they were published."""
    return [model.name for model in PUBLISHED]


def find_known(name: str) -> KnownModel | None:
    """What is known of the model of this name, which may have @REVISION behind it."""
    return _find(name, PUBLISHED) or _find(name.partition("@")[0], ON_HUB)


def find_published(name: str) -> PublishedModel | None:
    """The model called `name`, in any case and punctuation: `vit-b-32`, as file names have it."""
    return _find(name, PUBLISHED)


@dataclass(frozen=True)
class HubName:
    """A repository of the Hugging Face hub, as the user calls it.

    name: `hf:ORG/NAME` or one of the table, with @REVISION where it was typed. revision: a branch,
    a tag, `refs/pr/N` or a commit, of which seven digits do where it is on disk; None for the
    newest.
    """

    name: str
    repository: str
    revision: str | None

    def at(self, commit: str) -> str:
        """The name of what this commit holds."""
        return f"{self.name.partition('@')[0]}@{commit[:N_DIGITS]}"


def find_on_hub(name: str) -> HubName | None:
    """The repository that `hf:ORG/NAME` or a name of the table means, with or without @REVISION.

    Raises UsageError for an `hf:` that names none.
    """
    plain, at, revision = name.partition("@")
    is_whole = not at or _REVISION.fullmatch(revision)
    if name.startswith(ON_THE_HUB):
        repository = plain.removeprefix(ON_THE_HUB)
        if not (_REPOSITORY.fullmatch(repository) and is_whole):
            raise UsageError(
                f"{name}: names no repository; expected hf:ORG/NAME or hf:ORG/NAME@REVISION"
            )
        return HubName(name, repository, revision or None)
    model = _find(plain, ON_HUB)
    if model is None or not is_whole:
        return None
    return HubName(f"{model.name}{at}{revision}", model.repository, revision or model.revision)


def model_name(name_or_path: str) -> str | None:
    """The name of the model that is meant, or None for a path.

    A name as it is published wins over a file that is called so, a name written in another way
    does not. Raises UsageError as `find_on_hub` does.
    """
    names: list[str] = []
    if published := find_published(name_or_path):
        names = [published.name, *_file_names(published)]
    elif on_hub := find_on_hub(name_or_path):
        names = [on_hub.name]
    elif name_or_path.lower() == LITE:
        names = [LITE]
    if name_or_path not in names and os.path.exists(name_or_path):
        return None
    return names[0] if names else None


def known_names() -> list[str]:
    """Every name of the table."""
    return [model.name for model in (*PUBLISHED, *ON_HUB)]


def nearest_name(name: str) -> str:
    """`; did you mean ViT-B/32` for a name that is nearly one, else nothing."""
    names = {_plain(known): known for known in (*known_names(), LITE)}
    near = difflib.get_close_matches(_plain(name), names, n=1, cutoff=0.6)
    return f"; did you mean {names[near[0]]}" if near else ""


def _find(name: str, models: Sequence[K]) -> K | None:
    plain = _plain(name)
    return next((model for model in models if plain == _plain(model.name)), None)


def _plain(name: str) -> str:
    return re.sub(r"(?<=[^\W_])[-/@_ ]+(?=\w)", "", name).lower()


def _file_names(model: PublishedModel) -> list[str]:
    """The name with `-` in place of characters that file names cannot have."""
    return [model.name.replace("/", "-"), model.file_name.removesuffix(".pt")]


def cache_root(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """The cache folder: the one given, else CLIPCLI_CACHE, else the user's cache folder.

    Raises CacheError where there is none of them.
    """
    if cache_dir is not None:
        return Path(cache_dir)
    if from_environment := os.environ.get("CLIPCLI_CACHE"):
        return Path(from_environment)
    path = user_folder("cache")
    if path is None:
        raise CacheError("no home directory to keep a cache in; set CLIPCLI_CACHE to a folder")
    return path


def model_path(model: PublishedModel, root: Path) -> Path:
    """Where the model's file belongs, whether or not it is there."""
    return root / "models" / model.file_name


def model_url(model: PublishedModel) -> str:
    """Where the model's file is published, or mirrored under CLIPCLI_MODEL_URL."""
    base = os.environ.get("CLIPCLI_MODEL_URL") or _PUBLISHED_URL
    return f"{base.rstrip('/')}/{model.sha256}/{model.file_name}"


def is_on_disk(model: PublishedModel, root: Path) -> bool:
    """True if the whole file is there; its bytes are not looked at."""
    return os.path.isfile(model_path(model, root))  # False too where it may not be looked for


def path_on_disk(model: PublishedModel, root: Path | None) -> Path | None:
    """Where the model's file is, or None. root: of the cache, where there is one."""
    return model_path(model, root) if root is not None and is_on_disk(model, root) else None


def lite_path() -> Path:
    """The embedded model's file, inside the package."""
    return Path(__file__).parents[1] / "weights" / "lite.safetensors"
