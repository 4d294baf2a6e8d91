"""What holds for a run: the command line beats the environment, which beats the file of the folder,
which beats the user's.

The folder's file is PATH/clipcli.toml of a run with one PATH, see `stranger`, and before the user's
in the config directory comes that of the working directory, unless it lies within a PATH: whoever
labels a folder from inside it has not written what it holds. Beside a PATH that is a file it is the
photographs' too. A list on stdin is no PATH here.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipcli.cli.settings import keys, stranger
from clipcli.cli.settings.exclusive import switched_off_by
from clipcli.errors import UsageError
from clipcli.files.settings_file import NAME, read_settings
from clipcli.labels.templates import TEMPLATE_SETS
from clipcli.models.on_disk.catalogue import model_name
from clipcli.models.on_disk.default_model import AUTO, config_path
from clipcli.photos.formats import is_picture

PATHS = ("PATH", "PATH...", "LABELLED", "DATA")  # arguments that name photographs


@dataclass(frozen=True)
class Setting:
    """key: as in a file; source: a variable, or a file's path; table: in that file, or "".
    is_own: the user's, not of the photographs' file."""

    key: str
    value: Any
    source: str
    table: str = ""
    is_own: bool = True

    @property
    def place(self) -> str:
        return f"{self.source}, [{self.table}]" if self.table else self.source


@dataclass(frozen=True)
class SettingsFile:
    """A file that is looked for. is_own: the user's, not that of the photographs."""

    path: str
    is_own: bool


@dataclass(frozen=True)
class Settings:
    """What holds of the options that were not given, by key, and what does not, with the key of
    the option above that switches it off."""

    active: dict[str, Setting]
    switched_off: list[tuple[Setting, str]]

    def notes_on(self, message: str) -> Iterator[str]:
        """Where the options come from that an error is about, a line for each."""
        words = set(re.split(r"[^\w-]+", message))
        for one in self.active.values():
            value = one.value if isinstance(one.value, str) else ""
            if _typed(one.key) in words or (
                value and message.startswith((f"{value}:", f"{value} "))
            ):
                yield f"{_typed(one.key)} comes from {one.place}"
        if message.startswith("no labels"):
            for one, by in self.switched_off:
                yield f"{_typed(one.key)} of {one.place} is switched off by {_typed(by)}"


def _typed(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def resolve(command: Any, context: Any, given: Mapping[str, Any]) -> Settings:
    """What the environment and files say of the options that are not given.

    given: as the command line has it, by key. Raises UsageError for what is wrong in them.
    """
    root = context.find_root().command
    layers = [_environment(command, context)]
    for file in files_for(command, given):
        layers += _layers(file, command, context, root)
    settings = Settings({}, [])
    for layer in layers:
        # a flag that is switched off excludes nothing
        above = [key for key, value in given.items() if value is not False]
        above += [one.key for one in settings.active.values() if one.value is not False]
        known = {*given, *settings.active}
        for setting in layer:
            if setting.key in known:
                continue
            if by := switched_off_by(setting.key, above):
                settings.switched_off.append((setting, by))
            else:
                settings.active[setting.key] = setting
    return settings


def files_for(command: Any, given: Mapping[str, Any]) -> list[SettingsFile]:
    """The files that are looked for, the one that beats the others first."""
    paths: list[str] = []
    for name in photo_arguments(command):
        value = given.get(name) or ()
        paths += [value] if isinstance(value, str) else value
    folders = [path for path in paths if os.path.isdir(path)]
    files = []
    if len(paths) == 1 and folders:
        files.append(SettingsFile(os.path.join(paths[0], NAME), is_own=False))
    if not any(map(_holds_us, folders)):
        files.append(SettingsFile(NAME, is_own=not any(map(_lies_here, paths))))
    users = config_path()
    if users is not None:
        files.append(SettingsFile(str(users), is_own=True))
    return files


def photo_arguments(command: Any) -> list[str]:
    """Names of the arguments that photographs are given in."""
    return [
        one.name
        for one in command.params
        if one.param_type_name == "argument" and one.metavar in PATHS
    ]


def _holds_us(folder: str) -> bool:
    """Whether the working directory lies within this folder, or that cannot be told."""
    here = Path.cwd()
    try:
        # not by name: it may be a link, or written in another case
        return any(os.path.samefile(folder, one) for one in (here, *here.parents))
    except OSError:
        return True


def _lies_here(path: str) -> bool:
    """Whether this is a file in the working directory, or one that cannot be told from it."""
    # by its name, what is gone was a folder too, such as one on a disk that is not mounted
    if os.path.isdir(path) or not (os.path.exists(path) or is_picture(path)):
        return False
    try:
        return os.path.samefile(os.path.dirname(path) or os.curdir, os.curdir)
    except OSError:  # there is no such folder
        return False


def _environment(command: Any, context: Any) -> list[Setting]:
    found = []
    for key, option in keys.options_of(command).items():
        value = keys.from_environment(option, command, context)
        if value is not None:
            found.append(Setting(key, value, keys.variable(key)))
    return found


def _layers(file: SettingsFile, command: Any, context: Any, root: Any) -> list[list[Setting]]:
    """The command's own table, then the keys that hold for all that have them."""
    if not file.is_own:
        stranger.check_place(file.path)
    content = read_settings(file.path)
    if not content:
        return []
    commands = keys.commands_by_table(root)
    _check_names(file, content, commands)
    options = keys.options_of(command)
    own = next(name for name, one in commands.items() if one is command)
    tables = {own: content[own]} if isinstance(content.get(own), dict) else {}
    tables[""] = {
        key: value
        for key, value in content.items()
        if key in options
        and not _is_table(value, key, commands)
        and keys.is_meant(key, command, root)
    }
    return [
        [
            Setting(
                key,
                _value(file, table, options[key], value, command, context),
                file.path,
                table,
                file.is_own,
            )
            for key, value in values.items()
        ]
        for table, values in tables.items()
    ]


def _is_table(value: Any, key: str, commands: Mapping[str, Any]) -> bool:
    """Some commands have the name of an option, as probe and cache do."""
    return isinstance(value, dict) and key in commands


def _value(
    file: SettingsFile, table: str, option: Any, value: Any, command: Any, context: Any
) -> Any:
    """A value of a file as the option takes it, paths from here."""
    shown = f"{file.path}: [{table}] {option.name}" if table else f"{file.path}: {option.name}"
    value = keys.from_file(option, value, command, context, shown)
    placed = _placed if file.is_own else stranger.placed
    if isinstance(value, list):
        return [placed(file.path, option, one) for one in value]
    return placed(file.path, option, value) if isinstance(value, str) else value


def _placed(path: str, option: Any, value: str) -> str:
    """A path in a file of settings counts from the folder of that file."""
    kinds = set((option.metavar or "").split("|"))
    joined = os.path.join(os.path.dirname(path), os.path.expanduser(value))
    if value == "-":
        return value
    if kinds <= {"FILE", "DIR", "FOLDER"}:
        return joined
    may_be_path = "FILE" in kinds or option.name in ("model", "init")
    is_name = value in TEMPLATE_SETS or value == AUTO or model_name(value) is not None
    return joined if may_be_path and not is_name and os.path.exists(joined) else value


def _check_names(
    file: SettingsFile, content: Mapping[str, Any], commands: Mapping[str, Any]
) -> None:
    """Raises UsageError for a key that no command has, or that is not for this file."""
    known = {key for one in commands.values() for key in keys.options_of(one)}
    for key, value in content.items():
        if _is_table(value, key, commands):
            in_table = {*keys.options_of(commands[key])}
            for below in value:
                whose = f"clipcli {key.replace('_', ' ')}"
                _check_name(file, below, in_table, f"[{key}] {below}: no option of {whose}")
        else:
            _check_name(file, key, known, f"{key}: no option of any command", commands)


def _check_name(
    file: SettingsFile, key: str, known: Iterable[str], wrong: str, tables: Iterable[str] = ()
) -> None:
    known = {*known} - {*keys.NEVER_IN_FILES}
    if key not in known:
        shown = {**{name: f"[{name}]" for name in tables}, **{name: name for name in known}}
        near = difflib.get_close_matches(key.replace("-", "_").lower(), shown, n=1)
        meant = f"did you mean {shown[near[0]]}" if near else "clipcli config --all names them"
        raise UsageError(f"{file.path}: {wrong}; {meant}")
    if not file.is_own:
        stranger.check_key(file.path, key)
