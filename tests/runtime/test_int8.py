"""Products in bfloat16 and int8 against the plain layers, and when int8 is refused or given up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from places import REFERENCE, SHARED
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from clipcli.errors import UsageError
from clipcli.models.checkpoint import checkpoint
from clipcli.models.checkpoint.shapes import deduce
from clipcli.models.encoder import Encoder
from clipcli.network.clip import CLIP
from clipcli.network.config import (
    ClipConfig,
    TextConfig,
    TransformerConfig,
    VisionTransformerConfig,
)
from clipcli.photos.preprocess import PreprocessConfig, normalise
from clipcli.records import Activation
from clipcli.runtime import devices, int8_linear, onednn_linear
from clipcli.runtime.cpu_transformer import FastText, FastVisionTransformer
from clipcli.runtime.image_encoder import fixed_pictures
from clipcli.runtime.int8_linear import Int8Linear
from clipcli.runtime.onednn_linear import OneDnnLinear

VIT = REFERENCE / "models" / "vit.pt"

needs_operators = pytest.mark.skipif(
    not (onednn_linear.is_available() and int8_linear.is_available()),
    reason="this PyTorch lacks oneDNN's operators",
)


def cosines(found: Tensor, expected: Tensor) -> Tensor:
    return F.cosine_similarity(found.double(), expected.double(), dim=-1)


def rough_model(activation: Activation = "quickgelu", seed: int = 0) -> CLIP:
    """Weights large enough that every layer has a say, as initial ones do not."""
    torch.manual_seed(seed)
    vision = VisionTransformerConfig(32, 8, TransformerConfig(64, 3, 2, 256, activation))
    text = TextConfig(16, 60, TransformerConfig(64, 2, 2, 256, activation))
    model = CLIP(ClipConfig(32, vision, text)).initialize_parameters()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("bias", "ln_1.weight", "ln_2.weight")):
                parameter.add_(0.2 * torch.randn_like(parameter))
            elif "mlp" in name or "attn" in name:
                parameter.mul_(2)
    return model.requires_grad_(False).eval()


@needs_operators
@pytest.mark.parametrize("in_int8", [False, True], ids=["bf16", "int8"])
@pytest.mark.parametrize("activation", ["quickgelu", "gelu"])
def test_fast_image_encoder_is_the_plain_one(activation: Activation, in_int8: bool) -> None:
    model = rough_model(activation)
    preprocess = PreprocessConfig(32)
    pixels = torch.from_numpy(fixed_pictures(32))
    fast = FastVisionTransformer(model.visual, preprocess, int8=in_int8)  # type: ignore[arg-type]
    with torch.inference_mode():
        plain = model.encode_image(normalise(pixels, preprocess))
        # so narrow a model feels the steps of int8 more than a published one
        assert cosines(fast(pixels), plain).min() > (0.99 if in_int8 else 0.999)
    assert cosines(plain[:1], plain[1:]).max() < 0.99  # pictures that are told apart


@needs_operators
@pytest.mark.parametrize("activation", ["quickgelu", "gelu"])
def test_fast_text_encoder_is_the_plain_one_whatever_the_padding(activation: Activation) -> None:
    model = rough_model(activation)
    tokens = torch.randint(1, 58, (5, 16))
    for row, end in zip(tokens, (2, 3, 9, 14, 15), strict=True):
        row[end] = 59
        row[end + 1 :] = 0
    fast = FastText(model)
    with torch.inference_mode():
        plain = model.encode_text(tokens)
        assert cosines(fast(tokens), plain).min() > 0.999
        assert cosines(fast(tokens[:3, :10]), plain[:3]).min() > 0.999


@needs_operators
def test_int8_product_is_off_by_half_a_step_of_its_scales_at_most() -> None:
    torch.manual_seed(0)
    weight, bias = torch.randn(48, 64), torch.randn(48)
    x = torch.randn(10, 64) * torch.logspace(-4, 4, 10)[:, None]  # tokens of very different size
    residual = torch.randn(10, 48)
    exact = x @ weight.t()
    linear = Int8Linear(weight, bias, torch.float32)
    step = x.abs().amax(dim=1, keepdim=True) / 127 / 2
    channel_step = (weight.abs().amax(dim=1) / 127 / 2)[None]
    most = step * weight.abs().sum(dim=1) + channel_step * (x.abs() + step).sum(dim=1, keepdim=True)
    for found in (linear(x.clone()) - bias, linear.plus(x.clone(), residual) - residual - bias):
        assert ((found - exact).abs() <= most * 1.001 + 1e-5).all()
        assert ((found - exact).abs().mean() / exact.abs().mean()) < 0.01


@needs_operators
@pytest.mark.parametrize("activation", ["quickgelu", "gelu"])
def test_an_activations_long_side_gets_the_most_steps(activation: Activation) -> None:
    torch.manual_seed(0)
    weight, bias = torch.randn(48, 64), torch.randn(48)
    y = 3 * torch.randn(20, 64)
    x = F.silu(y) if activation == "quickgelu" else F.gelu(y)
    exact = x @ weight.t() + bias
    residual = torch.zeros(20, 48)
    errors = [
        float((Int8Linear(weight, bias, torch.float32, follows).plus(x.clone(), residual) - exact)
              .square().mean())
        for follows in (activation, None)
    ]  # fmt: skip
    assert errors[0] < errors[1]


@needs_operators
def test_tokens_of_zeros_and_channels_of_zeros_come_out_as_the_bias() -> None:
    bias = torch.randn(8)
    zeros = Int8Linear(torch.zeros(8, 16), bias, torch.float32)
    assert torch.equal(zeros(torch.ones(3, 16)), bias.expand(3, 8))
    linear = Int8Linear(torch.randn(8, 16), bias, torch.float32)
    torch.testing.assert_close(linear(torch.zeros(3, 16)), bias.expand(3, 8), atol=1e-6, rtol=0)


@needs_operators
@pytest.mark.parametrize("make", [OneDnnLinear, Int8Linear])
def test_a_row_does_not_depend_on_the_others(make: type[OneDnnLinear | Int8Linear]) -> None:
    torch.manual_seed(0)
    dtype = torch.bfloat16 if make is OneDnnLinear else torch.float32
    linear = make(torch.randn(32, 64), torch.randn(32), torch.bfloat16)
    x = torch.randn(4, 64).to(dtype)
    loud = torch.cat([x, 1000 * torch.randn(60, 64).to(dtype)])
    torch.testing.assert_close(linear(x.clone()), linear(loud)[:4], atol=0.02, rtol=0.01)


@needs_operators
def test_int8_encodes_as_float32_does(notes: list[str]) -> None:
    if not devices.has_int8():
        pytest.skip("this CPU has no int8 instructions")
    exact = Encoder.open(str(VIT), device="cpu", precision="fp32")
    tried = Encoder.open(str(VIT), device="cpu", precision="int8")
    assert (tried.precision, tried.spec.precision, notes) == ("int8", "int8", [])
    pixels = np.random.default_rng(1).integers(
        0, 256, (5, exact.preprocess.px, exact.preprocess.px, 3), dtype=np.uint8
    )
    found = tried.encode_pixels(pixels)
    assert (found * exact.encode_pixels(pixels)).sum(axis=1).min() > 0.99
    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-5)
    assert tried.fingerprint == exact.fingerprint


def as_if(monkeypatch: pytest.MonkeyPatch, *, bfloat16: bool, vnni: bool) -> None:
    monkeypatch.setattr(devices, "has_bfloat16", lambda: bfloat16)
    monkeypatch.setattr(devices, "has_int8", lambda: vnni)


@needs_operators
def test_a_model_that_int8_changes_is_run_without_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, notes: list[str]
) -> None:
    """One pixel pattern drowns all others in the first block: 1 of 127 steps is not enough."""
    as_if(monkeypatch, bfloat16=True, vnni=True)
    tensors = {key: value.clone() for key, value in rough_model().state_dict().items()}
    # a channel 5,000 times as large as the others, which the next matrix leaves out
    tensors["visual.transformer.resblocks.0.ln_2.weight"][0] = 5000.0
    tensors["visual.transformer.resblocks.0.mlp.c_fc.weight"][:, 0] = 0.0
    tensors["visual.transformer.resblocks.0.mlp.c_proj.weight"] *= 50
    path = tmp_path / "outlier.safetensors"
    save_file(tensors, path)
    assert deduce(tensors).embed_dim == 32
    opened = Encoder.open(str(path), device="cpu", precision="int8")
    assert opened.precision == "bf16"
    (note,) = notes
    assert note.startswith("int8 changes this model's embeddings too much (a cosine of 0.")
    again = Encoder.from_spec(opened.spec)
    assert again.precision == "bf16"


def test_int8_is_for_vision_transformers(monkeypatch: pytest.MonkeyPatch, notes: list[str]) -> None:
    as_if(monkeypatch, bfloat16=False, vnni=True)
    opened = Encoder.open("lite", device="cpu", precision="int8")
    assert opened.precision == "fp32"
    assert notes == [
        "int8 is for vision transformers, and this model is none: --precision auto instead"
    ]


def test_int8_without_vnni_is_auto(monkeypatch: pytest.MonkeyPatch, notes: list[str]) -> None:
    as_if(monkeypatch, bfloat16=True, vnni=False)
    cpu = torch.device("cpu")
    assert devices.choose_precision("int8", cpu) == "bf16"
    assert notes == ["this CPU has no int8 instructions (VNNI): --precision auto instead"]


def test_int8_without_bfloat16_in_hardware_is_float32_around_the_products(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    as_if(monkeypatch, bfloat16=False, vnni=True)
    assert devices.dtype_of("int8") == torch.float32
    model = rough_model()
    pixels = torch.from_numpy(fixed_pictures(32))
    if not int8_linear.is_available():
        pytest.skip("this PyTorch lacks oneDNN's operators")
    fast = FastVisionTransformer(
        model.visual,  # type: ignore[arg-type]
        PreprocessConfig(32),
        torch.float32,
        int8=True,
    )
    with torch.inference_mode():
        plain = model.encode_image(normalise(pixels, PreprocessConfig(32)))
        assert cosines(fast(pixels), plain).min() > 0.99


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_int8_is_refused_on_accelerators(device: str) -> None:
    with pytest.raises(UsageError, match=f"int8 runs on the CPU, and the device is {device}"):
        devices.choose_precision("int8", torch.device(device))


def test_int8_is_not_compiled() -> None:
    with pytest.raises(UsageError, match="leave out --compile"):
        Encoder.open("lite", device="cpu", precision="int8", compile=True)


def test_fixed_pictures_are_always_the_same_and_differ() -> None:
    pictures = fixed_pictures(32)
    assert pictures.shape == (6, 32, 32, 3)
    assert np.array_equal(pictures, fixed_pictures(32))
    assert len({picture.tobytes() for picture in pictures}) == 6
    for picture in pictures[:5]:  # smooth but for their edges, as photographs are
        steps = np.abs(np.diff(picture.astype(int), axis=0))
        assert np.median(steps) <= 20


@needs_operators
@pytest.mark.shared
@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_a_trained_models_images_keep_their_direction(precision: str) -> None:
    path = SHARED / "reference/models/vit.pt"
    opened = checkpoint.load(path)
    model, preprocess = opened.network, opened.preprocess
    fast = FastVisionTransformer(
        model.visual,  # type: ignore[arg-type]
        preprocess,
        int8=precision == "int8",
    )
    pixels = torch.from_numpy(fixed_pictures(preprocess.px))
    with torch.inference_mode():
        plain = model.encode_image(normalise(pixels, preprocess))
        assert cosines(fast(pixels), plain).min() > 0.999


def test_without_the_operators_the_plain_layers_serve(
    monkeypatch: pytest.MonkeyPatch, notes: list[str]
) -> None:
    as_if(monkeypatch, bfloat16=True, vnni=True)
    monkeypatch.setattr(onednn_linear, "is_available", lambda: False)
    exact = Encoder.open(str(VIT), device="cpu", precision="fp32")
    plain = Encoder.open(str(VIT), device="cpu", precision="int8")
    assert plain.precision == "bf16"
    assert notes == ["this PyTorch has no int8 products: --precision auto instead"]
    pixels = fixed_pictures(exact.preprocess.px)
    assert (plain.encode_pixels(pixels) * exact.encode_pixels(pixels)).sum(axis=1).min() > 0.999
    texts = ["a photo of a cat", "dog"]
    found, expected = (
        Encoder.open("lite", device="cpu", precision=precision).encode_texts(texts)
        for precision in ("bf16", "fp32")
    )
    assert (found * expected).sum(axis=1).min() > 0.999
