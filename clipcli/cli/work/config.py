"""Settings to a table."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from typing import Any

from clipcli.cli.settings import keys
from clipcli.cli.settings.layers import Setting, SettingsFile, files_for, photo_arguments, resolve
from clipcli.cli.work.tables import print_tables
from clipcli.errors import UsageError
from clipcli.files.table import Row, Table, words
from clipcli.files.table_text import TableFormat

COLUMNS = (words("option"), words("value"), words("from"))


def show(context: Any, path: str | None, name: str, all: bool, format: TableFormat) -> int:
    root = context.find_root().command
    commands = keys.commands_by_table(root)
    table = name.replace(" ", "_")
    if table not in commands:
        near = difflib.get_close_matches(table, commands, n=1)
        meant = f"; did you mean {near[0]}" if near else f"; expected one of {', '.join(commands)}"
        raise UsageError(f"--command {name}: no such command{meant}")
    command = commands[table]
    given = _given(command, path, name)
    settings = resolve(command, context, given).active
    rows: list[Row] = [
        [option.opts[0], _shown(settings[key].value), settings[key].place]
        if key in settings
        else [option.opts[0], _default(option), "default"]
        for key, option in keys.options_of(command).items()
        if all or key in settings
    ]
    files = "".join(_said(file, settings) for file in files_for(command, given))
    print_tables([files, Table(COLUMNS, rows)] if rows or format == "csv" else [files], format)
    return 0


def _given(command: Any, path: str | None, name: str) -> Mapping[str, Any]:
    """The PATH as this command has it on its command line."""
    if path is None:
        return {}
    arguments = photo_arguments(command)
    if not arguments:
        told = f"clipcli {name.replace('_', ' ')} takes no photographs"
        raise UsageError(f"{path}: {told}; leave it out")
    return {arguments[0]: path}


def _said(file: SettingsFile, settings: Mapping[str, Setting]) -> str:
    if not os.path.exists(file.path):
        return f"{file.path}: not there\n"
    n_used = sum(one.source == file.path for one in settings.values())
    whose = "" if file.is_own else " (of the photographs: may not choose models, nor write)"
    return f"{file.path}: {n_used} used{whose}\n"


def _default(option: Any) -> str:
    if isinstance(option.show_default, str):
        return option.show_default
    return _shown(option.default)


def _shown(value: Any) -> str:
    """As it would be written in a variable."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
