"""clipcli: CLIP for a folder of photographs, from the command line and from Python.

`import clipcli as clip` gives the functions of CLIP's own README: `available_models`, `load`,
`tokenize`. Above them `classify`, `embed` and `similar` go from paths to records.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clipcli.api import available_models, classify, embed, load, similar
    from clipcli.embedding.embedder import Embedder
    from clipcli.errors import ClipcliError
    from clipcli.models.encoder import Encoder
    from clipcli.models.tokenizer import tokenize
    from clipcli.records import Classified, Embedded, Failure, Match, PassedOver, Prediction

__version__ = "0.1.0"

# where each public name lives; it is imported when it is first asked for, so that nothing
# heavy is loaded by `import clipcli` alone
_HOMES = {
    "available_models": "clipcli.api",
    "load": "clipcli.api",
    "classify": "clipcli.api",
    "embed": "clipcli.api",
    "similar": "clipcli.api",
    "tokenize": "clipcli.models.tokenizer",
    "Embedder": "clipcli.embedding.embedder",
    "Encoder": "clipcli.models.encoder",
    "ClipcliError": "clipcli.errors",
    "Classified": "clipcli.records",
    "Embedded": "clipcli.records",
    "Failure": "clipcli.records",
    "Match": "clipcli.records",
    "PassedOver": "clipcli.records",
    "Prediction": "clipcli.records",
}

__all__ = [
    "Classified",
    "ClipcliError",
    "Embedded",
    "Embedder",
    "Encoder",
    "Failure",
    "Match",
    "PassedOver",
    "Prediction",
    "__version__",
    "available_models",
    "classify",
    "embed",
    "load",
    "similar",
    "tokenize",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name == "preprocess":  # CLIP's users write clip.preprocess...; submodules load on use too
        return import_module("clipcli.photos.preprocess")
    raise AttributeError(f"module 'clipcli' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
