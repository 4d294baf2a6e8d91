"""The nine CLIP models that OpenAI published, the embedded one, and where they belong on disk."""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from clipcli.errors import CacheError
from clipcli.files.user_folder import user_folder

LITE = "lite"

_PUBLISHED_URL = "https://openaipublic.azureedge.net/clip/models"


@dataclass(frozen=True)
class PublishedModel:
    """One published model.

    sha256: of the file, which is also a part of its URL. size_bytes: bytes of its tensors; the
    archive is a little larger. px: height and width of the pictures it takes. imagenet_top1:
    zero-shot accuracy on ImageNet-1k in percent, as open_clip measured it
    (mlfoundations/open_clip, docs/openclip_results.csv).
    """

    name: str
    sha256: str
    size_bytes: int
    px: int
    imagenet_top1: float

    @property
    def file_name(self) -> str:
        """The name under which it is published, and kept on disk."""
        return self.name.replace("/", "-").replace("@", "-") + ".pt"


# fmt: off
PUBLISHED: tuple[PublishedModel, ...] = (
    PublishedModel("RN50", size_bytes=255_262_844, px=224, imagenet_top1=59.82,
                   sha256="afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762"),
    PublishedModel("RN101", size_bytes=290_938_388, px=224, imagenet_top1=62.28,
                   sha256="8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599"),
    PublishedModel("RN50x4", size_bytes=421_085_084, px=288, imagenet_top1=66.27,
                   sha256="7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd"),
    PublishedModel("RN50x16", size_bytes=660_099_612, px=384, imagenet_top1=70.72,
                   sha256="52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa"),
    PublishedModel("RN50x64", size_bytes=1_352_043_452, px=448, imagenet_top1=73.91,
                   sha256="be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c"),
    PublishedModel("ViT-B/32", size_bytes=353_436_676, px=224, imagenet_top1=63.32,
                   sha256="40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"),
    PublishedModel("ViT-B/16", size_bytes=350_349_316, px=224, imagenet_top1=68.34,
                   sha256="5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"),
    PublishedModel("ViT-L/14", size_bytes=932_051_972, px=224, imagenet_top1=75.54,
                   sha256="b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836"),
    PublishedModel("ViT-L/14@336px", size_bytes=933_362_692, px=336, imagenet_top1=76.56,
                   sha256="3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02"),
)
# fmt: on


def available_models() -> list[str]:
    """Names of the published models, in the order in which they were published."""
    return [model.name for model in PUBLISHED]


def find_published(name: str) -> PublishedModel | None:
    """The model called `name`, in any case and punctuation: `vit-b-32`, as file names have it."""
    plain = _plain(name)
    return next((model for model in PUBLISHED if plain == _plain(model.name)), None)


def model_name(name_or_path: str) -> str | None:
    """The name of the model that is meant, or None for a path.

    A name as it is published wins over a file that is called so, a name written in another way
    does not.
    """
    published = find_published(name_or_path)
    names = [LITE] if published is None else [published.name, *_file_names(published)]
    if name_or_path not in names and os.path.exists(name_or_path):
        return None
    if published is not None:
        return published.name
    return LITE if name_or_path.lower() == LITE else None


def nearest_name(name: str) -> str:
    """`; did you mean ViT-B/32` for a name that is nearly one, else nothing."""
    names = {_plain(known): known for known in (*available_models(), LITE)}
    near = difflib.get_close_matches(_plain(name), names, n=1, cutoff=0.6)
    return f"; did you mean {names[near[0]]}" if near else ""


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
    return Path(__file__).parent / "weights" / "lite.safetensors"
