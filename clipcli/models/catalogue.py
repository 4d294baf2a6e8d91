"""The nine CLIP models that OpenAI published, and where they lie on disk.

ROOT/models/ViT-B-32.pt             the checkpoint, under its published file name
ROOT/models/ViT-B-32.pt.part        a download that has not finished
ROOT/models/ViT-B-32.pt.verified    size and time of the checkpoint whose hash was found right
ROOT/models/ViT-B-32.pt.lock        held by the process that downloads
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from clipcli.errors import DownloadError

LITE = "lite"
PROBE_S = 2.5  # how long to wait for a sign of the network

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
    file_name: str
    sha256: str
    size_bytes: int
    px: int
    imagenet_top1: float


PUBLISHED: tuple[PublishedModel, ...] = (
    PublishedModel(
        "RN50",
        "RN50.pt",
        "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762",
        size_bytes=255_262_844,
        px=224,
        imagenet_top1=59.82,
    ),
    PublishedModel(
        "RN101",
        "RN101.pt",
        "8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599",
        size_bytes=290_938_388,
        px=224,
        imagenet_top1=62.28,
    ),
    PublishedModel(
        "RN50x4",
        "RN50x4.pt",
        "7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd",
        size_bytes=421_085_084,
        px=288,
        imagenet_top1=66.27,
    ),
    PublishedModel(
        "RN50x16",
        "RN50x16.pt",
        "52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa",
        size_bytes=660_099_612,
        px=384,
        imagenet_top1=70.72,
    ),
    PublishedModel(
        "RN50x64",
        "RN50x64.pt",
        "be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c",
        size_bytes=1_352_043_452,
        px=448,
        imagenet_top1=73.91,
    ),
    PublishedModel(
        "ViT-B/32",
        "ViT-B-32.pt",
        "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
        size_bytes=353_436_676,
        px=224,
        imagenet_top1=63.32,
    ),
    PublishedModel(
        "ViT-B/16",
        "ViT-B-16.pt",
        "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f",
        size_bytes=350_349_316,
        px=224,
        imagenet_top1=68.34,
    ),
    PublishedModel(
        "ViT-L/14",
        "ViT-L-14.pt",
        "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
        size_bytes=932_051_972,
        px=224,
        imagenet_top1=75.54,
    ),
    PublishedModel(
        "ViT-L/14@336px",
        "ViT-L-14-336px.pt",
        "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",
        size_bytes=933_362_692,
        px=336,
        imagenet_top1=76.56,
    ),
)


def available_models() -> list[str]:
    """Names of the published models, in the order in which they were published."""
    return [model.name for model in PUBLISHED]


def find_published(name: str) -> PublishedModel | None:
    """The model called `name`, also where `-` stands for the characters that file names lack."""
    for model in PUBLISHED:
        file_stem = model.file_name.removesuffix(".pt")
        if name in (model.name, model.name.replace("/", "-"), file_stem):
            return model
    return None


def cache_root(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """The cache folder: the one given, else CLIPCLI_CACHE, else the user's cache folder."""
    if cache_dir is not None:
        return Path(cache_dir)
    if from_environment := os.environ.get("CLIPCLI_CACHE"):
        return Path(from_environment)
    from platformdirs import user_cache_path

    return user_cache_path("clipcli", appauthor=False)


def model_path(model: PublishedModel, root: Path) -> Path:
    """Where the model's file belongs, whether or not it is there."""
    return root / "models" / model.file_name


def model_url(model: PublishedModel) -> str:
    """Where the model's file is published, or mirrored under CLIPCLI_MODEL_URL."""
    base = os.environ.get("CLIPCLI_MODEL_URL") or _PUBLISHED_URL
    return f"{base.rstrip('/')}/{model.sha256}/{model.file_name}"


def is_on_disk(model: PublishedModel, root: Path) -> bool:
    """True if the whole file is there; its bytes are not looked at."""
    return model_path(model, root).is_file()


def lite_path() -> Path:
    """The embedded model's file, inside the package."""
    return Path(__file__).parent / "weights" / "lite.safetensors"


def why_unreachable(model: PublishedModel) -> str | None:
    """Why the model cannot be downloaded now, or None if its server answers within PROBE_S."""
    if _is_offline():
        return "CLIPCLI_OFFLINE is set"
    answers: list[str | None] = []

    def probe() -> None:
        from clipcli.models.download import reach

        answers.append(reach(model_url(model), PROBE_S))

    # a thread, since looking up a name cannot be given a time limit
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(PROBE_S)
    return answers[0] if answers else f"no answer within {PROBE_S} s"


def fetch(
    model: PublishedModel,
    root: Path,
    on_progress: Callable[[int, int | None], None] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Path:
    """The path of the model's verified file, downloaded first if it is not on disk.

    on_progress: called with the bytes so far and their total, or None where that is unknown.
    on_note: called with one line if another process has to be waited for.
    Raises DownloadError if the file cannot be had, or is on disk with other bytes.
    """
    path = model_path(model, root)
    if not is_on_disk(model, root):
        _refuse_offline(model, path)
        with _lock(model, path, on_note):
            if not is_on_disk(model, root):  # another process may have brought it meanwhile
                from clipcli.models.download import download

                url, max_bytes = model_url(model), 2 * model.size_bytes
                download(url, model.sha256, path, on_progress, max_bytes=max_bytes)
                _remember(path, _identity(model, path))
    _verify(model, path)
    return path


def _is_offline() -> bool:
    return os.environ.get("CLIPCLI_OFFLINE", "") not in ("", "0")


def _refuse_offline(model: PublishedModel, path: Path) -> None:
    if _is_offline():
        raise DownloadError(
            f"{model.file_name} is not on disk and CLIPCLI_OFFLINE is set; "
            f"unset it, or download {model_url(model)} and put it at {path}"
        )


@contextmanager
def _lock(
    model: PublishedModel, path: Path, on_note: Callable[[str], None] | None
) -> Iterator[None]:
    """Held while the file is downloaded, so that processes which start together do it once."""
    from filelock import FileLock, Timeout

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{path}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if on_note is not None:
                on_note(f"waiting for another clipcli that is downloading {model.name}")
            lock.acquire()
    except OSError as error:
        raise DownloadError(
            f"cannot write in {path.parent}: {error.strerror}; "
            "choose a cache folder that can be written"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _verify(model: PublishedModel, path: Path) -> None:
    """Hash the file, unless that was done when it had the same size and time.

    A file with the wrong hash stays where it is: the user may have put it there.
    """
    try:
        identity = _identity(model, path)
        if _remembered(path) == identity:
            return
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DownloadError(f"cannot read {path}: {error.strerror}") from error
    if found != model.sha256:
        raise DownloadError(
            f"{path}: found SHA-256 {found}, expected {model.sha256} for {model.name}; "
            "delete the file to download it again"
        )
    _remember(path, identity)


def _identity(model: PublishedModel, path: Path) -> dict[str, str | int]:
    stat = path.stat()
    return {"sha256": model.sha256, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def _remembered(path: Path) -> object:
    with suppress(OSError, ValueError):
        return json.loads(path.with_name(f"{path.name}.verified").read_bytes())
    return None


def _remember(path: Path, identity: dict[str, str | int]) -> None:
    # a folder that cannot be written only means that the next start hashes the file again
    with suppress(OSError):
        written = path.with_name(f"{path.name}.verified.{os.getpid()}")
        written.write_text(json.dumps(identity))
        written.replace(path.with_name(f"{path.name}.verified"))
