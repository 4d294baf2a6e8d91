"""Files of the Hugging Face hub, through its own library: cache, tokens, mirrors, broken downloads.

The few files that say what a repository holds come first, and what cannot be read here is refused
before its weights are downloaded. HF_HOME, HF_HUB_CACHE, HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE
are the library's own variables.
"""

from __future__ import annotations

import json
import logging
import os
import re
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipcli.errors import CheckpointError, ClipcliError, DownloadError, OutputError, one_line
from clipcli.files.part_file import FULL
from clipcli.models.on_disk import snapshots
from clipcli.models.on_disk.catalogue import N_DIGITS, HubName
from clipcli.models.on_disk.fetch import OnProgress, why_offline, why_unreachable
from clipcli.models.on_disk.snapshots import Snapshot

if TYPE_CHECKING:
    from huggingface_hub import HfApi

OPEN_CLIP_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors")
HUGGING_FACE_WEIGHTS = "model.safetensors"
SHARDED = "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt")
CONFIGS = ("open_clip_config.json", "config.json", "preprocessor_config.json")
TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
SENTENCEPIECE = ("spiece.model", "tokenizer.model")  # where there is no tokenizer.json
CARD = "README.md"
TIMEOUT_S = 10.0  # for an answer
N_PULL_REQUESTS = 20  # looked at, where main has pickles alone


def endpoint() -> str:
    """The hub, or its mirror under HF_ENDPOINT."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def fetch(
    name: HubName, root: Path, on_progress: OnProgress | None = None, *, anew: bool = False
) -> Snapshot:
    """The repository's files, downloaded if they are not on disk.

    anew: ask the hub, also where something is on disk, which may be older. Raises DownloadError
    where it cannot be had, CheckpointError for what is no model that can be read here.
    """
    offline = _why_offline()
    found = snapshots.find(name, root)
    if found is not None and (offline or not anew):
        return found
    if offline is not None:
        found = _in_cache(name)
        if found is None:
            raise DownloadError(
                f"{name.name} is not on disk and {offline}; unset it, and run"
                f" clipcli models download {name.name}"
            )
    else:
        snapshots.make_place(root)  # before gigabytes come that could not be remembered
        found = _download(name, on_progress)
    snapshots.remember(name, found, root)
    return found


def why_unavailable(name: HubName) -> str | None:
    """Why the repository cannot be downloaded now, or None if the hub answers in time."""
    url = f"{endpoint()}/api/models/{name.repository}"
    return _why_offline() or why_unreachable(url)


def _why_offline() -> str | None:
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return "HF_HUB_OFFLINE is set"
    return why_offline()


def _in_cache(name: HubName) -> Snapshot | None:
    """What another program has brought into the hub's cache, if it is enough."""
    from huggingface_hub import try_to_load_from_cache

    for file in CONFIGS[:2]:
        with _in_our_words(name):
            path = try_to_load_from_cache(name.repository, file, revision=name.revision)
        if isinstance(path, str):
            folder = Path(path).parent
            with suppress(CheckpointError):
                files = _needed(name, os.listdir(folder))
                _check(name, folder, files)
                return Snapshot(folder.name, str(folder), tuple(files))
    return None


def _revision(api: HfApi, name: HubName) -> str | None:
    """What the hub understands: all digits of a commit of which our names have the first."""
    from huggingface_hub import errors

    revision = name.revision
    if revision is not None and re.fullmatch(f"[0-9a-f]{{{N_DIGITS}}}", revision):
        with suppress(errors.HfHubHTTPError):  # of a mirror that knows no history
            for commit in api.list_repo_commits(name.repository):
                if commit.commit_id.startswith(revision):
                    return commit.commit_id
    return revision


def _download(name: HubName, on_progress: OnProgress | None) -> Snapshot:
    from huggingface_hub import HfApi, hf_hub_download

    api = HfApi(endpoint=endpoint(), library_name="clipcli")
    with _in_our_words(name):
        info = api.model_info(
            name.repository, revision=_revision(api, name), files_metadata=True, timeout=TIMEOUT_S
        )
    if info.sha is None:
        raise DownloadError(f"{name.name}: {endpoint()} names no commit; expected a hub's answer")
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    try:
        files = _needed(name, sizes)
    except _PicklesError as error:
        raise CheckpointError(f"{error}; {_where_safetensors_are(api, name)}") from error
    total_bytes = sum(sizes[file] for file in files)
    n_bytes = 0
    folder = Path()
    for file in files:
        if file == files[-1]:
            _check(name, folder, files)
        with _in_our_words(name):
            path = hf_hub_download(
                name.repository,
                file,
                revision=info.sha,
                endpoint=endpoint(),
                library_name="clipcli",
                tqdm_class=_bar(on_progress, n_bytes, total_bytes),
            )
        folder = Path(path).parent
        n_bytes += sizes[file]
    return Snapshot(info.sha, str(folder), tuple(files))


class _PicklesError(CheckpointError):
    """A repository has weights, and none that are safe to read."""


def _needed(name: HubName, present: Collection[str]) -> list[str]:
    """The files that make the model, of those that are there, its weights last."""
    weights: str | None = None
    configs: Sequence[str] = CONFIGS
    if CONFIGS[0] in present:
        weights = next((file for file in OPEN_CLIP_WEIGHTS if file in present), None)
    if weights is None and HUGGING_FACE_WEIGHTS in present and CONFIGS[1] in present:
        weights, configs = HUGGING_FACE_WEIGHTS, CONFIGS[1:]
    if weights is None:
        raise _no_weights(name, present)
    tokenizers = TOKENIZERS if TOKENIZERS[0] in present else (*TOKENIZERS, *SENTENCEPIECE)
    return [file for file in (*configs, *tokenizers, CARD, weights) if file in present]


def _no_weights(name: HubName, present: Collection[str]) -> CheckpointError:
    if SHARDED in present:
        return CheckpointError(
            f"{name.name}: its weights are in several files ({SHARDED}); expected"
            f" {HUGGING_FACE_WEIGHTS} in one"
        )
    pickles = sorted(file for file in present if file.endswith(PICKLES))
    if pickles:
        return _PicklesError(
            f"{name.name}: only pickles ({pickles[0]}), which can run code and are not downloaded"
        )
    found = ", ".join(sorted(present)[:5]) or "nothing"
    return CheckpointError(
        f"{name.name}: no weights found ({found}); expected {OPEN_CLIP_WEIGHTS[0]} beside"
        f" {CONFIGS[0]}, or {HUGGING_FACE_WEIGHTS} beside {CONFIGS[1]}"
    )


def _where_safetensors_are(api: HfApi, name: HubName) -> str:
    """Of a repository with pickles alone: a converter may have made a pull request."""
    plain = name.name.partition("@")[0]
    with suppress(DownloadError), _in_our_words(name):
        refs = api.list_repo_refs(name.repository, include_pull_requests=True).pull_requests or ()
        for request in refs[-N_PULL_REQUESTS:]:
            revision = request.ref
            with suppress(CheckpointError):
                info = api.model_info(name.repository, revision=revision, timeout=TIMEOUT_S)
                _needed(name, [file.rfilename for file in info.siblings or ()])
                return f"a pull request has safetensors: {plain}@{revision}"
    return f"expected safetensors, which some have in a pull request: {plain}@refs/pr/N"


def _check(name: HubName, folder: Path, files: Sequence[str]) -> None:
    """Raises CheckpointError where the configuration is of no model that can be read here."""
    from clipcli.models.checkpoint.config_files import read_beside

    weights = files[-1]
    if weights == HUGGING_FACE_WEIGHTS:
        with suppress(OSError, ValueError, AttributeError):  # what is wrong with it is said below
            config = json.loads((folder / CONFIGS[1]).read_bytes())
            if "model_type" not in config and "architecture" in config:
                raise CheckpointError(
                    f"{name.name}: timm's image encoder {config['architecture']} alone, without"
                    " one of texts; expected a CLIP, with both"
                )
    read_beside(folder / weights)


@contextmanager
def _in_our_words(name: HubName) -> Iterator[None]:
    """The library's errors as one line each, and nothing else that it would say."""
    from huggingface_hub import errors

    talk = logging.getLogger("huggingface_hub")
    level = talk.level
    talk.setLevel(logging.CRITICAL)
    url = f"{endpoint()}/{name.repository}"
    try:
        with warnings.catch_warnings(action="ignore"):  # of a disk that may become full
            yield
    except errors.GatedRepoError as error:
        raise DownloadError(
            f"{name.name}: its owners ask for consent; accept its conditions at {url} and set"
            " HF_TOKEN"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise DownloadError(
            f"{name.name}: no such revision; expected a branch, a tag, refs/pr/N or the 40 digits"
            f" of a commit of {url}"
        ) from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise DownloadError(
            f"{name.name}: no repository at {url}; expected hf:ORG/NAME as it stands there, and,"
            " where it is private, HF_TOKEN"
        ) from error
    except ClipcliError:
        raise
    except OSError as error:
        if error.errno not in FULL and error.filename is None:
            raise _broken(name, error) from error
        raise DownloadError(
            f"{name.name}: the hub's cache cannot be written: {error.strerror}; make room, or set"
            " HF_HOME to another folder"
        ) from error
    except Exception as error:  # of the library's HTTP client, which differs by its version
        raise _broken(name, error) from error
    finally:
        talk.setLevel(level)


def _broken(name: HubName, error: BaseException) -> DownloadError:
    while error.__cause__ is not None:  # what happened, below what it meant for the library
        error = error.__cause__
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    reason = re.sub(r"\[Errno -?\d+\] ", "", reason)
    return DownloadError(
        f"cannot download {name.name} from {endpoint()}: {one_line(reason)}; try again later"
    )


def remove(name: HubName, snapshot: Snapshot, root: Path) -> None:
    """Free the disk of this commit, but for files that another one shares.

    Raises OutputError where the disk refuses.
    """
    from huggingface_hub import scan_cache_dir

    with _in_our_words(name):
        folder = Path(snapshot.folder).parents[1]
        cache = scan_cache_dir(folder.parent)
        # a copy of the repository may have the same commits
        ours = [repo for repo in cache.repos if repo.repo_path.name == folder.name]
        replace(cache, repos=frozenset(ours)).delete_revisions(snapshot.commit).execute()
    if snapshot.is_on_disk:
        raise OutputError(f"{snapshot.folder}: cannot be removed; expected rights to write there")
    snapshots.forget(name.repository, snapshot.commit, root)


def _bar(on_progress: OnProgress | None, n_before: int, total_bytes: int) -> type[Any]:
    """What the library tells of its bytes, in its form: a class of bars that draw nothing."""
    from tqdm import tqdm  # type: ignore[import-untyped]

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            options.pop("name", None)  # which is no word of tqdm's own
            super().__init__(*arguments, **options | {"disable": True})
            self.n_bytes = options.get("initial") or 0

        def update(self, n: float | None = 1) -> None:
            self.n_bytes += int(n or 0)
            if on_progress is not None:
                on_progress(n_before + self.n_bytes, total_bytes or None)

        def update_transfer(self, n: int) -> None:
            """The same bytes on their way over the network, before they are a part of the file."""

        def set_transfer_postfix_str(self, *arguments: Any, **options: Any) -> None:
            """Of them, too."""

    return Bar
