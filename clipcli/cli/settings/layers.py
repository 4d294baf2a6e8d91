"""What holds for a run: the command line beats the environment, which beats the file of the folder,
which beats the user's.

The folder's file is PATH/clipcli.toml of a run with one PATH, see `stranger`, and before the user's
in the config directory comes that of the working directory, unless it lies within a PATH: whoever
labels a folder from inside it has not written what it holds.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clipcli.cli.settings import keys, stranger
from clipcli.cli.settings.exclusive import is_switched_off
from clipcli.errors import UsageError
from clipcli.files.settings_file import NAME, read_settings
from clipcli.labels.templates import TEMPLATE_SETS
from clipcli.models.catalogue import model_name
from clipcli.models.default_model import AUTO, config_path

PATHS = ("PATH", "PATH...", "LABELLED", "DATA")  # arguments that name photographs
COMMAND_LINE = "command line"


@dataclass(frozen=True)
class Setting:
    """key: as in a file; source: a variable, or a file's path; table: in that file, or ""."""

    key: str
    value: Any
    source: str
    table: str = ""

    @property
    def place(self) -> str:
        return f"{self.source}, [{self.table}]" if self.table else self.source


@dataclass(frozen=True)
class SettingsFile:
    """A file that is looked for. is_own: the user's, not that of the photographs."""

    path: str
    is_own: bool


def resolve(command: Any, context: Any, given: Mapping[str, Any]) -> dict[str, Setting]:
    """What the environment and files say of the options that are not given.

    given: as the command line has it, by key. Raises UsageError for what is wrong in them.
    """
    root = context.find_root().command
    layers = [_environment(command, context)]
    for file in files_for(command, given):
        layers += _layers(file, command, context, root)
    # a flag that is switched off excludes nothing
    above = {key: Setting(key, value, COMMAND_LINE) for key, value in given.items()}
    for layer in layers:
        active = [one.key for one in above.values() if one.value is not False]
        for setting in layer:
            if setting.key not in above and not is_switched_off(setting.key, active):
                above[setting.key] = setting
    return {key: one for key, one in above.items() if one.source != COMMAND_LINE}


def files_for(command: Any, given: Mapping[str, Any]) -> list[SettingsFile]:
    """The files that are looked for, the one that beats the others first."""
    paths: list[str] = []
    for argument in command.params:
        if argument.param_type_name == "argument" and argument.metavar in PATHS:
            value = given.get(argument.name) or ()
            paths += [value] if isinstance(value, str) else value
    folders = [path for path in paths if os.path.isdir(path)]
    files = []
    if len(paths) == 1 and folders:
        files.append(SettingsFile(os.path.join(paths[0], NAME), is_own=False))
    here = os.path.join(os.path.realpath(os.curdir), "")
    if not any(here.startswith(os.path.join(os.path.realpath(path), "")) for path in folders):
        files.append(SettingsFile(NAME, is_own=True))
    users = config_path()
    if users is not None:
        files.append(SettingsFile(str(users), is_own=True))
    return files


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
    own = next((name for name, one in commands.items() if one is command), "")
    table = content.get(own)
    top = {key: value for key, value in content.items() if key in options}
    layers = []
    for name, values in ((own, table if isinstance(table, dict) else {}), ("", top)):
        layers.append(
            [
                Setting(
                    key, _value(file, name, options[key], value, command, context), file.path, name
                )
                for key, value in values.items()
                if name
                or (keys.is_meant(key, command, root) and not _is_table(value, key, commands))
            ]
        )
    return layers


def _is_table(value: Any, key: str, commands: Mapping[str, Any]) -> bool:
    """Some commands have the name of an option, as probe and cache do."""
    return isinstance(value, dict) and key in commands


def _value(
    file: SettingsFile, table: str, option: Any, value: Any, command: Any, context: Any
) -> Any:
    """A value of a file as the option takes it, paths from here."""
    shown = f"{file.path}: [{table}] {option.name}" if table else f"{file.path}: {option.name}"
    value = keys.from_file(option, value, command, context, shown)
    if not file.is_own:
        return stranger.placed(file.path, option, value)
    if isinstance(value, list):
        return [_placed(file.path, option, one) for one in value]
    return _placed(file.path, option, value) if isinstance(value, str) else value


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
    known = {key: None for one in commands.values() for key in keys.options_of(one)}
    for key, value in content.items():
        if _is_table(value, key, commands):
            in_table = keys.options_of(commands[key])
            for below in value:
                _check_name(file, below, in_table, f"[{key}] {below}", f"clipcli {key}")
        else:
            _check_name(file, key, known, key, "any command", commands)


def _check_name(
    file: SettingsFile,
    key: str,
    known: Mapping[str, Any],
    shown: str,
    whose: str,
    tables: Mapping[str, Any] | None = None,
) -> None:
    if key not in known or key in keys.NEVER_IN_FILES:
        near = _near(key, [*known, *(tables or ())])
        raise UsageError(f"{file.path}: {shown}: no option of {whose.replace('_', ' ')}{near}")
    if not file.is_own:
        stranger.check_key(file.path, key)


def _near(key: str, known: Sequence[str]) -> str:
    names = [name for name in known if name not in keys.NEVER_IN_FILES]
    near = difflib.get_close_matches(key.replace("-", "_").lower(), names, n=1)
    return f"; did you mean {near[0]}" if near else "; clipcli config --all names them"


def names_in(message: str, settings: Mapping[str, Setting]) -> Iterator[str]:
    """Where the options come from that an error is about, as a line for each."""
    for one in settings.values():
        option = f"--{one.key.replace('_', '-')}"
        begins = isinstance(one.value, str) and message.startswith(
            (f"{one.value}:", f"{one.value} ")
        )
        words = message.replace(",", " ").replace(":", " ").replace(";", " ").split()
        if option in words or begins:
            yield f"{option} comes from {one.place}"
