"""The scripts beside the package speak of names that it has."""

from __future__ import annotations

import ast
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("script", sorted(EXAMPLES.rglob("*.py")), ids=lambda path: path.name)
def test_what_a_script_imports_from_clipcli_is_there(script: Path) -> None:
    """Most of them need weights or data that no test has, so nobody would notice."""
    imported = [
        (node.module, alias.name)
        for node in ast.walk(ast.parse(script.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "clipcli"
        for alias in node.names
    ]
    missing = [
        f"{module}.{name}"
        for module, name in imported
        if module is not None
        and not hasattr(import_module(module), name)
        and find_spec(f"{module}.{name}") is None
    ]
    assert missing == []
