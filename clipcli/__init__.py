"""clipcli: CLIP for a folder of photographs, from the command line and from Python.

`import clipcli as clip` gives the functions of CLIP's own README: `available_models`, `load`,
`tokenize`. Above them `classify`, `embed` and `similar` go from paths to records.
"""

# under names of their own: what stands here without an underscore is public
import logging as _logging
import typing as _typing
from importlib import import_module as _import_module

if _typing.TYPE_CHECKING:
    from clipcli.api import available_models, classify, embed, load, open_labeller, similar
    from clipcli.embedding.embedder import Embedder
    from clipcli.embedding.local import RunOptions
    from clipcli.errors import ClipcliError, ModelError, PhotoError, UsageError
    from clipcli.labelling.calibration import HeldOutRates, Rates
    from clipcli.labelling.calibration_file import Calibration, read_calibration
    from clipcli.labelling.labeller import Labeller, LabelRequest
    from clipcli.labelling.multi_label import Thresholds
    from clipcli.labelling.probe import Probe, ProbeOrigin
    from clipcli.labelling.probe_file import read_probe
    from clipcli.labelling.zero_shot import LabelScores
    from clipcli.labels.label import Label, Text
    from clipcli.models.encoder import Encoder
    from clipcli.models.model import Model
    from clipcli.models.request import ModelOptions, ModelRequest
    from clipcli.models.score import Score
    from clipcli.models.spec import ModelSpec
    from clipcli.models.text_tokens import TextTokenizer
    from clipcli.models.tokenizer import Tokenizer, tokenize
    from clipcli.network.clip import CLIP
    from clipcli.photos import preprocess as preprocess
    from clipcli.photos.decode import Decoded, DecodeOptions, decode
    from clipcli.photos.find import find_photos
    from clipcli.photos.preprocess import ImageTransform, PreprocessConfig
    from clipcli.records import (
        Classified,
        Embedded,
        EmbeddedText,
        Failure,
        MadeBy,
        Match,
        PassedOver,
        Photo,
        Prediction,
    )
    from clipcli.runtime.process import tune_process

__version__ = "0.1.0"

# a library is silent: whoever wants to hear it adds a handler to this logger
_logging.getLogger(__name__).addHandler(_logging.NullHandler())

# the public names by where they live; each is imported when it is first asked for, so that
# nothing heavy is loaded by `import clipcli` alone
_PUBLIC = {
    "clipcli.api": "available_models classify embed load open_labeller similar",
    "clipcli.embedding.embedder": "Embedder",
    "clipcli.embedding.local": "RunOptions",
    "clipcli.errors": "ClipcliError ModelError PhotoError UsageError",
    "clipcli.labelling.calibration": "HeldOutRates Rates",
    "clipcli.labelling.calibration_file": "Calibration read_calibration",
    "clipcli.labelling.labeller": "Labeller LabelRequest",
    "clipcli.labelling.multi_label": "Thresholds",
    "clipcli.labelling.probe": "ProbeOrigin Probe",
    "clipcli.labelling.probe_file": "read_probe",
    "clipcli.labelling.zero_shot": "LabelScores",
    "clipcli.labels.label": "Label Text",
    "clipcli.models.encoder": "Encoder",
    "clipcli.models.model": "Model",
    "clipcli.models.request": "ModelOptions ModelRequest",
    "clipcli.models.score": "Score",
    "clipcli.models.spec": "ModelSpec",
    "clipcli.models.text_tokens": "TextTokenizer",
    "clipcli.models.tokenizer": "Tokenizer tokenize",
    "clipcli.network.clip": "CLIP",
    "clipcli.photos.decode": "Decoded DecodeOptions decode",
    "clipcli.photos.find": "find_photos",
    "clipcli.photos.preprocess": "ImageTransform PreprocessConfig",
    "clipcli.records": "Classified Embedded EmbeddedText Failure MadeBy Match PassedOver Photo"
    " Prediction",
    "clipcli.runtime.process": "tune_process",
}
_HOMES = {name: home for home, names in _PUBLIC.items() for name in names.split()}

__all__ = [
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


if not _typing.TYPE_CHECKING:  # a type checker would take every name for one of ours

    def __getattr__(name: str) -> object:
        if name in _HOMES:
            return getattr(_import_module(_HOMES[name]), name)
        if name == "preprocess":  # CLIP's users write clip.preprocess
            return _import_module("clipcli.photos.preprocess")
        raise AttributeError(f"module 'clipcli' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
