"""An import may only point up this list; see the layers in README, "How it is built"."""

from __future__ import annotations

import ast
from pathlib import Path

import clipcli

LAYERS = [
    {"errors", "records"},
    {"preprocess"},
    {"images", "labels", "scoring", "search", "part_file", "tokenizer", "model"},
    {"writers", "decode", "download", "spec", "templates"},
    {"embedding_file", "hub", "cache"},
    {"default_model", "locate", "reading"},
    {"checkpoint"},
    {"placement"},
    {"encoder"},
    {"engine"},
    {"embedder"},
    {"pipeline"},
    {"evaluation"},
    {"presence", "probe", "prompts"},
    {"training"},
    {"api"},
    {"cli"},
    {"__init__", "__main__"},
]
PACKAGE = Path(clipcli.__file__).parent


def test_every_module_has_a_layer() -> None:
    modules = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py"}
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert modules | packages == set().union(*LAYERS)


def test_imports_point_up_the_layers_only() -> None:
    layer = {name: level for level, names in enumerate(LAYERS) for name in names}
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        home = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if home in ("__init__", "__main__"):  # they name what is public, on use
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or not node.module:
                continue
            parts = node.module.split(".")
            if parts[0] != "clipcli":
                continue
            named = parts[1:2] or [alias.name for alias in node.names]
            for other in named:
                if other != home and other in layer and layer[other] >= layer[home]:
                    wrong.append(f"{path.relative_to(PACKAGE)} imports {other}")
    assert wrong == []
