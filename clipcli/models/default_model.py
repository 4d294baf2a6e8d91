"""Which model answers where none is named: --model, CLIPCLI_MODEL, clipcli.toml, else `auto`.

`auto` is ViT-B/32 where it is on disk or can be downloaded, else the embedded `lite`. Only `auto`
is ever replaced; a model that was named answers itself or not at all.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

from clipcli.errors import DownloadError, OutputError, UsageError
from clipcli.files.part_file import PartFile
from clipcli.models import catalogue

AUTO = "auto"
PREFERRED = "ViT-B/32"


def wanted(option: str | None = None) -> str:
    """The model that the user asks for, by the option, the environment or the configuration."""
    return option or os.environ.get("CLIPCLI_MODEL") or configured() or AUTO


def config_path() -> Path:
    """The user's `clipcli.toml`, whether or not it is there."""
    from platformdirs import user_config_path

    return user_config_path("clipcli", appauthor=False) / "clipcli.toml"


def configured() -> str | None:
    """The `model` of `clipcli.toml`. Raises UsageError for a file that cannot be read."""
    path = config_path()
    try:
        model = tomllib.loads(path.read_text(encoding="utf-8")).get("model")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}; expected a file of TOML") from error
    if model is not None and not isinstance(model, str):
        raise UsageError(f"{path}: model is {model!r}; expected a name or a path in quotes")
    return model


def configure(model: str) -> Path:
    """Make `model` this user's default, and leave what else stands in the file as it is."""
    configured()  # a damaged file is not written over
    path = config_path()
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    line = f"model = {json.dumps(model)}\n"  # a JSON string is a TOML string
    top, table, rest = re.match(r"(.*?)(^\s*\[|\Z)(.*)", text, re.DOTALL | re.MULTILINE).groups()  # type: ignore[union-attr]
    top = re.sub(r"^\s*model\s*=.*\n?", "", top, flags=re.MULTILINE)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
    file = PartFile(path)
    file.write((line + top + table + rest).encode())
    file.commit()
    return path


def resolve_auto(
    root: Path,
    on_progress: Callable[[int, int | None], None] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> str:
    """ViT-B/32, downloaded if it can be, else `lite` with a note that says so."""
    model = catalogue.find_published(PREFERRED)
    assert model is not None
    if catalogue.is_on_disk(model, root):
        return model.name
    reason = catalogue.why_unreachable(model)
    if reason is None:
        if on_note is not None:
            size = f"{model.size_bytes / 1e6:,.0f} MB, once"
            on_note(
                f"downloading {model.name} ({size}); --model {catalogue.LITE} works now, without it"
            )
        try:
            catalogue.fetch(model, root, on_progress, on_note)
            return model.name
        except DownloadError as error:
            reason = str(error)
    if on_note is not None:
        on_note(
            f"using {catalogue.LITE}, the small embedded model, since {model.name} is not on disk"
            f" and cannot be downloaded ({reason}); clipcli models download {model.name} gets it"
        )
    return catalogue.LITE
