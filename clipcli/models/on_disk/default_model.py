"""Which model answers where none is named: --model, CLIPCLI_MODEL, clipcli.toml, else `auto`.

`auto` is the best that anyone may use at the cost of ViT-B/32: PREFERRED, where it is on disk or
can be downloaded, else ViT-B/32 if that is on disk, else the embedded `lite`. Only `auto` is ever
replaced: a model that was named is used, or the run fails.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path

from clipcli.errors import CacheError, DownloadError, OutputError, UsageError
from clipcli.files.part_file import write_whole
from clipcli.files.settings_file import NAME, read_settings
from clipcli.files.user_folder import user_folder
from clipcli.models.on_disk import catalogue
from clipcli.models.on_disk.fetch import OnProgress
from clipcli.models.on_disk.snapshots import find_on_disk

logger = logging.getLogger(__name__)

AUTO = "auto"
PREFERRED = "datacomp-b32-256"
FORMER = "ViT-B/32"  # which many have on disk: what PREFERRED was before

# gets a model's name: of how many photographs its embeddings are remembered
CountKnown = Callable[[str], int]


def wanted(option: str | None = None) -> str:
    """The model that the user asks for, by the option, the environment or the configuration."""
    return option or os.environ.get("CLIPCLI_MODEL") or configured() or AUTO


def config_path() -> Path | None:
    """The user's `clipcli.toml`, whether or not it is there; None for a user without a home."""
    folder = user_folder("config")
    return None if folder is None else folder / NAME


def configured() -> str | None:
    """The `model` of `clipcli.toml`. Raises UsageError for a file that cannot be read."""
    path = config_path()
    if path is None:
        return None
    model = read_settings(path).get("model")
    if model is not None and not isinstance(model, str):
        raise UsageError(f"{path}: model is {model!r}; expected a name or a path in quotes")
    return model


def checked(name_or_path: str) -> str:
    """A name as it is written, a path made absolute.

    Raises ModelError for a checkpoint that is none.
    """
    if name_or_path.lower() == AUTO:
        return AUTO
    name = catalogue.model_name(name_or_path)
    if name is not None:
        return name
    from clipcli.models.checkpoint import checkpoint
    from clipcli.models.on_disk.locate import locate

    path = locate(name_or_path)
    checkpoint.read(path)  # raises what is wrong with it now, not at every later run
    return str(path.resolve())


def configure(model: str) -> Path:
    """Make `model` this user's default, and leave what else stands in the file as it is.

    Raises OutputError where there is no place for the file.
    """
    configured()  # a damaged file is not written over
    path = config_path()
    if path is None:
        raise OutputError(f"no home directory to keep a default in; set CLIPCLI_MODEL to {model}")
    text = path.read_text(encoding="utf-8-sig") if os.path.exists(path) else ""
    line = f"model = {json.dumps(model)}\n"  # a JSON string is a TOML string
    top, table, rest = re.match(r"(.*?)(^\s*\[|\Z)(.*)", text, re.DOTALL | re.MULTILINE).groups()  # type: ignore[union-attr]
    top = re.sub(r"^\s*model\s*=.*\n?", "", top, flags=re.MULTILINE)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
    write_whole(path, (line + top + table + rest).encode())
    return path


def resolve_auto(
    cache_dir: str | os.PathLike[str] | None = None,
    on_progress: OnProgress | None = None,
    n_known: CountKnown | None = None,
) -> str:
    """PREFERRED, downloaded if it can be, else what is on disk, with a warning that says so."""
    preferred, on_hub = catalogue.find_known(PREFERRED), catalogue.find_on_hub(PREFERRED)
    assert preferred is not None
    assert on_hub is not None
    instead = catalogue.LITE
    try:
        root = catalogue.cache_root(cache_dir)
        if find_on_disk(PREFERRED, root):
            return PREFERRED
        if find_on_disk(FORMER, root):
            instead = FORMER
        from clipcli.models.on_disk import hub  # not needed where a model is on disk

        reason = hub.why_unavailable(on_hub)
        if reason is None:
            n_photos = n_known(FORMER) if n_known is not None and instead == FORMER else 0
            logger.info(_before_download(preferred.size, instead, n_photos))
            hub.fetch(on_hub, root, on_progress)
            return PREFERRED
    except (CacheError, DownloadError) as error:
        reason = str(error)
    # a warning: with --quiet too, nobody is to take one model's labels for another's
    reason = re.sub(r"\[Errno -?\d+\] ", "", reason)
    logger.warning(
        f"using {instead} instead of {PREFERRED}, which cannot be downloaded ({reason});"
        f" clipcli models download {PREFERRED} gets it"
    )
    return instead


def is_fallback(resolved_name: str) -> bool:
    """Whether `auto` became another model than PREFERRED."""
    return resolved_name.partition("@")[0] != PREFERRED


def _before_download(size: str, instead: str, n_photos: int) -> str:
    if n_photos == 0:
        return f"downloading {PREFERRED} ({size}, once); --model {instead} works now, without it"
    photographs = "photograph is" if n_photos == 1 else "photographs are"
    return (
        f"the default model is {PREFERRED} now: downloading {size}, once, and {n_photos:,}"
        f" {photographs} to be encoded anew; clipcli models use {FORMER} keeps the old"
    )
