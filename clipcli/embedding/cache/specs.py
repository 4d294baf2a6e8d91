"""What was found out about a model's files, so that a warm run opens neither them nor torch."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from clipcli.embedding.cache.photos import FileState
from clipcli.embedding.cache.proof import checksum, fits
from clipcli.embedding.cache.store import Cache
from clipcli.models.request import ModelRequest
from clipcli.models.spec import ModelSpec

SPEC_VERSION = 3  # to be raised when fingerprints, scores or choices are made in another way


class SpecMemory:
    """The `ModelSpec` of files that have not changed since, on the machine that they ran on."""

    def __init__(self, cache: Cache, files: Sequence[Path], request: ModelRequest) -> None:
        self._cache = cache
        states = [(str(path.absolute()), FileState.of(path.stat())) for path in files]
        self._is_settled = all(state.is_settled(time.time_ns()) for _, state in states)
        self._key = json.dumps(
            [
                SPEC_VERSION,
                [(path, *state) for path, state in states],
                [request.device, request.precision, request.activation],
                _machine(),
            ]
        )

    def recall(self, name: str) -> ModelSpec | None:
        """What is known, under the name that the model has in this run."""
        (row,) = self._cache.select(
            "SELECT CAST(value AS BLOB), checksum FROM remembered WHERE key = ?", [(self._key,)]
        )
        if row is None:
            return None
        if fits(row[1], self._key.encode(), row[0]):
            with suppress(ValueError, KeyError, TypeError):
                return ModelSpec.from_json(row[0].decode()).named(name)
        self._cache.note_damage("remembered", self._key)
        return None

    def remember(self, spec: ModelSpec) -> None:
        if self._is_settled:
            value = spec.to_json()
            row = (self._key, value, checksum(self._key.encode(), value.encode()))
            self._cache.write([("INSERT OR REPLACE INTO remembered VALUES (?, ?, ?)", [row])])


def _machine() -> list[str | bool | None]:
    """What `auto` depends on: this host, its torch, and the GPUs that can be seen."""
    torch = None
    with suppress(metadata.PackageNotFoundError):  # where its description cannot be read
        torch = metadata.version("torch")
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [platform.node(), torch, gpus, os.path.exists("/dev/nvidiactl")]
