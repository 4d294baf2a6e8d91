"""Pickles and sparse files that once crashed or hung the program: one line each, at once."""

from __future__ import annotations

import json
import struct
import threading
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from guarded import LINE_LIMIT, guarded_refusals
from hostile_pickles import FORMS, generated
from pickle_by_hand import state_dict, tensor, text, whole, write_archive
from places import REFERENCE
from safetensors.torch import load_file, save_file

from clipcli.errors import CheckpointError
from clipcli.models.checkpoint import checkpoint, safetensors_file, torch_archive
from clipcli.models.checkpoint.state_dict_pickle import StateDictReader

MODELS = REFERENCE / "models"
N_GENERATED = 240
SPARSE_BYTES = 12 * 2**30
HF_TOKENS = "text_model.embeddings.token_embedding.weight"


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert len(message) < LINE_LIMIT
    return message


def test_every_hostile_pickle_is_refused_in_one_line(tmp_path: Path) -> None:
    """Within 5 seconds and 1 GB each, in a child that no signal may end."""
    bodies = FORMS | dict(generated(N_GENERATED))
    paths = [write_archive(tmp_path / f"{name}.pt", body) for name, body in bodies.items()]
    guarded_refusals(paths, grown_mb=1000)


def test_hostile_pickles_beside_the_main_one_share_its_limits(tmp_path: Path) -> None:
    steps = {f"{index}.pkl": whole(b"N0" * 150_000 + b"N") for index in range(4)}
    long = {f"{index}.pkl": whole(text("a" * 3_000_000)) for index in range(3)}
    for others, expected in (
        (steps, "more than the 1,000,000 steps"),
        (long, "with the other pickles more than the 8,000,000"),
    ):
        path = write_archive(tmp_path / "several.pt", state_dict(a=tensor()), **others)
        assert expected in refusal(path)


def test_long_names_of_entries_are_cut(tmp_path: Path) -> None:
    path = tmp_path / "long.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", whole(state_dict(a=tensor())), zipfile.ZIP_STORED)
        archive.writestr("archive/" + "\x1b" * 60_000, bytes(100))
    assert "is compressed" in refusal(path)


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ({HF_TOKENS: (1,), "a" * 3_000_000: (1,)}, "of 1 dimensions; expected names of 200"),
        ({"text_projection": (1,) * 60}, "text_projection of 60 dimensions"),
        ({str(index): (1,) for index in range(3001)}, "3,001 tensors; expected those of a CLIP"),
    ],
    ids=["name", "dimensions", "many"],
)
def test_safetensors_of_unusual_tensors_are_refused(
    shapes: dict[str, tuple[int, ...]], expected: str, tmp_path: Path
) -> None:
    save_file({name: torch.zeros(shape) for name, shape in shapes.items()}, tmp_path / "odd")
    assert expected in refusal(tmp_path / "odd")


def test_deep_dictionaries_are_walked_and_freed_on_a_small_stack() -> None:
    deep = whole((b"}" + text("a")) * 250_000 + b"}" + b"s" * 250_000)
    read = []
    threading.stack_size(2**18)
    try:
        thread = threading.Thread(target=lambda: read.append(StateDictReader().read(deep) and 1))
        thread.start()
        thread.join()
    finally:
        threading.stack_size(0)
    assert read == [1]


# ------------------------------------------------------------------------------ sparse files


def sparse_archive(path: Path, body: bytes, entry: str = "data/0") -> Path:
    """An archive with an entry of 12 GB that takes no room on the disk."""
    write_archive(path, body)
    with zipfile.ZipFile(path) as whole_archive:
        others = {i.filename: whole_archive.read(i) for i in whole_archive.infolist()}
    with path.open("wb") as file, zipfile.ZipFile(file, "w") as archive:
        for name, content in others.items():
            if name != f"archive/{entry}":
                archive.writestr(name, content)
        info = zipfile.ZipInfo(f"archive/{entry}")
        info.file_size = info.compress_size = SPARSE_BYTES
        info.CRC = 0
        info.header_offset = file.tell()
        file.write(info.FileHeader(zip64=True))
        archive.start_dir = file.seek(SPARSE_BYTES, 1)
        archive.filelist.append(info)
    return path


def sparse_safetensors(path: Path, **numbers: list[int]) -> Path:
    """A file with these shapes of float32; the last tensor is a hole."""
    header, end = {}, 0
    for name, shape in numbers.items():
        begin, end = end, end + 4 * torch.Size(shape).numel()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    encoded = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded)
        file.truncate(8 + len(encoded) + end)
    return path


def test_sparse_files_of_12_gb_are_refused_and_take_no_memory(tmp_path: Path) -> None:
    n_numbers = SPARSE_BYTES // 4
    hugging_face = {
        name: list(t.shape) for name, t in load_file(MODELS / "vit_hf/model.safetensors").items()
    }
    huge = "text_model.encoder.layers.0.self_attn.q_proj.weight"
    good = state_dict(a=tensor())
    paths = [
        sparse_archive(tmp_path / "one.pt", state_dict(a=tensor((n_numbers,), (1,)))),
        sparse_archive(tmp_path / "view.pt", good),
        sparse_archive(tmp_path / "pickle.pt", good, "more.pkl"),
        sparse_archive(tmp_path / "order.pt", good, "byteorder"),
        sparse_safetensors(tmp_path / "one.safetensors", a=[n_numbers]),
        sparse_safetensors(tmp_path / "hf", **hugging_face | {huge: [n_numbers]}),
    ]
    with (tmp_path / "directory.pt").open("wb") as file:
        file.write(write_archive(tmp_path / "good.pt", good).read_bytes()[:100])
        file.truncate(3 * 2**30)
        file.seek(0, 2)
        file.write(b"PK\x05\x06" + struct.pack("<4H2IH", 0, 0, 1, 1, 2**31, 2**30, 0))
    messages = guarded_refusals([*paths, tmp_path / "directory.pt"], grown_mb=100)
    expected = [
        "no tensor text_projection among its 1 tensors",
        "no tensor text_projection among its 1 tensors",
        "'archive/more.pkl' has 12,884,901,888 bytes",
        "its numbers are big-endian",
        "one.safetensors: its 12,884,901,9",
        "cannot be mapped",
        "a directory of 2,147,483,648 bytes",
    ]
    for message, part in zip(messages, expected, strict=True):
        assert part in message


def test_sparse_tensors_that_a_clip_does_not_need_are_refused_unread(tmp_path: Path) -> None:
    """Without a limit the file of 12 GB can be mapped; what is copied is looked at before."""
    shapes = {
        name: list(t.shape) for name, t in load_file(MODELS / "vit_hf/model.safetensors").items()
    }
    for part in "qkv":
        shapes[f"text_model.encoder.layers.1.self_attn.{part}_proj.weight"] = [2**30]
    message = guarded_refusals(
        [sparse_safetensors(tmp_path / "hf", **shapes)], grown_mb=100, address_mb=None
    )[0]
    assert "bytes of tensors, where a CLIP of these shapes has" in message


# --------------------------------------------------------------------------- what still reads


def training(tensors: dict[str, torch.Tensor]) -> dict[str, object]:
    """Weights with whatever lies beside them in a training checkpoint."""
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    beside = {
        "epoch": 3,
        "best": float("inf"),
        "seeds": [1, -1, 2**40, 2**70, -(2**2000)],
        "names": ("a", None, True, {"x": ()}),
        "notes": "é" * 5000,
        "losses": [0.5] * 5000,
        "deep": [[[[((((1,),),),)]]]],
        "optimizer": optimizer.state_dict(),
    }
    itself: list[object] = []
    itself.append((itself,))
    return beside | {"itself": itself, "state_dict": {f"module.{k}": t for k, t in tensors.items()}}


@pytest.mark.parametrize("protocol", range(1, 6))
def test_what_torch_saves_reads_the_same_in_every_protocol(protocol: int, tmp_path: Path) -> None:
    tensors = {
        name: tensor.clone() for name, tensor in checkpoint.read(MODELS / "vit.pt").tensors.items()
    }
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    metadata = module.state_dict()
    assert metadata._metadata  # type: ignore[attr-defined]  # an attribute of an OrderedDict
    parameters = {name: torch.nn.Parameter(t, t.is_floating_point()) for name, t in tensors.items()}
    later: dict[str, object] = {"bytes": b"bytes" * 500} if protocol >= 3 else {}
    later |= {"sets": {1, 2}, "frozen": frozenset({"a"})} if protocol >= 4 else {}
    later |= {"array": bytearray(b"more")} if protocol >= 5 else {}
    for saved, expected in (
        (tensors, tensors),
        (OrderedDict(tensors), tensors),
        (parameters, tensors),
        (metadata, metadata),
        ({"outer": {0: metadata}}, {f"outer.0.{name}": t for name, t in metadata.items()}),
        (training(tensors) | later, tensors),
    ):
        torch.save(saved, tmp_path / "saved.pt", pickle_protocol=protocol)
        found = torch_archive.read(tmp_path / "saved.pt")
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], t) for name, t in expected.items())
        assert all(found[name].dtype == t.dtype for name, t in expected.items())


class Scripted(torch.nn.Module):
    """A module with every kind of attribute that TorchScript writes."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
        self.sizes: list[int] = [1, 2, 2**40]
        self.rates: list[float] = [0.5]
        self.flags: list[bool] = [True]
        self.names: dict[str, int] = {"a": 1}
        self.pair: tuple[int, str] = (1, "b")
        self.text = "c" * 3000
        self.register_buffer("held", torch.arange(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x) + len(self.sizes) + self.names["a"] + self.pair[0] + len(self.text)


def test_torchscript_with_attributes_of_every_kind_reads(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        scripted = torch.jit.script(Scripted())
        torch.jit.save(scripted, tmp_path / "compressed.pt")
    with (
        zipfile.ZipFile(tmp_path / "compressed.pt") as old,
        zipfile.ZipFile(tmp_path / "stored.pt", "w") as new,
    ):
        for name in old.namelist():  # as in published archives
            new.writestr(name, old.read(name))
    found = torch_archive.read(tmp_path / "stored.pt")
    expected = scripted.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], t) for name, t in expected.items())


def test_a_state_of_training_may_be_larger_than_the_weights_alone(tmp_path: Path) -> None:
    """`train --resume` reads the optimizer's state too: 1.8 GB for a ViT-B/32."""
    state = sparse_safetensors(tmp_path / "state.safetensors", **{"optimizer.a": [180_000_000]})
    tensors, _ = safetensors_file.read(state)
    assert tensors["optimizer.a"].shape == (180_000_000,)
