"""A model whose numbers are not numbers, or make no answer, is refused; one photograph fails."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import save
from PIL import Image
from places import REFERENCE
from program import Result, run
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from clipcli.embedding.embedder import Embedder
from clipcli.errors import CheckpointError, ModelError
from clipcli.models.checkpoint import checkpoint, shapes
from clipcli.models.encoder import Encoder
from clipcli.models.on_disk import catalogue
from clipcli.network.clip import CLIP
from clipcli.network.config import (
    ClipConfig,
    ResNetConfig,
    TextConfig,
    TransformerConfig,
    VisionTransformerConfig,
)
from clipcli.photos.preprocess import PreprocessConfig
from clipcli.records import Embedded, EmbeddedText, Failure, Photo
from clipcli.training.architectures import PUBLISHED, SMALL

Cli = Callable[..., Result]
Tensors = dict[str, Tensor]
MODELS = REFERENCE / "models"
VIT = MODELS / "vit.pt"
GREY = 128
NO_NUMBERS = [float("nan"), float("inf"), float("-inf")]
TRANSFORMER = TransformerConfig(64, 1, 1, 64)
TEXT = TextConfig(16, 49_408, TRANSFORMER)
RESNET = ClipConfig(32, ResNetConfig(32, (1, 1, 1, 1), 8, 4), TEXT)


@pytest.fixture
def tensors() -> Tensors:
    stored = checkpoint.read(VIT).tensors
    return {name: tensor.float() for name, tensor in stored.items() if tensor.is_floating_point()}


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path)
    message = str(caught.value)
    assert message.isprintable()
    return message


def poisoned(tensor: Tensor, value: float) -> Tensor:
    changed = tensor.clone(memory_format=torch.contiguous_format)
    changed.view(-1)[-1] = value
    return changed


# ------------------------------------------------------------------------------- every format


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_a_number_that_is_none_is_refused_in_every_tensor(
    value: float, tensors: Tensors, tmp_path: Path
) -> None:
    path = tmp_path / "bad.safetensors"
    for name, tensor in list(tensors.items())[:: 1 if np.isnan(value) else 10]:
        save_file(tensors | {name: poisoned(tensor, value)}, path)
        message = refusal(path)
        assert f"{path}: {name}: 1 of {tensor.numel():,} numbers are NaN or infinite" in message


def test_every_format_is_looked_through(tensors: Tensors, tmp_path: Path) -> None:
    name, nan = "visual.positional_embedding", float("nan")
    bad = tensors | {name: poisoned(tensors[name], nan)}
    torch.save(bad, tmp_path / "state_dict.pt")
    torch.save({"state_dict": {f"module.{n}": t for n, t in bad.items()}}, tmp_path / "nested.pt")
    for kind in (torch.float16, torch.bfloat16, torch.float64):
        save_file({n: t.to(kind) for n, t in bad.items()}, tmp_path / f"{kind}.safetensors")
    with zipfile.ZipFile(VIT) as old, zipfile.ZipFile(tmp_path / "jit.pt", "w") as new:
        data = [entry for entry in old.infolist() if "/data/" in entry.filename]
        largest = max(data, key=lambda entry: entry.file_size).filename
        for entry in old.namelist():
            content = old.read(entry)
            end = b"\xff\xff" if entry == largest else content[-2:]  # NaN in any precision
            new.writestr(entry, content[:-2] + end)
    for path in tmp_path.iterdir():
        assert "numbers are NaN or infinite" in refusal(path)
        assert path.name == "jit.pt" or name in refusal(path)


def test_a_folder_of_hugging_face_is_looked_through(tmp_path: Path) -> None:
    stored = load_file(MODELS / "vit_hf" / "model.safetensors")
    name = "vision_model.encoder.layers.1.self_attn.k_proj.weight"
    save_file(stored | {name: poisoned(stored[name], -np.inf)}, tmp_path / "model.safetensors")
    config = (MODELS / "vit_hf" / "config.json").read_bytes()
    (tmp_path / "config.json").write_bytes(config)
    assert "visual.transformer.resblocks.1.attn.in_proj_weight: 1 of" in refusal(tmp_path)


def test_batch_norms_statistics_are_looked_through(tmp_path: Path) -> None:
    stored = CLIP(RESNET).initialize_parameters().state_dict()
    for name in ("visual.bn1.running_mean", "visual.layer2.0.downsample.1.running_var"):
        path = tmp_path / "resnet.safetensors"
        save_file(stored | {name: poisoned(stored[name], np.nan)}, path)
        assert f"{name}: 1 of" in refusal(path)


def test_the_embedded_models_file_is_looked_through(tmp_path: Path) -> None:
    with safe_open(catalogue.lite_path(), framework="pt") as file:
        metadata = file.metadata()
    stored = load_file(catalogue.lite_path())
    path = tmp_path / "lite.safetensors"

    def message(changes: Tensors, config: dict[str, object]) -> str:
        described = json.loads(metadata["config"]) | config
        save_file(stored | changes, path, {**metadata, "config": json.dumps(described)})
        return refusal(path)

    scales = poisoned(stored["token_embedding.scale"], np.nan)
    assert "token_embedding.weight: 256 of" in message({"token_embedding.scale": scales}, {})
    hidden = poisoned(stored["evidence.hidden.weight"], np.inf)
    assert "evidence.hidden.weight: 1 of" in message({"evidence.hidden.weight": hidden}, {})
    for temperature in (0, -1, 1e-9, 1e9, float("nan"), float("inf")):
        found = message({}, {"vision": {"temperature": temperature}})
        assert f"temperature is {float(temperature)}" in found
    seen = json.loads(metadata["config"])["preprocess"]
    for change, said in (
        ({"crop": float("nan")}, "crop_share is nan"),
        ({"crop": 1e-9}, "crop_share is 1e-09; expected 0.1 to 1"),
        ({"px": 4800}, "px is 4800; expected 1 to 1,024"),
        ({"mean": [0.5, 0.5, float("inf")]}, "mean is inf"),
        ({"std": [0.5, 0.5, 1e-30]}, "std is 1e-30; expected 0.001 to 10"),
    ):
        assert said in message({}, {"preprocess": seen | change})


def test_what_a_float32_cannot_hold_is_refused(tensors: Tensors, tmp_path: Path) -> None:
    wide = {name: tensor.double() for name, tensor in tensors.items()}
    wide["visual.proj"] = poisoned(wide["visual.proj"], 1e300)
    save_file(wide, tmp_path / "wide.safetensors")
    assert "visual.proj: 1 of" in refusal(tmp_path / "wide.safetensors")


@pytest.mark.parametrize(
    ("kind", "value"), [(torch.float16, 65_504.0), (torch.float32, 3.4e38), (torch.bfloat16, 3e38)]
)
def test_large_numbers_whose_sum_is_infinite_are_numbers(
    kind: torch.dtype, value: float, tensors: Tensors, tmp_path: Path
) -> None:
    large = {name: tensor.to(kind) for name, tensor in tensors.items()}
    large["visual.proj"] = torch.full_like(large["visual.proj"], value)
    save_file(large, tmp_path / "large.safetensors")
    loaded = checkpoint.load(tmp_path / "large.safetensors")
    assert loaded.network.state_dict()["visual.proj"].isfinite().all()


# ------------------------------------------------------------------------ scale and preprocessing


@pytest.mark.parametrize("scale", [1e-30, 0.001, 2e4, 1e30, 1e300])
def test_a_scale_that_makes_no_probabilities_is_refused(
    scale: float, tensors: Tensors, tmp_path: Path
) -> None:
    save_file(tensors | {"logit_scale": torch.tensor(np.log(scale)).float()}, tmp_path / "scale")
    message = refusal(tmp_path / "scale")
    assert "logit_scale is" in message
    assert "expected 0.01 to 10,000" in message


@pytest.mark.parametrize("scale", [1.0, 14.3, 20.0, 100.0, 118.0])
def test_scales_of_published_and_of_new_models_are_none_of_these(
    scale: float, tensors: Tensors, tmp_path: Path
) -> None:
    save_file(tensors | {"logit_scale": torch.tensor(np.log(scale)).float()}, tmp_path / "scale")
    assert checkpoint.load(tmp_path / "scale").score.scale == pytest.approx(scale)


@pytest.mark.parametrize(
    "settings",
    [
        {"image_mean": [0.5, 0.5, 255.0]},
        {"image_mean": [0.5, 0.5, -1]},
        {"image_mean": [0.5, 0.5, float("-inf")]},
        {"image_std": [0.5, 0.5, 1e-9]},
        {"image_std": [0.5, 0.5, 1e30]},
        {"image_std": [0.5, float("nan"), 0.5]},
    ],
    ids=str,
)
def test_a_config_with_an_absurd_preprocessing_is_refused(
    settings: dict[str, object], tmp_path: Path
) -> None:
    for name in ("model.safetensors", "config.json"):
        (tmp_path / name).write_bytes((MODELS / "vit_hf" / name).read_bytes())
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    assert "preprocessing: " in refusal(tmp_path)
    assert "; expected 0" in refusal(tmp_path)


@pytest.mark.parametrize("draft_scale", [*NO_NUMBERS, 0.0, -1.0, 1e9])
def test_a_draft_scale_that_is_none_is_refused(draft_scale: float) -> None:
    with pytest.raises(ValueError, match="draft_scale is "):
        PreprocessConfig(224, draft_scale=draft_scale)


def test_the_preprocessing_of_known_models_is_none_of_these() -> None:
    for px in (224, 256, 260, 336, 378, 384, 448, 512, 560, 768, 896, 1024):
        for mean, std in ((0.48, 0.27), (0.5, 0.5), (0.0, 1.0), (0.0, 1 / 255)):
            assert PreprocessConfig(px, (mean,) * 3, (std,) * 3).px == px


# ---------------------------------------------------------------------------- how large it is


def with_picture(tensors: Tensors, grid: int, patch_px: int) -> Tensors:
    return tensors | {
        "visual.conv1.weight": torch.zeros(128, 3, patch_px, patch_px),
        "visual.positional_embedding": torch.zeros(grid**2 + 1, 128),
    }


def test_a_model_for_pictures_beyond_all_published_ones_is_refused(
    tensors: Tensors, tmp_path: Path
) -> None:
    """One for 4,800 pixels took 5.6 GB for a single photograph."""
    for grid, patch_px, said in (
        (150, 32, "22,500 patches of 32 pixels, where 5,329 are most"),
        (70, 32, "pictures of 2,240 pixels a side, where 1,024 are most"),
        (74, 8, "5,476 patches of 8 pixels"),
        (300, 1, "90,000 patches of 1 pixels"),
    ):
        save_file(with_picture(tensors, grid, patch_px), tmp_path / "large.safetensors")
        assert said in refusal(tmp_path / "large.safetensors")
    resnet = CLIP(RESNET).initialize_parameters().state_dict()
    resnet["visual.attnpool.positional_embedding"] = torch.zeros(150**2 + 1, 256)
    with pytest.raises(shapes.ShapeError, match=r"pictures of 4,800 pixels a side"):
        shapes.deduce(resnet, shapes.Unseen(vision=shapes.Tower(heads=4)))


def test_published_sizes_are_none_of_these() -> None:
    def vit(px: int, patch_px: int) -> ClipConfig:
        return ClipConfig(64, VisionTransformerConfig(px, patch_px, TRANSFORMER), TEXT)

    sides = [(512, 16), (384, 14), (378, 14), (448, 14), (512, 8), (1022, 14), (1024, 16)]
    for config in [*PUBLISHED.values(), *SMALL.values(), *(vit(*side) for side in sides)]:
        with torch.device("meta"):
            network = CLIP(config)
        px = config.vision.px - config.vision.px % getattr(config.vision, "patch_px", 1)
        assert shapes.deduce(network.state_dict()).vision.px == px


# ---------------------------------------------------------------------------------- answers


@pytest.fixture
def half_blind(tmp_path: Path) -> Path:
    """Its numbers are finite. A grey picture is zeros to it, of a white one the sums overflow."""
    folder = tmp_path / "half_blind"
    folder.mkdir()
    stored = load_file(MODELS / "vit_hf" / "model.safetensors")
    filters = "vision_model.embeddings.patch_embedding.weight"
    large = torch.full_like(stored[filters], 3e36, dtype=torch.float32)
    save_file(stored | {filters: large}, folder / "model.safetensors")
    (folder / "config.json").write_bytes((MODELS / "vit_hf" / "config.json").read_bytes())
    settings = json.dumps({"image_mean": [GREY / 255] * 3})
    (folder / "preprocessor_config.json").write_text(settings)
    return folder


@pytest.fixture
def album(tmp_path: Path) -> list[str]:
    """Grey, white, and grey again."""
    folder = tmp_path / "album"
    folder.mkdir()
    return [
        str(save(folder / f"{number}.png", Image.new("RGB", (48, 48), (value,) * 3)))
        for number, value in enumerate((GREY, 255, GREY), start=1)
    ]


def test_a_photograph_without_a_finite_embedding_fails_and_the_others_do_not(
    half_blind: Path, album: list[str]
) -> None:
    reason = "the model gave no finite embedding in fp32; use another --model"
    options = {"device": "cpu", "precision": "fp32"}
    for _ in range(2):  # the second time from the cache, which has nothing of the white one
        embedder = Embedder.open(str(half_blind), **options)  # type: ignore[arg-type]
        first, white, last = embedder.embed_photos([Photo(path) for path in album])
        assert isinstance(first, Embedded)
        assert isinstance(last, Embedded)
        assert white == Failure(album[1], reason)
    assert first.recalled
    bare = Embedder.open(str(half_blind), remember=False, **options)  # type: ignore[arg-type]
    (alone,) = bare.embed_photos([Photo(album[0])])
    assert isinstance(alone, Embedded)
    assert np.isfinite(first.embedding).all()
    np.testing.assert_allclose(first.embedding, alone.embedding, atol=1e-6)


def test_the_bare_model_gives_no_numbers_that_are_none(half_blind: Path) -> None:
    encoder = Encoder.open(str(half_blind), device="cpu", precision="fp32")
    pixels = np.stack([np.full((48, 48, 3), value, np.uint8) for value in (GREY, 255)])
    with pytest.raises(ModelError, match="photograph 2: the model gave no finite embedding"):
        encoder.encode_pixels(pixels)


def test_the_command_names_the_photograph_and_exits_with_3(
    half_blind: Path, album: list[str]
) -> None:
    options = ("--model", half_blind, "--precision", "fp32", "--device", "cpu", "--format", "jsonl")
    result = run("embed", *album, *options)
    assert result.code == 3
    assert f"{album[1]}: the model gave no finite embedding in fp32" in result.stderr
    rows = [json.loads(line, parse_constant=pytest.fail) for line in result.stdout.splitlines()]
    assert [row["path"] for row in rows] == album
    assert ["embedding" in row for row in rows] == [True, False, True]


def test_no_command_answers_with_a_model_that_has_a_nan(
    tensors: Tensors, album: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "nan.safetensors"
    save_file(tensors | {"visual.proj": poisoned(tensors["visual.proj"], np.nan)}, path)
    result = run("classify", *album, "--model", path, "--labels", "cat,dog", "--format", "json")
    assert (result.code, result.stdout) == (1, b"")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"clipcli: {path}: visual.proj: 1 of 6,144 numbers are NaN or infinite;")


@pytest.mark.parametrize("length", [0.0, 1e-30, 1e30])
def test_an_embedding_without_a_length_is_none(
    length: float, tensors: Tensors, album: list[str], cli: Cli, tmp_path: Path
) -> None:
    path = tmp_path / "flat.safetensors"
    save_file(tensors | {"visual.proj": tensors["visual.proj"].sign() * length}, path)
    result = cli("embed", album[0], "--model", path, "--precision", "fp32", "--device", "cpu")
    assert result.code == 1
    assert "the model gave no finite embedding in fp32" in result.stderr


def test_what_float16_cannot_hold_is_no_answer(
    tensors: Tensors, album: list[str], cli: Cli, tmp_path: Path
) -> None:
    path = tmp_path / "large.safetensors"
    save_file(tensors | {"visual.proj": tensors["visual.proj"].sign() * 1e6}, path)
    for precision, code in (("fp32", 0), ("fp16", 1)):
        options = ("--model", path, "--precision", precision, "--device", "cpu")
        result = cli("embed", album[0], *options)
        assert result.code == code
    assert "the model gave no finite embedding in fp16; pass --precision fp32" in result.stderr


def test_a_text_without_an_embedding_ends_the_run(cli: Cli, tmp_path: Path) -> None:
    torch.manual_seed(0)
    stored = CLIP(RESNET).initialize_parameters().state_dict()
    path = tmp_path / "mute.safetensors"
    save_file(stored | {"text_projection": torch.zeros(64, 32)}, path)
    options = ("--model", path, "--precision", "fp32", "--device", "cpu", "--format", "jsonl")
    result = cli("embed", "--text", "a dog", *options)
    assert (result.code, result.stdout) == (1, b"")
    said = f"{path}, text 'a dog': the model gave no finite embedding in fp32"
    assert said in result.stderr
    embedder = Embedder.open(str(path), device="cpu", precision="fp32")
    with pytest.raises(ModelError, match="text 'a cat'"):
        list[EmbeddedText](embedder.embed_texts(["a cat"]))
