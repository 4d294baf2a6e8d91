"""What `import clipcli` promises: these names, and every type that they speak of."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
import typing
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, get_args

import pytest

import clipcli

NAMES = [
    "CLIP",
    "Calibration",
    "Classified",
    "ClipcliError",
    "DecodeOptions",
    "Decoded",
    "Embedded",
    "EmbeddedText",
    "Embedder",
    "Encoder",
    "Failure",
    "HeldOutRates",
    "ImageTransform",
    "Label",
    "LabelRequest",
    "LabelScores",
    "Labeller",
    "MadeBy",
    "Match",
    "Model",
    "ModelError",
    "ModelOptions",
    "ModelRequest",
    "ModelSpec",
    "PassedOver",
    "Photo",
    "PhotoError",
    "Prediction",
    "PreprocessConfig",
    "Probe",
    "ProbeOrigin",
    "Rates",
    "RunOptions",
    "Score",
    "Text",
    "TextTokenizer",
    "Thresholds",
    "Tokenizer",
    "UsageError",
    "__version__",
    "available_models",
    "classify",
    "decode",
    "embed",
    "find_photos",
    "load",
    "open_labeller",
    "read_calibration",
    "read_probe",
    "similar",
    "tokenize",
    "tune_process",
]
# of literals, unions, callables and arrays: an annotation of one's own can spell them out
ALIASES = {
    "Activation",
    "Embedding",
    "Fit",
    "Floats",
    "FoundFile",
    "OnProgress",
    "EmbeddedOrNot",
    "Paths",
    "Precision",
    "RawFiles",
    "Resample",
    "ResizeRule",
    "Scoring",
    "TokenizerKind",
}
# had by `load`, `open`, `of` and `from_spec`: their constructors take what is not public
NOT_MADE_BY_HAND = {"CLIP", "Embedder", "Encoder"}


def test_the_public_names_are_these() -> None:
    assert sorted(NAMES) == NAMES
    assert clipcli.__all__ == NAMES
    assert dir(clipcli) == NAMES


@pytest.mark.parametrize("name", [name for name in NAMES if name != "__version__"])
def test_a_public_name_can_be_had_and_says_what_it_is(name: str) -> None:
    assert getattr(clipcli, name).__name__ == name
    assert getattr(clipcli, name).__doc__


REACH = """
import sys, clipcli
assert [name for name in vars(clipcli) if not name.startswith("_")] == []
print([name for name in sys.argv[1:] if hasattr(clipcli, name)])
assert clipcli.preprocess is sys.modules["clipcli.photos.preprocess"]  # as CLIP's users write
"""


def test_nothing_else_can_be_had_before_a_submodule_is_imported() -> None:
    files = Path(clipcli.__file__).parent.rglob("*.py")
    modules = {name for path in files for name in (path.stem, path.parent.name)}
    others = modules - {*NAMES, "preprocess"} | {"logging", "typing", "annotations"}
    child = subprocess.run(
        [sys.executable, "-c", REACH, *sorted(others - {"__init__"})],
        capture_output=True,
        text=True,
        check=True,
    )
    assert child.stdout == "[]\n"


def names_for_types(module: ModuleType) -> dict[str, Any]:
    """What stands for a name in a module's annotations, its imports for type checkers too."""
    names = dict(vars(module))
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for line in node.body:
                if isinstance(line, ast.ImportFrom) and (line.module or "").startswith("clipcli"):
                    there = names_for_types(import_module(line.module or ""))
                    names |= {one.asname or one.name: there[one.name] for one in line.names}
                else:
                    exec(compile(ast.Module([line], []), module.__name__, "exec"), names)
    return names


def functions_of(cls: type) -> Iterator[FunctionType]:
    """Public methods and properties, and the constructor if it is for callers."""
    made_by_hand = cls.__name__ not in NOT_MADE_BY_HAND
    for name, member in vars(cls).items():
        if not name.startswith("_") or (name in ("__init__", "__call__") and made_by_hand):
            for inner in ("__func__", "fget", "func"):  # of class methods and two properties
                member = getattr(member, inner, member)
            if inspect.isfunction(member):
                yield member


def spoken_of(public: Any) -> Iterator[tuple[str, Any]]:
    """Each name in the annotations of a public class or function, and what it stands for."""
    annotated = [public]
    if inspect.isclass(public):
        classes = [one for one in public.__mro__ if one.__module__.startswith("clipcli.")]
        annotated = [*classes, *(one for cls in classes for one in functions_of(cls))]
    for one in annotated:
        known = names_for_types(sys.modules[one.__module__])
        for field, annotation in inspect.get_annotations(one).items():
            if not field.startswith("_") and annotation is not None:
                written = getattr(annotation, "__forward_arg__", annotation)  # of a TypedDict
                for node in ast.walk(ast.parse(written)):
                    if isinstance(node, ast.Name) and node.id in known:
                        yield node.id, known[node.id]


def test_every_type_in_a_public_signature_is_public() -> None:
    public = [getattr(clipcli, name) for name in NAMES if name != "__version__"]
    spoken = dict(pair for one in public for pair in spoken_of(one))
    for one in [*spoken.values()]:
        spoken |= {part.__name__: part for part in get_args(one) if inspect.isclass(part)}
    classes = {name: one for name, one in spoken.items() if inspect.isclass(one)}
    ours = {name for name, one in classes.items() if one.__module__.startswith("clipcli.")}
    assert ours - {*NAMES} == set()
    assert ours > {"Embedder", "MadeBy", "Thresholds"}
    others = {name for name in spoken.keys() - classes if not inspect.ismodule(spoken[name])}
    assert others - {*typing.__all__, "NDArray"} == ALIASES
