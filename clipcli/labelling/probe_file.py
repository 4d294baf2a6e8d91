"""A probe's file: safetensors, two arrays and a line of JSON about where they come from.

weights          float32 [n_labels, d]   see `probe.Probe`
text_embeddings  float32 [n_labels, d]
metadata["probe"]: format, labels, the fields of `probe.ProbeOrigin` and of its `MadeBy`. Nothing in
it is a pickle.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from clipcli.errors import UsageError, one_line
from clipcli.files import strict_json
from clipcli.files.made_by import stored_name
from clipcli.files.part_file import PartFile
from clipcli.files.rows import json_text
from clipcli.labelling.probe import Probe, ProbeOrigin
from clipcli.records import MadeBy

FORMAT = "clipcli probe 1"
MADE_BY = ("model", "fingerprint", "precision", "preprocessing")


def write_probe(probe: Probe, file: PartFile) -> None:
    """All of the file; `commit` is the caller's. Raises OutputError where the disk refuses."""
    from safetensors.numpy import save

    origin = asdict(probe.origin)
    made_by = {name: value for name, value in origin.pop("made_by").items() if value is not None}
    described = {"format": FORMAT, "labels": probe.labels, **made_by, **origin}
    arrays = {"weights": probe.weights, "text_embeddings": probe.text_embeddings}
    file.write(save(arrays, {"probe": json_text(described)}))


def read_probe(path: str) -> Probe:
    """A probe that `write_probe` wrote.

    Raises UsageError for a file that cannot be read, is damaged, or is something else.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with Path(path).open("rb"):  # says what is wrong in the system's words
            pass
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if "probe" not in metadata:
                raise ValueError("a safetensors file of something else")
            return _probe(
                strict_json.loads(metadata["probe"]),
                file.get_tensor("weights"),
                file.get_tensor("text_embeddings"),
            )
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror or error}; expected a file of clipcli probe fit"
        ) from error
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(
            one_line(f"{path}: {error}; expected a file of clipcli probe fit; fit it again")
        ) from error


def _probe(described: Any, weights: Any, text_embeddings: Any) -> Probe:
    """Raises ValueError, KeyError or TypeError for parts that do not belong together."""
    if not isinstance(described, dict) or described.pop("format", None) != FORMAT:
        raise ValueError(f"its format is not {FORMAT!r}")
    labels = described.pop("labels")
    names = {name: described.pop(name) for name in MADE_BY}
    templates = tuple(described.pop("templates"))
    if not all(isinstance(text, str) for text in (*labels, *templates, *names.values())):
        raise ValueError("a name in it is no text")
    names["preprocessing"] = stored_name(names["preprocessing"])
    shots = tuple(described.pop("shots"))
    origin = ProbeOrigin(MadeBy(**names, templates=templates), shots, **described)
    if not labels or len(set(labels)) != len(labels) or len(origin.shots) != len(labels):
        raise ValueError("its labels are not one each")
    for name, array in (("weights", weights), ("text_embeddings", text_embeddings)):
        if array.dtype != np.float32 or array.ndim != 2 or len(array) != len(labels):
            raise ValueError(
                f"{name} are {array.dtype} of {list(array.shape)} for {len(labels)} labels"
            )
        if not np.isfinite(array).all():
            raise ValueError(f"{name} hold numbers that are not finite")
    if weights.shape != text_embeddings.shape:
        raise ValueError("its two arrays differ in width")
    if not np.allclose(np.linalg.norm(text_embeddings, axis=1), 1, atol=1e-3):
        raise ValueError("text_embeddings are not of unit length")
    return Probe(tuple(labels), weights, text_embeddings, origin)
