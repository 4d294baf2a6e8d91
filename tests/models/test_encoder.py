"""What an encoder promises whatever its device and precision."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from places import REFERENCE

from clipcli.errors import ModelError, UsageError
from clipcli.models import encoder as encoder_module
from clipcli.models.encoder import Encoder
from clipcli.models.model import Model
from clipcli.models.score import Score
from clipcli.models.spec import ModelSpec
from clipcli.photos.preprocess import PreprocessConfig
from clipcli.records import Precision
from clipcli.runtime import devices, image_encoder
from clipcli.runtime.device_pool import DeviceEncoder, DevicePool

VIT = str(REFERENCE / "models" / "vit.pt")
CPU = torch.device("cpu")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def random_pixels(encoder: Encoder, n: int, seed: int = 0) -> NDArray[np.uint8]:
    px = encoder.preprocess.px
    return np.random.default_rng(seed).integers(0, 256, (n, px, px, 3), dtype=np.uint8)


def open_vit(precision: Precision = "fp32") -> Encoder:
    return Encoder.open(VIT, device="cpu", precision=precision)


@pytest.mark.parametrize(
    ("model", "precision", "tolerance"),
    [
        (VIT, "fp32", 1e-4),
        (VIT, "bf16", 5e-3),
        (VIT, "fp16", 5e-3),
        (VIT, "int8", 5e-3),
        ("lite", "fp32", 1e-4),
        ("lite", "bf16", 5e-3),  # and no float16, which is slow beyond use on a CPU
    ],
    ids=lambda value: Path(str(value)).name,
)
def test_an_embedding_does_not_depend_on_its_neighbours(
    model: str, precision: Precision, tolerance: float
) -> None:
    encoder = Encoder.open(model, device="cpu", precision=precision)
    pixels = random_pixels(encoder, 5)
    together = encoder.encode_pixels(pixels)
    for one, embedding in zip(pixels, together, strict=True):
        (alone,) = encoder.encode_pixels(one[None])
        assert 1 - float(alone @ embedding) < tolerance


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_prompts_keep_their_order_and_padding_does_not_matter(precision: Precision) -> None:
    encoder = Encoder.open("lite", device="cpu", precision=precision)
    texts = ["a photo of a dog chasing a ball over the lawn", "cat", "a dog", "cat", "a photo"]
    together = encoder.encode_texts(texts)
    assert np.array_equal(together[1], together[3])
    for text, embedding in zip(texts, together, strict=True):
        assert 1 - float(encoder.encode_texts([text])[0] @ embedding) < 1e-4
    assert encoder.encode_texts([]).shape == (0, encoder.embed_dim)


def test_prompts_are_encoded_only_as_long_as_the_longest_beside_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(encoder_module, "N_TOKENS_AT_ONCE", 12)
    rows = [(1, 2), (1, 3), (1, 2, 3), (1, 2, 3, 4, 5), (1, 2, 3, 4, 5, 6)]
    batches = [batch.tolist() for batch in encoder_module._token_batches(rows)]
    assert batches == [
        [[1, 2, 0], [1, 3, 0], [1, 2, 3]],
        [[1, 2, 3, 4, 5, 0], [1, 2, 3, 4, 5, 6]],
    ]


def test_a_prompt_longer_than_a_batch_is_one_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_module, "N_TOKENS_AT_ONCE", 2)
    batches = list(encoder_module._token_batches([(1, 2, 3), (1, 2, 4)]))
    assert [batch.shape for batch in batches] == [(1, 3), (1, 3)]


def test_spec_says_what_there_is_to_know() -> None:
    encoder = open_vit()
    assert encoder.spec == ModelSpec(
        name=VIT,
        path=VIT,
        activation=None,
        fingerprint=encoder.model.fingerprint(),
        preprocess=PreprocessConfig(encoder.preprocess.px),
        tokenizer="clip",
        score=Score(float(encoder.model.network.logit_scale.exp())),
        embed_dim=encoder.model.network.config.embed_dim,
        context_length=encoder.model.network.config.text.context_length,
        judges_words=False,
        vocab_size=1000,
        device="cpu",
        precision="fp32",
    )
    assert ModelSpec.from_json(encoder.spec.to_json()) == encoder.spec
    assert Encoder.open("lite", device="cpu").spec.judges_words


def test_fingerprint_does_not_depend_on_the_precision() -> None:
    assert open_vit("bf16").fingerprint == open_vit("fp32").fingerprint


def test_known_model_is_neither_hashed_nor_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_vit("int8")

    def refuse(*arguments: object) -> None:
        raise AssertionError("this was known")

    monkeypatch.setattr(Model, "fingerprint", refuse)
    monkeypatch.setattr(encoder_module, "choose_precision", refuse)
    monkeypatch.setattr(image_encoder, "lowest_cosine", refuse)
    again = Encoder.from_spec(first.spec)
    assert again.spec == first.spec
    pixels = random_pixels(first, 2)
    assert np.array_equal(again.encode_pixels(pixels), first.encode_pixels(pixels))


@pytest.mark.parametrize(
    ("bfloat16", "chosen"), [(True, "bf16"), (False, "fp32")], ids=["with", "without"]
)
def test_auto_is_bfloat16_where_a_cpu_has_it(
    monkeypatch: pytest.MonkeyPatch, bfloat16: bool, chosen: Precision
) -> None:
    monkeypatch.setattr(devices, "has_bfloat16", lambda: bfloat16)
    assert devices.choose_precision("auto", CPU) == chosen


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_auto_is_float16_on_accelerators(device: str) -> None:
    assert devices.choose_precision("auto", torch.device(device)) == "fp16"


def test_cuda_without_a_number_is_every_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    all_of_them = devices.devices_of(torch.device("cuda"))
    assert [str(one) for one in all_of_them] == ["cuda:0", "cuda:1", "cuda:2"]
    assert devices.devices_of(torch.device("cuda:1")) == [torch.device("cuda:1")]
    assert devices.devices_of(CPU) == [CPU]


def test_unknown_devices_are_refused() -> None:
    with pytest.raises(UsageError, match="expected auto, cpu, cuda, cuda:1 or mps"):
        devices.choose_device("tpu")


class SmallMemory:
    """An encoder that has room for so many photographs, and remembers its batches."""

    def __init__(self, room: int, error: Exception | None = None) -> None:
        self.room = room
        self.error = error or RuntimeError("DefaultCPUAllocator: can't allocate memory: 7 bytes")
        self.batches: list[int] = []

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(pixels))
        if len(pixels) > self.room:
            raise self.error
        return pixels.flatten(1)[:, :2].float()


def numbered(n: int) -> NDArray[np.uint8]:
    return np.arange(n, dtype=np.uint8)[:, None, None, None] + np.zeros((1, 2, 2, 3), np.uint8)


@pytest.mark.parametrize(
    "error",
    [None, torch.OutOfMemoryError("CUDA out of memory"), MemoryError(),
     RuntimeError("could not create a primitive")],
    ids=["cpu", "cuda", "python", "onednn"],
)  # fmt: skip
def test_a_batch_is_halved_when_memory_runs_out_and_so_are_later_ones(
    error: Exception | None,
) -> None:
    forward = SmallMemory(3, error)
    encoder = DeviceEncoder(forward, CPU)
    assert encoder.encode(numbered(10))[:, 0].tolist() == list(range(10))
    assert forward.batches == [10, 5, 2, 2, 2, 2, 2]
    forward.batches.clear()
    assert encoder.encode(numbered(3))[:, 0].tolist() == [0, 1, 2]
    assert forward.batches == [2, 1]


def test_too_little_memory_for_one_photograph_is_said() -> None:
    with pytest.raises(ModelError, match=r"cpu: too little memory for a single .* smaller --model"):
        DeviceEncoder(SmallMemory(0), CPU).encode(numbered(4))


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    forward = SmallMemory(1, RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes cannot"):
        DeviceEncoder(forward, CPU).encode(numbered(2))
    assert forward.batches == [2]


def test_compiled_batches_all_have_the_size_of_the_first() -> None:
    forward = SmallMemory(100)
    encoder = DeviceEncoder(forward, CPU, one_size=True)
    for n in (4, 1, 6):
        assert encoder.encode(numbered(n))[:, 0].tolist() == list(range(n))
    assert forward.batches == [4, 4, 4, 4]


def test_devices_share_a_batch_and_keep_its_order() -> None:
    forwards = [SmallMemory(9), SmallMemory(1)]
    pool = DevicePool([DeviceEncoder(forward, CPU) for forward in forwards])
    assert pool.encode(numbered(5))[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert forwards[0].batches == [3]
    assert forwards[1].batches == [2, 1, 1]
    assert pool.encode(numbered(1))[:, 0].tolist() == [0]


def test_two_copies_of_a_model_answer_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = random_pixels(open_vit(), 5)
    one = open_vit().encode_pixels(pixels)
    monkeypatch.setattr(image_encoder, "devices_of", lambda device: [CPU, CPU])
    two = open_vit()
    assert len(two._images.encoders) == 2
    np.testing.assert_allclose(two.encode_pixels(pixels), one, atol=1e-6)


RUN_OUT_OF_MEMORY = """
import resource
import numpy as np
from clipcli import Encoder, tune_process

tune_process()
encoder = Encoder.open("lite", device="cpu", precision="fp32")
pixels = np.random.default_rng(0).integers(0, 256, (32, 260, 260, 3), dtype=np.uint8)
expected = np.concatenate([encoder.encode_pixels(pixels[i : i + 2]) for i in range(0, 32, 2)])
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 300_000_000,) * 2)
found = encoder.encode_pixels(pixels)
assert 1 <= encoder._images.encoders[0].largest < 32
assert (found * expected).sum(axis=1).min() > 1 - 1e-4
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits and reads memory as Linux does")
def test_a_process_whose_memory_runs_out_goes_on_with_smaller_batches() -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN_OUT_OF_MEMORY], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.compile's own parts
def test_compiled_model_answers_as_the_plain_one() -> None:
    from torch._inductor import config, cpp_builder, exc

    try:
        cpp_builder.get_cpp_compiler()
    except exc.InvalidCxxCompiler:
        pytest.skip("no C++ compiler for torch.compile")
    plain, compiled = open_vit(), Encoder.open(VIT, device="cpu", precision="fp32", compile=True)
    pixels = random_pixels(plain, 5)
    # trying out what the compiler knows of the CPU takes as long as all the rest
    with config.patch({"cpp.vec_isa_ok": False}):
        first = compiled.encode_pixels(pixels[:3])
        last = compiled.encode_pixels(pixels[3:])
    found = np.concatenate([first, last])
    np.testing.assert_allclose(found, plain.encode_pixels(pixels), atol=1e-5)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_gpus_answer_as_the_cpu_does(precision: Precision) -> None:
    exact = open_vit()
    encoder = Encoder.open(VIT, device="cuda", precision=precision)
    pixels = random_pixels(exact, 9)
    least = 1 - 1e-5 if precision == "fp32" else 0.999
    assert (encoder.encode_pixels(pixels) * exact.encode_pixels(pixels)).sum(axis=1).min() > least
    assert encoder.default_batch_size >= torch.cuda.device_count()
    assert len(encoder._images.encoders) == torch.cuda.device_count()
