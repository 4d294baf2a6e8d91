"""The rooms of the house: an import points one way, from what knows more to what knows less."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import clipcli

# each knows those above it and nothing below; `labels` and `photos` do not know each other
LAYERS = [
    {"errors", "records"},
    {"files"},
    {"labels"},
    {"photos"},
    {"keywords"},
    {"network", "sorting"},  # which do not know each other either
    {"runtime"},
    {"models"},
    {"embedding"},
    {"labelling"},
    {"search"},
    {"evaluation"},
    {"training"},
    {"api"},
    {"cli"},
]
MAX_LAYERS = 15
MAX_LINES = 400
MAX_FILES_AT_ROOT = 6
MAX_BODY_LINES = 60
PUBLIC = ("__init__", "__main__")  # they name what is public, on use
PACKAGE = Path(clipcli.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imported_rooms(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        modules: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module == "clipcli":
            modules = [f"clipcli.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            modules = [node.module or ""]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        for module in modules:
            if module.startswith("clipcli."):
                yield module.split(".")[1]


def test_every_room_has_a_layer() -> None:
    assert len(LAYERS) <= MAX_LAYERS
    assert {_room(path) for path in FILES} - {*PUBLIC} == set().union(*LAYERS)


def test_imports_point_one_way() -> None:
    layer = {name: level for level, names in enumerate(LAYERS) for name in names}
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {other}"
        for path in FILES
        if (room := _room(path)) not in PUBLIC
        for other in _imported_rooms(path)
        if other != room and layer.get(other, -1) >= layer[room]
    ]
    assert wrong == []


def test_no_logic_hides_in_an_init_file() -> None:
    for path in PACKAGE.rglob("*/__init__.py"):
        (only,) = ast.parse(path.read_text(encoding="utf-8")).body
        assert isinstance(only, ast.Expr), path
        assert isinstance(only.value, ast.Constant), path


def test_no_file_is_two() -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {path: n for path, n in lines.items() if n > MAX_LINES} == {}


def test_the_root_is_a_table_of_contents() -> None:
    assert len([path for path in FILES if path.parent == PACKAGE]) <= MAX_FILES_AT_ROOT


def test_a_command_is_short_and_imports_what_it_needs_at_once() -> None:
    """Files of `cli` hold words; what takes time to import stands in `cli/work`."""
    for path in sorted(PACKAGE.glob("cli/*.py")):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef):
                imports = [node for node in ast.walk(function) if isinstance(node, ast.ImportFrom)]
                n_lines = (function.end_lineno or 0) - function.body[0].lineno + 1
                assert len(imports) <= 1, f"{path.name}: {function.name}"
                assert n_lines <= MAX_BODY_LINES, f"{path.name}: {function.name}"
