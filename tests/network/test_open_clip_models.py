"""The large models, by the names and shapes that open_clip gives their tensors: every one has its
place, and there is none too many. `tests/reference/make_sizes.py` recorded them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from places import REFERENCE

from clipcli.models.checkpoint import keymaps, open_clip_config, outline, shapes
from clipcli.network.clip import CLIP

MODELS = json.loads((REFERENCE / "open_clip_models.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", MODELS)
def test_every_tensor_has_its_place_and_the_parameters_are_as_many(name: str) -> None:
    recorded = MODELS[name]
    tensors = {key: torch.empty(shape, device="meta") for key, shape in recorded["tensors"].items()}
    tensors = keymaps.openai_names(tensors, Path(name))
    described = open_clip_config.describe({"model_cfg": recorded["config"]}, Path(name))
    config = shapes.deduce(tensors, described.unseen)
    described.check(config)
    with torch.device("meta"):
        model = CLIP(config)
    found = {key: list(one.shape) for key, one in model.state_dict().items()}
    assert found == {key: list(one.shape) for key, one in tensors.items()}
    # what a file above 700 MB is looked through for, before it is read
    outline.check(tensors, 4 * recorded["n_parameters"], Path(name))
    assert sum(one.numel() for one in model.parameters()) == recorded["n_parameters"]
