"""Every format that a CLIP comes in, and one line for each way in which it can be wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from places import REFERENCE, ROOT, SHARED
from safetensors.torch import load_file, save_file
from torch import Tensor

from clipcli.errors import CheckpointError
from clipcli.models.checkpoint import checkpoint, torch_archive
from clipcli.models.checkpoint.tensor_records import STORAGE_DTYPES
from clipcli.network.clip import CLIP
from clipcli.network.config import (
    ClipConfig,
    TextConfig,
    TransformerConfig,
    VisionTransformerConfig,
)
from clipcli.photos.preprocess import CLIP_MEAN, CLIP_STD, PreprocessConfig

MODELS = REFERENCE / "models"
VIT = MODELS / "vit.pt"
INTEGERS = {"input_resolution": 48, "context_length": 77, "vocab_size": 1000}
VIT_CONFIG = ClipConfig(
    embed_dim=48,
    vision=VisionTransformerConfig(48, 8, TransformerConfig(128, 3, 2, 512)),
    text=TextConfig(77, 1000, TransformerConfig(64, 2, 1, 256)),
)
OPEN_CLIP_JSON = {
    "model_cfg": {
        "embed_dim": 48,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 48, "layers": 3, "width": 128, "patch_size": 8},
        "text_cfg": {
            "context_length": 77,
            "vocab_size": 1000,
            "width": 64,
            "heads": 1,
            "layers": 2,
        },
    },
    "preprocess_cfg": {
        "mean": [0.5, 0.25, 0.125],
        "std": [0.5, 0.5, 0.5],
        "interpolation": "bilinear",
        "resize_mode": "shortest",
    },
}
HF_JSON = json.loads((MODELS / "vit_hf/config.json").read_text(encoding="utf-8"))

Tensors = dict[str, Tensor]


@pytest.fixture(scope="module")
def stored() -> Tensors:
    """What torch's own loader finds in the archive: float16, without the integers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated, and we only trust our own file
        module = torch.jit.load(VIT, map_location="cpu")
    return {name: t.clone() for name, t in module.state_dict().items() if name not in INTEGERS}


@pytest.fixture(scope="module")
def floats(stored: Tensors) -> Tensors:
    return {name: tensor.float() for name, tensor in stored.items()}


def assert_same_tensors(found: Tensors, expected: Tensors) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name


def refusal(path: Path, **options: str) -> str:
    """The message with which a checkpoint is refused, without its path."""
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path, **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    if message.startswith(str(path)):
        return message.removeprefix(str(path))
    folder = path if path.is_dir() else path.parent
    assert message.startswith(f"{folder}{os.sep}")  # a config file beside it
    return message.removeprefix(f"{folder}{os.sep}")


def write_json(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def save_under_state_dict(tensors: Tensors, path: Path) -> None:
    wrapped = OrderedDict((f"module.{name}", tensor) for name, tensor in tensors.items())
    torch.save({"epoch": 3, "name": "vit", "state_dict": wrapped, "optimizer": {"lr": 0.1}}, path)


def save_parameters(tensors: Tensors, path: Path) -> None:
    torch.save({name: torch.nn.Parameter(tensor) for name, tensor in tensors.items()}, path)


# ------------------------------------------------------------------------------- what loads


def test_torchscript_archive_has_the_tensors_that_torch_finds(stored: Tensors) -> None:
    found = checkpoint.read(VIT).tensors
    integers = {name: int(found.pop(name)) for name in INTEGERS}
    assert integers == INTEGERS
    assert_same_tensors(found, stored)


def test_published_archive_is_marked_cuda_and_loads_on_the_cpu() -> None:
    with zipfile.ZipFile(VIT) as archive:
        pickled = archive.read("archive/data.pkl")
    assert b"cuda:0" in pickled
    opened = checkpoint.load(VIT)
    model, preprocess = opened.network, opened.preprocess
    assert {tensor.device.type for tensor in model.state_dict().values()} == {"cpu"}
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}
    assert model.config == VIT_CONFIG
    assert preprocess == PreprocessConfig(48, CLIP_MEAN, CLIP_STD, "bicubic")
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("vit.pt", torch.save),
        ("vit.bin", torch.save),
        ("ordered.pt", lambda tensors, path: torch.save(OrderedDict(tensors), path)),
        ("parameters.pt", save_parameters),
        ("training.pt", save_under_state_dict),
        ("vit.safetensors", save_file),
        ("the suffix does not matter.pt", save_file),
        ("nor does this.safetensors", torch.save),
    ],
)
def test_format_loads(
    name: str, save: Callable[[Tensors, Path], None], stored: Tensors, tmp_path: Path
) -> None:
    path = tmp_path / name
    save(stored, path)
    assert_same_tensors(checkpoint.read(path).tensors, stored)
    assert checkpoint.load(path).network.config == VIT_CONFIG


@pytest.mark.parametrize("file", ["vit_hf", "vit_hf/model.safetensors"])
def test_hugging_face_names_become_ours(file: str, floats: Tensors) -> None:
    found = checkpoint.load(MODELS / file).network
    assert found.config == VIT_CONFIG
    assert_same_tensors(found.state_dict(), floats)


def test_hugging_face_weights_in_a_torch_archive_load(floats: Tensors, tmp_path: Path) -> None:
    tensors = load_file(MODELS / "vit_hf/model.safetensors")
    tensors["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    write_json(tmp_path / "config.json", HF_JSON)
    assert_same_tensors(checkpoint.load(tmp_path).network.state_dict(), floats)


def test_views_into_one_storage_load(stored: Tensors, tmp_path: Path) -> None:
    transposed = stored["text_projection"].t().contiguous().t()
    assert not transposed.is_contiguous()
    torch.save(stored | {"text_projection": transposed}, tmp_path / "views.pt")
    assert_same_tensors(checkpoint.read(tmp_path / "views.pt").tensors, stored)


@pytest.mark.shared
def test_open_clip_directory_brings_heads_activation_and_preprocessing() -> None:
    opened = checkpoint.load(SHARED / "reference/models/vit_open_clip")
    model, preprocess = opened.network, opened.preprocess
    assert model.config == ClipConfig(
        embed_dim=40,
        vision=VisionTransformerConfig(48, 12, TransformerConfig(128, 3, 4, 512, "gelu")),
        text=TextConfig(77, 900, TransformerConfig(96, 2, 3, 384, "gelu")),
    )
    assert preprocess == PreprocessConfig(48, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic")


def test_open_clip_config_beside_wins_over_config_json(floats: Tensors, tmp_path: Path) -> None:
    save_file(floats, tmp_path / "open_clip_model.safetensors")
    write_json(tmp_path / "open_clip_config.json", OPEN_CLIP_JSON)
    write_json(tmp_path / "config.json", {"model_type": "something else"})
    for path in (tmp_path, tmp_path / "open_clip_model.safetensors"):
        opened = checkpoint.load(path)
        model, preprocess = opened.network, opened.preprocess
        assert model.config == VIT_CONFIG
        assert preprocess == PreprocessConfig(48, (0.5, 0.25, 0.125), (0.5, 0.5, 0.5), "bilinear")


def test_config_json_beside_decides_activation_and_heads(floats: Tensors, tmp_path: Path) -> None:
    save_file(floats, tmp_path / "any name.safetensors")
    config = json.loads(json.dumps(HF_JSON))
    config["vision_config"] |= {"hidden_act": "gelu", "num_attention_heads": 4}
    config["text_config"] |= {"hidden_act": "gelu", "num_attention_heads": 8}
    write_json(tmp_path / "config.json", config)
    found = checkpoint.load(tmp_path / "any name.safetensors").network.config
    assert found == ClipConfig(
        embed_dim=48,
        vision=VisionTransformerConfig(48, 8, TransformerConfig(128, 3, 4, 512, "gelu")),
        text=TextConfig(77, 1000, TransformerConfig(64, 2, 8, 256, "gelu")),
    )


def test_preprocessor_config_beside_decides_preprocessing(floats: Tensors, tmp_path: Path) -> None:
    save_file(floats, tmp_path / "model.safetensors")
    write_json(tmp_path / "config.json", HF_JSON)
    described = {
        "size": {"shortest_edge": 48},
        "crop_size": {"height": 48, "width": 48},
        "image_mean": [0.1, 0.2, 0.3],
        "image_std": [1.0, 2.0, 4.0],
        "resample": 2,
    }
    write_json(tmp_path / "preprocessor_config.json", described)
    assert checkpoint.load(tmp_path).preprocess == PreprocessConfig(
        48, (0.1, 0.2, 0.3), (1.0, 2.0, 4.0), "bilinear"
    )
    write_json(tmp_path / "preprocessor_config.json", described | {"crop_size": 64, "size": 64})
    assert "pictures are prepared at 64 pixels, the shapes need 48" in refusal(tmp_path)


def test_activation_of_a_bare_file_is_quickgelu_unless_told() -> None:
    assert checkpoint.load(VIT).network.config == VIT_CONFIG
    found = checkpoint.load(VIT, activation="gelu").network.config
    assert found.text.transformer == replace(VIT_CONFIG.text.transformer, activation="gelu")


def test_bare_open_clip_file_needs_an_activation(floats: Tensors, tmp_path: Path) -> None:
    path = tmp_path / "open_clip_model.safetensors"
    save_file(floats, path)
    message = refusal(path)
    assert "no open_clip_config.json beside it" in message
    assert "--activation gelu or --activation quickgelu" in message
    assert checkpoint.load(path, "gelu").network.config.text.transformer.activation == "gelu"
    assert checkpoint.load(path, "quickgelu").network.config == VIT_CONFIG


# ---------------------------------------------------------------------------- the fingerprint


def test_fingerprint_is_the_same_whatever_the_format(floats: Tensors, tmp_path: Path) -> None:
    torch.save(floats, tmp_path / "vit.pt")
    save_file(floats, tmp_path / "vit.safetensors")
    paths = [VIT, tmp_path / "vit.pt", tmp_path / "vit.safetensors", MODELS / "vit_hf"]
    fingerprints = {checkpoint.load(path).fingerprint() for path in paths}
    assert len(fingerprints) == 1
    assert len(fingerprints.pop()) == 64


@pytest.mark.shared
def test_fingerprint_of_the_shared_files_is_the_same() -> None:
    folder = SHARED / "reference/models"
    names = ["vit.pt", "vit.state_dict.pt", "vit.safetensors", "vit_hf"]
    assert len({checkpoint.load(folder / name).fingerprint() for name in names}) == 1


def test_fingerprint_changes_with_one_weight(floats: Tensors, tmp_path: Path) -> None:
    before = checkpoint.load(VIT).fingerprint()
    changed = floats["ln_final.bias"].clone()
    changed[3] = torch.nextafter(changed[3], torch.tensor(1e9))
    save_file(floats | {"ln_final.bias": changed}, tmp_path / "vit.safetensors")
    assert checkpoint.load(tmp_path / "vit.safetensors").fingerprint() != before


def test_fingerprint_changes_with_mean_resampling_heads_and_activation() -> None:
    model = checkpoint.load(VIT)
    preprocess = model.preprocess
    changed = [
        preprocess,
        replace(preprocess, mean=(0.48145466, 0.4578275, 0.5)),
        replace(preprocess, resample="bilinear"),
    ]
    fingerprints = {replace(model, preprocess=each).fingerprint() for each in changed}
    fingerprints.add(checkpoint.load(VIT, "gelu").fingerprint())
    assert len(fingerprints) == 4


# ---------------------------------------------------------------------- what is refused, and how


def test_missing_path_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.pt").startswith(": no such file")


def test_directory_without_weights_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path).startswith(": no weights found (nothing); expected model.safetensors")
    write_json(tmp_path / "config.json", HF_JSON)
    assert "no weights found (config.json)" in refusal(tmp_path)


def test_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.pt").touch()
    assert refusal(tmp_path / "empty.pt").startswith(": the file is empty; expected")


@pytest.mark.parametrize(
    "content", [b"a text\nof two lines\n", b"{}", b"\x00", b"PK", b"\xff" * 99]
)
def test_file_of_another_kind_is_refused_with_its_beginning(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "other.pt").write_bytes(content)
    assert refusal(tmp_path / "other.pt").startswith(f": begins with {content[:16]!r}; expected")


@pytest.mark.parametrize("keep", [5, 1000, 100_000, -1])
def test_truncated_archive_is_refused(keep: int, tmp_path: Path) -> None:
    (tmp_path / "part.pt").write_bytes(VIT.read_bytes()[:keep])
    message = refusal(tmp_path / "part.pt")
    assert message.startswith(": a damaged zip archive (")
    assert message.endswith("fetch the file again")


def test_archive_with_a_flipped_bit_is_refused(tmp_path: Path) -> None:
    content = bytearray(VIT.read_bytes())
    with zipfile.ZipFile(VIT) as archive:
        storage = archive.getinfo("archive/data/9")
    content[storage.header_offset + 1000] ^= 1
    (tmp_path / "flipped.pt").write_bytes(content)
    message = refusal(tmp_path / "flipped.pt")
    assert message.startswith(": a damaged zip archive (Bad CRC-32 for file 'archive/data/9')")


@pytest.mark.parametrize("keep", [16, 1000, 100_000, -1])
def test_truncated_safetensors_is_refused(keep: int, floats: Tensors, tmp_path: Path) -> None:
    save_file(floats, tmp_path / "whole.safetensors")
    part = tmp_path / "part.safetensors"
    part.write_bytes((tmp_path / "whole.safetensors").read_bytes()[:keep])
    message = refusal(part)
    assert "header claims" in message or "a damaged .safetensors file" in message
    assert message.endswith("fetch the file again")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"model_type": "siglip2"}, "a NaFlex model, which takes pictures of any shape"),
        ({"architecture": "vit_base_patch16_siglip_224"}, "an image encoder alone"),
        ({"model_type": "blip"}, "model_type is 'blip'; expected 'clip' (CLIPModel) or 'siglip'"),
    ],
)
def test_model_of_another_kind_is_refused_by_its_type(
    config: dict[str, str], expected: str, tmp_path: Path, floats: Tensors
) -> None:
    save_file(floats, tmp_path / "model.safetensors")
    write_json(tmp_path / "config.json", config)
    assert expected in refusal(tmp_path)


def test_activation_against_the_config_file_is_refused() -> None:
    assert refusal(MODELS / "vit_hf", activation="gelu") == (
        ": --activation gelu, but config.json says quickgelu; leave the option out"
    )
    assert checkpoint.load(MODELS / "vit_hf", "quickgelu").network.config == VIT_CONFIG


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"ln_final.bias": None}, "ln_final.bias is missing;"),
        (
            {"visual.ln_pre.weight": None, "visual.ln_pre.bias": None},
            "visual.ln_pre.weight is missing (and 1 more);",
        ),
        ({"extra": torch.zeros(2)}, "extra has no place in it;"),
        ({"ln_final.bias": torch.zeros(63)}, "ln_final.bias is [63], expected [64];"),
        ({"logit_scale": torch.zeros(2)}, "logit_scale is [2], expected [];"),
        (
            {"ln_final.bias": torch.zeros(64, dtype=torch.int8)},
            "ln_final.bias is torch.int8, expected torch.float32;",
        ),
        ({"text_projection": None}, "no tensor text_projection among its "),
        ({"text_projection": torch.zeros(64)}, "text_projection is [64], where 2 dimensions"),
        ({"visual.proj": None}, "neither visual.proj (a vision transformer) nor"),
        ({"visual.proj": torch.zeros(128, 47)}, "visual.proj is [128, 47], expected [128, 48];"),
        (
            {"visual.positional_embedding": torch.zeros(38, 128)},
            "38 picture positions are no square and one;",
        ),
        (
            {"visual.positional_embedding": torch.zeros(1, 128)},
            "1 picture positions are no square and one;",
        ),
        (
            {"transformer.resblocks.7.ln_1.bias": torch.zeros(64)},
            "transformer.resblocks has parts [0, 1, 7], expected 0, 1, 2 and so on;",
        ),
        (
            {"text_projection": torch.zeros(63, 48)},
            "transformer is 63 wide, no multiple of the 64 that published heads have;",
        ),
        (
            {"input_resolution": torch.tensor(49)},
            "input_resolution says 49, but the shapes make 48",
        ),
        (
            {"context_length": torch.tensor(76)},
            "context_length says 76, but positional_embedding is [77, 64];",
        ),
        (
            {"vocab_size": torch.tensor(10**6)},
            "vocab_size says 1000000, but token_embedding.weight is [1000, 64];",
        ),
        ({"vocab_size": torch.tensor(1000.0)}, "vocab_size is no integer;"),
        ({"vocab_size": torch.tensor([1000, 1000])}, "vocab_size is no integer;"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
@pytest.mark.parametrize("save", [torch.save, save_file], ids=["archive", "safetensors"])
def test_tensors_that_make_no_clip_are_refused_by_name(
    change: dict[str, Tensor | None],
    expected: str,
    save: Callable[[Tensors, Path], None],
    stored: Tensors,
    tmp_path: Path,
) -> None:
    changed = {**stored, **change}
    path = tmp_path / "changed"
    save({name: tensor for name, tensor in changed.items() if tensor is not None}, path)
    assert expected in refusal(path)


def test_complex_numbers_are_refused(stored: Tensors, tmp_path: Path) -> None:
    changed = stored | {"ln_final.bias": torch.zeros(64, dtype=torch.complex64)}
    save_file(changed, tmp_path / "complex.safetensors")
    assert "ln_final.bias is torch.complex64, expected torch.float32;" in refusal(
        tmp_path / "complex.safetensors"
    )
    torch.save(changed, tmp_path / "complex.pt")
    assert "torch.ComplexFloatStorage" in refusal(tmp_path / "complex.pt")


def test_tensors_without_numbers_are_refused(stored: Tensors, tmp_path: Path) -> None:
    changed = stored | {"text_projection": torch.zeros(0, 4)}
    save_file(changed, tmp_path / "none.safetensors")
    assert "text_projection is [0, 4], where 2" in refusal(tmp_path / "none.safetensors")
    torch.save(changed, tmp_path / "none.pt")
    assert "a tensor of shape [0, 4], which holds no number" in refusal(tmp_path / "none.pt")


@pytest.mark.parametrize("width", [96, 32])
def test_heads_of_an_unusual_width_are_not_guessed(width: int, tmp_path: Path) -> None:
    config = replace(
        VIT_CONFIG, text=TextConfig(77, 1000, TransformerConfig(width, 2, 1, 4 * width))
    )
    save_file(CLIP(config).initialize_parameters().state_dict(), tmp_path / "odd.safetensors")
    message = refusal(tmp_path / "odd.safetensors")
    assert message.startswith(f": transformer is {width} wide, no multiple of the 64")


@pytest.mark.parametrize(
    "change",
    [
        {"text_projection.weight": torch.zeros(48, 64, 1)},
        {"text_model.encoder.layers.0.self_attn.q_proj.bias": torch.zeros(())},
        {"text_model.encoder.layers.0.self_attn.q_proj.bias": torch.zeros(63)},
        {"text_model.encoder.layers.0.self_attn.q_proj.bias": None},
        {f"text_model.encoder.layers.0.self_attn.{p}_proj.bias": torch.zeros(()) for p in "qkv"},
        {"text_model.encoder.layers.0.self_attn.extra.weight": torch.zeros(1)},
        {"text_model.extra": torch.zeros(1)},
    ],
    ids=lambda change: next(iter(change)).rpartition("layers.")[2],
)
def test_hugging_face_tensors_that_make_no_clip_are_refused(
    change: dict[str, Tensor | None], tmp_path: Path
) -> None:
    tensors = {**load_file(MODELS / "vit_hf/model.safetensors"), **change}
    path = tmp_path / "model.safetensors"
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, path)
    assert "expected" in refusal(path)


@pytest.mark.parametrize("content", [[torch.zeros(2)], torch.zeros(2), {}, {"a": 1}, "text", None])
def test_torch_archive_that_is_no_state_dict_is_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pt")
    assert "without a named tensor" in refusal(tmp_path / "other.pt")


def test_whole_pickled_module_is_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")
    assert "torch.nn.modules.linear.Linear, which could run code" in refusal(tmp_path / "module.pt")


def test_legacy_torch_file_is_refused_with_a_way_out(tmp_path: Path, stored: Tensors) -> None:
    torch.save(stored, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    message = refusal(tmp_path / "old.pt")
    assert message.startswith(": a bare pickle, which can run code when it is read")
    assert message.endswith("save it again with one of them")


# --------------------------------------------------------------------------- nothing is executed


def test_no_torch_loader_is_called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    torch.save(checkpoint.read(VIT).tensors, tmp_path / "vit.pt")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("loading must not come here")

    for module, name in (
        (torch, "load"),
        (torch.jit, "load"),
        (torch._C, "import_ir_module"),
        (torch._C, "PyTorchFileReader"),
    ):
        monkeypatch.setattr(module, name, refuse)
    for path in (VIT, tmp_path / "vit.pt", MODELS / "vit_hf"):
        assert checkpoint.load(path).network.config == VIT_CONFIG


def test_loading_imports_nothing_and_starts_nothing(tmp_path: Path) -> None:
    """An audit hook in a child process sees every find_class, exec, import and process."""
    program = """
import sys
from pathlib import Path
from clipcli.models.checkpoint import checkpoint
events = []
watched = ("pickle.find_class", "exec", "os.system", "subprocess.Popen", "os.exec", "os.fork",
           "os.posix_spawn", "socket.connect", "code.__new__", "marshal.loads")
for path in sys.argv[1:]:
    checkpoint.load(Path(path))  # what torch imports lazily is imported now
sys.addaudithook(lambda event, arguments: events.append(event) if event in watched else None)
for path in sys.argv[1:]:
    checkpoint.load(Path(path))
print(sorted(set(events)))
"""
    paths = [tmp_path / "vit.pt", VIT, MODELS / "vit_hf"]
    torch.save(checkpoint.read(VIT).tensors, paths[0])
    child = subprocess.run(
        [sys.executable, "-c", program, *map(str, paths)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    # ours overrides find_class, so that the real one never runs
    assert child.stdout == "[]\n"


def test_archive_reader_finds_what_torch_saves(tmp_path: Path) -> None:
    """Every dtype, shape and layout that an archive can hold, against torch's own loader."""
    dtypes = STORAGE_DTYPES.values()
    tensors = {str(dtype): torch.arange(6).to(dtype).view(2, 3) for dtype in dtypes}
    base = torch.arange(24.0).view(2, 3, 4)
    tensors |= {"scalar": torch.tensor(5.0), "slice": base[1, :, 1:3], "turned": base.mT}
    torch.save({"outer": {"inner": tensors}}, tmp_path / "all.pt")
    expected = torch.load(tmp_path / "all.pt", weights_only=True)["outer"]["inner"]
    found = torch_archive.read(tmp_path / "all.pt")
    assert_same_tensors(found, {f"outer.inner.{name}": t for name, t in expected.items()})


def test_directory_may_be_moved(tmp_path: Path) -> None:
    shutil.copytree(MODELS / "vit_hf", tmp_path / "with spaces ü")
    assert checkpoint.load(tmp_path / "with spaces ü").network.config == VIT_CONFIG
