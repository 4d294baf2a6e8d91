"""Files made to run code, to take memory, or to lie: each is refused in one line."""

from __future__ import annotations

import json
import os
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from guarded import guarded_refusals
from pickle_by_hand import (
    HUGE,
    LAUGHS,
    REBUILD,
    call,
    group,
    named,
    named_by_stack,
    number,
    numbers,
    state_dict,
    storage,
    tensor,
    text,
    whole,
    write_archive,
)
from places import REFERENCE
from safetensors.torch import load_file, save_file

from clipcli.errors import CheckpointError
from clipcli.models.checkpoint import checkpoint, torch_archive

MODELS = REFERENCE / "models"
VIT = MODELS / "vit.pt"
HF_JSON = json.loads((MODELS / "vit_hf/config.json").read_text(encoding="utf-8"))


def rewrite_vit(path: Path, **changes: bytes | None) -> Path:
    """The published form with some entries changed, None for those left out."""
    with zipfile.ZipFile(VIT) as old, zipfile.ZipFile(path, "w") as new:
        entries = {name: old.read(name) for name in old.namelist()}
        for name, content in (entries | changes).items():
            if content is not None:
                new.writestr(name, content)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert len(message) < 1000
    return message


def test_archive_written_by_hand_is_one_that_loads(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "good.pt", state_dict(a=tensor(), b=tensor((2,), (2,), 1)))
    found = torch_archive.read(path)
    assert {name: t.tolist() for name, t in found.items()} == {
        "a": [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]],
        "b": [1.0, 3.0],
    }
    expected = torch.load(path, weights_only=True, map_location="cpu")
    assert {name: t.tolist() for name, t in expected.items()} == {
        name: t.tolist() for name, t in found.items()
    }


def test_published_archive_written_anew_still_loads(tmp_path: Path) -> None:
    assert checkpoint.load(rewrite_vit(tmp_path / "same.pt")).network.config.embed_dim == 48


# ------------------------------------------------------------------------------- running code

COMMAND = "echo ran > marker"
PYTHON = "open('marker', 'w').close()"
OS_MODULE = call(named("importlib", "import_module"), text("os"))
# what runs when a trusting unpickler reads it
RUNNING = {
    "os.system": call(named("os", "system"), text(COMMAND)),
    "posix.system": call(named("posix", "system"), text(COMMAND)),
    "by the stack": call(named_by_stack("os", "system"), text(COMMAND)),
    "builtins.eval": call(named("builtins", "eval"), text(PYTHON)),
    "builtins.exec": call(named("builtins", "exec"), text(PYTHON)),
    "getattr chain": call(
        call(named("builtins", "getattr"), OS_MODULE, text("system")), text(COMMAND)
    ),
    "inst": b"(" + text(COMMAND) + b"ios\nsystem\n",
    "obj": b"(" + named("os", "system") + text(COMMAND) + b"o",
    "subprocess": call(named("subprocess", "getoutput"), text(COMMAND)),
    "python 2 name": call(named("__builtin__", "eval"), text(PYTHON)),
    "as a key": b"}" + call(named("os", "system"), text(COMMAND)) + b"K\x01s",
    "popped again": call(named("os", "system"), text(COMMAND)) + b"0}",
    "as a storage": group(
        text("storage"), call(named("os", "system"), text(COMMAND)), text("0"), text("cpu")
    ),
}
# what reaches for more than tensors need, by other ways
REACHING = {
    "copyreg": call(
        named("copyreg", "_reconstructor"),
        named("__torch__.x", "A"),
        named("builtins", "object"),
        b"N",
    ),
    "the unpickler's own module": call(
        named("clipcli.models.checkpoint.torch_archive", "pickle.loads"), text("")
    ),
    "torch.load": call(named("torch", "load"), text("marker")),
    "torch.jit.load": call(named("torch.jit", "load"), text("marker")),
    "through __torch__": call(named("__torch__.os", "system"), text(COMMAND)),
    "through __torch__ by dots": call(
        named_by_stack("__torch__", "A.__init__.__globals__"), text(COMMAND)
    ),
    "beside __torch__": call(named_by_stack("__torch__\nos", "system"), text(COMMAND)),
    "through OrderedDict": call(
        named_by_stack("collections", "OrderedDict.__class__"), text("A"), b")", b"}"
    ),
    "through rebuild": named_by_stack("torch._utils", "_rebuild_tensor_v2.__globals__"),
    "through a storage": named_by_stack("torch", "HalfStorage.__class__"),
    "extension": b"\x82\x01",
    "changed class": named("__torch__.x", "A") + b"N}" + text("__eq__") + REBUILD + b"s\x86b",
    "changed function": REBUILD + b"N}" + text("__defaults__") + b")s\x86b",
    "changed record": tensor() + state_dict(shape=numbers((HUGE,))) + b"b",
    "module with arguments": named("__torch__.x", "A") + group(text(COMMAND)) + b"\x81",
}
PLACES: dict[str, Callable[[Path, bytes], object]] = {
    "data.pkl": lambda path, body: write_archive(path, state_dict(a=tensor(), b=body)),
    "data.pkl alone": write_archive,
    "constants.pkl": lambda path, body: write_archive(
        path, state_dict(a=tensor()), **{"constants.pkl": whole(body)}
    ),
    "published constants.pkl": lambda path, body: rewrite_vit(
        path, **{"archive/constants.pkl": whole(body)}
    ),
    "bare pickle": lambda path, body: path.write_bytes(whole(body)),
}


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "marker"


@pytest.mark.parametrize("body", RUNNING.values(), ids=RUNNING)
def test_code_would_run_in_an_ordinary_unpickler(body: bytes, marker: Path) -> None:
    """The hostile pickles are what they claim, or the tests below would show nothing."""
    pickle.loads(whole(body))
    assert marker.exists()


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("body", (RUNNING | REACHING).values(), ids=RUNNING | REACHING)
def test_code_in_a_checkpoint_is_refused_and_not_run(
    body: bytes, place: Callable[[Path, bytes], object], marker: Path, tmp_path: Path
) -> None:
    place(tmp_path / "evil.pt", body)
    message = refusal(tmp_path / "evil.pt")
    assert "refused: " in message or "a bare pickle, which can run code" in message
    assert not marker.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_bare_pickle_is_refused_in_every_protocol(
    protocol: int, marker: Path, tmp_path: Path
) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (COMMAND,)

    path = tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps(Evil(), protocol))
    assert "expected" in refusal(path)
    assert not marker.exists()


def test_refused_name_is_in_the_message_on_one_line(tmp_path: Path) -> None:
    write_archive(tmp_path / "evil.pt", named_by_stack("os\nremove", "all\x1b[2J" + "x" * 500))
    message = refusal(tmp_path / "evil.pt")
    assert r"its pickle asks for os\nremove.all\x1b[2Jxxx" in message
    assert message.endswith("which could run code; expected tensors and nothing else")


def test_code_of_a_torchscript_archive_is_never_looked_at(tmp_path: Path, marker: Path) -> None:
    evil = f"import os\nos.system({COMMAND!r})\n".encode()
    with zipfile.ZipFile(VIT) as archive:
        code = [name for name in archive.namelist() if name.endswith(".py")]
    rewrite_vit(tmp_path / "evil.pt", **dict.fromkeys(code, evil))
    assert checkpoint.load(tmp_path / "evil.pt").network.config.embed_dim == 48
    assert not marker.exists()


@pytest.mark.parametrize("name", ["constants.pkl", "traced_inputs.pkl", "attributes.pkl"])
def test_a_trap_in_any_pickle_of_an_archive_is_refused(
    tmp_path: Path, marker: Path, name: str
) -> None:
    trap = {f"archive/{name}": whole(RUNNING["os.system"])}
    rewrite_vit(tmp_path / "evil.pt", **trap)
    with pytest.raises(CheckpointError, match=r"its pickle asks for os\.system"):
        checkpoint.load(tmp_path / "evil.pt")
    assert not marker.exists()


# ------------------------------------------------------------------- pickles that lie about tensors

DEPTH = 100_000
LIES = {
    "shape beyond the storage": (state_dict(a=tensor((7,), (1,))), "has shape [7] in a storage of"),
    "shape far beyond the storage": (state_dict(a=tensor((HUGE,), (1,))), "in a storage of 6"),
    "numbers shown again and again": (
        state_dict(a=tensor((HUGE, HUGE // 8), (0, 0))),
        "in a storage of 6 numbers",
    ),
    "huge stride": (state_dict(a=tensor((2, 3), (HUGE, 1))), "in a storage of 6 numbers"),
    "offset at the end": (state_dict(a=tensor((1,), (1,), 6)), "in a storage of 6 numbers"),
    "offset far beyond": (state_dict(a=tensor((1,), (1,), 2**62)), "in a storage of 6 numbers"),
    "scalar beyond": (state_dict(a=tensor((), (), 6)), "in a storage of 6 numbers"),
    "wider type": (
        state_dict(a=tensor(of=storage(dtype="DoubleStorage"))),
        "has shape [2, 3] in a storage of 3 numbers",
    ),
    "negative size": (state_dict(a=tensor((-2, -3))), "is no usable number"),
    "negative stride": (state_dict(a=tensor((2, 3), (-3, 1))), "is no usable number"),
    "negative offset": (state_dict(a=tensor(offset=-1)), "is no usable number"),
    "number beyond 64 bits": (state_dict(a=tensor((1,), (2**63,))), "is no usable number"),
    "number of a megabyte": (state_dict(a=tensor((2 ** (8 * 2**20),), (1,))), "no usable number"),
    "no numbers of a huge shape": (state_dict(a=tensor((0, HUGE), (1, 1))), "holds no number"),
    "stride for no dimension": (state_dict(a=tensor((2,), (1, 1))), "1 dimensions and 2 strides"),
    "a hundred dimensions": (state_dict(a=tensor((1,) * 100, (1,) * 100)), "100 dimensions"),
    "truth as a size": (
        state_dict(a=call(REBUILD, storage(), number(0), b"\x88\x85", b"\x88\x85")),
        "is no usable number",
    ),
    "text as a shape": (
        state_dict(a=call(REBUILD, storage(), number(0), text("a\nb"), text("c\nd"))),
        "without a shape or a stride",
    ),
    "tensor in place of a storage": (state_dict(a=tensor(of=tensor())), "without a storage"),
    "missing storage": (
        state_dict(a=tensor(of=storage("1"))),
        "'a' lies in storage '1', not there",
    ),
    "storage outside the data folder": (
        state_dict(a=tensor(of=storage("../data.pkl"))),
        "'a' lies in storage '../data.pkl', not there",
    ),
    "storage of an unknown type": (
        state_dict(a=tensor(of=storage(dtype="ComplexFloatStorage"))),
        "its pickle asks for torch.ComplexFloatStorage",
    ),
    "reference of another kind": (
        state_dict(a=tensor(of=storage(kind="module"))),
        "a reference to something that is no storage",
    ),
    "reference that is a number": (
        state_dict(a=number(1) + b"Q"),
        "a reference to something that is no storage",
    ),
    "reference that is a text": (
        state_dict(a=b"Pstorage\n"),
        "a reference to something that is no storage",
    ),
    "reference with a number as key": (
        state_dict(a=group(text("storage"), named("torch", "HalfStorage"), number(0)) + b"Q"),
        "a reference to something that is no storage",
    ),
    "huge memo index": (b"}r" + struct.pack("<I", 2**31 - 1), "memo index 2147483647"),
    "huge memo index as text": (b"}p2147483647\n", "memo index 2147483647"),
    "unknown memo index": (b"h\x09", "is no pickle of tensors"),
    "nested tuples": (state_dict(a=b")" + b"\x85" * DEPTH), "without a named tensor"),
    "nested tuples as a reference": (
        state_dict(a=b")" + b"\x85" * DEPTH + b"Q"),
        "a reference to something that is no storage",
    ),
    "nested tuples as a kind": (
        state_dict(a=group(b")" + b"\x85" * DEPTH, text("a"), text("b")) + b"Q"),
        "a reference to something that is no storage",
    ),
    "nested dictionaries": (
        (b"}" + text("a")) * DEPTH + tensor() + b"s" * DEPTH,
        "a name that is no text or longer than 200 characters",
    ),
    "nested lists": (b"]" * DEPTH + b"a" * (DEPTH - 1), "a pickled list without a named tensor"),
    "dictionary in itself": (b"}q\x00" + text("a") + b"h\x00s", "without a named tensor"),
    "module in itself": (
        named("__torch__", "A") + b")\x81q\x00}" + text("a") + b"h\x00sb",
        "without a named tensor",
    ),
    "a name that is a tuple": (b"}" + b")" + tensor() + b"s", "a name that is no text"),
    "a name of a megabyte": (state_dict(**{"a" * 2**20: tensor()}), "longer than 200 characters"),
    "a dictionary as name": (b"}}" + tensor() + b"s", "a name that is no text"),
    "laughs as a shape": (
        state_dict(a=call(REBUILD, storage(), number(0), LAUGHS, LAUGHS)),
        "without a shape or a stride",
    ),
    "laughs as a reference": (
        state_dict(a=group(LAUGHS, LAUGHS, LAUGHS) + b"Q"),
        "a reference to something that is no storage",
    ),
    "copies of a dictionary": (
        call(named("collections", "OrderedDict"), state_dict(a=number(1))),
        "is no pickle of tensors",
    ),
    "no stop": (b"}" + b"N" * 10 + b"0" * 10 + b"(", "is no pickle of tensors"),
    "empty stack": (b"0", "is no pickle of tensors"),
    "text that ends early": (b"X\xff\xff\xff\x7f", "is no pickle of tensors"),
    "bytes that end early": (b"\x8e" + struct.pack("<Q", 2**62), "is no pickle of tensors"),
    "array that ends early": (b"\x96" + struct.pack("<Q", 2**40), "is no pickle of tensors"),
    "frame that ends early": (b"\x95" + struct.pack("<Q", 2**40) + b"}", "is no pickle of tensors"),
    "buffer from outside": (b"\x97", "is no pickle of tensors"),
    "lone surrogate as a name": (state_dict(**{"\ud800": tensor()}), "no tensor text_projection"),
    "line break as a name": (
        state_dict(**{"text_projection": tensor((6,), (1,)), "a\nb": tensor()}),
        "text_projection is [6], where 2 dimensions are needed",
    ),
    "nothing": (b"N", "a pickled NoneType without a named tensor"),
    "a tensor without a name": (tensor(), "a pickled tensor without a named tensor"),
}


def test_pickles_that_lie_are_refused_and_take_no_memory(tmp_path: Path) -> None:
    paths = [write_archive(tmp_path / f"{name}.pt", body) for name, (body, _) in LIES.items()]
    messages = guarded_refusals(paths, grown_mb=150)
    for (name, (_, expected)), message in zip(LIES.items(), messages, strict=True):
        assert expected in message, name
        assert len(message) < 1000, name


def test_tensors_that_add_up_to_more_than_the_file_are_refused(tmp_path: Path) -> None:
    """A thousand names for one storage would be copied a thousand times on the way to float32."""
    names = {f"a{index}": tensor((1000,), (1,)) for index in range(1000)}
    others = {"data/0": bytes(4000), "filler": bytes(1000)}
    path = write_archive(tmp_path / "many.pt", state_dict(**names), **others)
    assert "its tensors need more than the" in refusal(path)


# ------------------------------------------------------------------------ archives that lie


def patched(path: Path, entry: str, **fields: int) -> Path:
    """Fields of one entry in the zip's central directory overwritten."""
    places = {"flags": (8, "<H"), "method": (10, "<H"), "packed": (20, "<I"), "size": (24, "<I")}
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        directory = archive.start_dir
    at = content.index(entry.encode(), directory) - 46
    assert content[at : at + 4] == b"PK\x01\x02"
    for field, value in fields.items():
        offset, form = places[field]
        struct.pack_into(form, content, at + offset, value)
    path.write_bytes(content)
    return path


def test_archives_that_lie_are_refused_and_take_no_memory(tmp_path: Path) -> None:
    good = state_dict(a=tensor())

    def archive(name: str, **others: bytes) -> Path:
        return write_archive(tmp_path / f"{name}.pt", good, **others)

    def bomb(name: str, entry: str) -> Path:
        path = archive(name, filler=b"")
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for each, content in {"data.pkl": whole(good), "data/0": b"1234" * 6}.items():
                method = zipfile.ZIP_DEFLATED if each == entry else zipfile.ZIP_STORED
                content += bytes(200 * 2**20) if each == entry else b""
                packed.writestr(f"archive/{each}", content, method)
        return path

    claims = {"packed": 2**31, "size": 2**31}
    cases = {
        bomb("packed pickle", "data.pkl"): "'archive/data.pkl' is compressed",
        bomb("packed storage", "data/0"): "'archive/data/0' is compressed",
        patched(archive("huge pickle"), "archive/data.pkl", **claims): "claims 2,147,483,648 bytes",
        patched(archive("huge storage"), "archive/data/0", **claims): "claims 2,147,483,648 bytes",
        patched(archive("huge size"), "archive/data/0", size=2**30): "is compressed",
        patched(archive("sizes differ"), "archive/data/0", size=23): "is compressed",
        patched(archive("unknown method"), "archive/data/0", method=99): "is compressed",
        patched(archive("encrypted"), "archive/data.pkl", flags=1): "a damaged zip archive (File",
        archive("long pickle", **{"data.pkl": bytes(8_000_001)}): "more than the 8,000,000",
        archive("big-endian", byteorder=b"big"): "its numbers are big-endian",
        archive("odd byte order", byteorder=b"middle"): "expected little-endian",
    }
    with zipfile.ZipFile(tmp_path / "two.pt", "w") as two:
        for root in ("a", "b"):
            two.writestr(f"{root}/data.pkl", whole(good))
            two.writestr(f"{root}/data/0", bytes(24))
    cases[tmp_path / "two.pt"] = "a zip with 2 data.pkl"
    with zipfile.ZipFile(tmp_path / "none.pt", "w") as none:
        none.writestr("archive/other.pkl", whole(good))
    cases[tmp_path / "none.pt"] = "a zip with 0 data.pkl"
    messages = guarded_refusals(list(cases), grown_mb=150)
    for (path, expected), message in zip(cases.items(), messages, strict=True):
        assert expected in message, path.name


def test_entry_of_two_contents_is_refused(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "twice.pt", state_dict(a=tensor()))
    for name in ("archive/data.pkl", "archive/data/0"):
        with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
            warnings.simplefilter("ignore")
            archive.writestr(name, whole(b"N"))
        assert "and each name once" in refusal(path)


def test_name_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "name.pt", state_dict(a=tensor()), üxx=b"")
    path.write_bytes(path.read_bytes().replace(b"\xc3\xbcxx", b"\xff\xffxx"))
    assert "a damaged zip archive" in refusal(path)


@pytest.mark.parametrize("value", [1_000_000, 0, -1, 2**62, -(2**63)])
def test_patched_integer_is_refused(value: int, tmp_path: Path) -> None:
    for entry, name in (
        ("archive/data/3", "input_resolution"),
        ("archive/data/4", "context_length"),
        ("archive/data/5", "vocab_size"),
    ):
        path = rewrite_vit(tmp_path / "patched.pt", **{entry: struct.pack("<q", value)})
        assert f"{name} says {value}, but " in refusal(path)


def test_integer_without_a_number_is_refused(tmp_path: Path) -> None:
    path = rewrite_vit(tmp_path / "patched.pt", **{"archive/data/3": b""})
    assert "'input_resolution' has shape [] in a storage of 0 numbers" in refusal(path)


def test_storage_left_out_is_refused(tmp_path: Path) -> None:
    path = rewrite_vit(tmp_path / "patched.pt", **{"archive/data/7": None})
    assert "lies in storage '7', not there" in refusal(path)


# --------------------------------------------------------------------- safetensors that lie


def entry(begin: int, end: int, shape: tuple[int, ...] = (2,), dtype: str = "F32") -> str:
    return json.dumps({"dtype": dtype, "shape": shape, "data_offsets": [begin, end]})


def write_safetensors(path: Path, header: str | bytes, data: bytes = bytes(16)) -> Path:
    encoded = header.encode() if isinstance(header, str) else header
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + data)
    return path


def test_safetensors_that_lie_are_refused_and_take_no_memory(tmp_path: Path) -> None:
    headers: dict[str, str | bytes] = {
        "overlap": f'{{"a": {entry(0, 8)}, "b": {entry(4, 12)}}}',
        "hole": f'{{"a": {entry(0, 8)}, "b": {entry(12, 20)}}}',
        "same name twice": f'{{"a": {entry(0, 8)}, "a": {entry(8, 16)}}}',
        "beyond the file": f'{{"a": {entry(0, 8)}, "b": {entry(8, 2**40, (2**38 - 2,))}}}',
        "before the file": '{"a": {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]}}',
        "backwards": f'{{"a": {entry(8, 0)}}}',
        "huge shape": f'{{"a": {entry(0, 16, (HUGE, HUGE))}}}',
        "negative shape": f'{{"a": {entry(0, 16, (-2, -2))}}}',
        "unused bytes": f'{{"a": {entry(0, 8)}}}',
        "unknown type": f'{{"a": {entry(0, 16, (4,), "Q32")}}}',
        "no JSON": '{"a": ',
        "JSON and more": f'{{"a": {entry(0, 16, (4,))}}} more',
        "no object in it": '{"a": 1}',
        "no UTF-8": b'{"\xff": 1}',
        "nested": '{"a": ' * 10_000 + "1" + "}" * 10_000,
        "no tensor": "{}",
    }
    paths = [write_safetensors(tmp_path / name, header) for name, header in headers.items()]
    sizes = (2**32, 2**63, 2**64 - 1, 100_000_001, 25)
    for size in sizes:
        paths.append(tmp_path / f"claims {size}")
        paths[-1].write_bytes(struct.pack("<Q", size) + b"{}" + bytes(20))
    messages = guarded_refusals(paths, grown_mb=150)
    for name, message in zip(headers, messages, strict=False):
        assert "a damaged .safetensors file (Error while deserializing header: " in message, name
    for size, message in zip(sizes, messages[len(headers) :], strict=True):
        assert f"its header claims {size:,} bytes in a file of 30; expected" in message


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e8m0fnu", "uint8", "bool"])
def test_weights_of_eight_bits_are_refused(name: str, tmp_path: Path) -> None:
    small = torch.ones(64).to(getattr(torch, name))
    save_file({**checkpoint.read(VIT).tensors, "ln_final.bias": small}, tmp_path / "small")
    assert f"ln_final.bias is torch.{name}, expected torch.float32" in refusal(tmp_path / "small")


def test_names_from_a_safetensors_file_are_shown_on_one_line(tmp_path: Path) -> None:
    tensors = checkpoint.read(VIT).tensors | {"a\nb\x1b[2J": torch.zeros(1)}
    save_file(tensors, tmp_path / "names.safetensors")
    assert r"a\nb\x1b[2J has no place in it" in refusal(tmp_path / "names.safetensors")


def test_number_in_a_name_beyond_all_layers_is_refused(tmp_path: Path) -> None:
    name = f"transformer.resblocks.{'9' * 5000}.ln_1.bias"
    save_file({**checkpoint.read(VIT).tensors, name: torch.zeros(64)}, tmp_path / "deep")
    assert "expected names of 200 characters" in refusal(tmp_path / "deep")


# ------------------------------------------------------------------------------ configs that lie


def hugging_face(tmp_path: Path, config: object) -> Path:
    (tmp_path / "model.safetensors").write_bytes((MODELS / "vit_hf/model.safetensors").read_bytes())
    encoded = config if isinstance(config, str) else json.dumps(config)
    (tmp_path / "config.json").write_text(encoded, encoding="utf-8")
    return tmp_path


def changed(tower: str, **values: object) -> dict[str, object]:
    return HF_JSON | {f"{tower}_config": HF_JSON[f"{tower}_config"] | values}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (json.dumps(HF_JSON | {"filler": "x" * 10_000_000}), "expected at most 1,000,000"),
        ("[" * 100_000, "expected a file of JSON"),
        ('{"a":' * 100_000, "expected a file of JSON"),
        ("[]", "a list; expected an object of JSON"),
        ("3", "a int; expected an object of JSON"),
        ("", "expected a file of JSON"),
        ('{"a": ' + "9" * 5000 + "}", "expected a file of JSON"),
        ("{}", "model_type is None; expected 'clip'"),
        ('{"model_type": "clip\\n"}', r"model_type is 'clip\n'; expected 'clip'"),
        ('{"model_type": "clip"}', "visual.transformer is 128 wide, which 12 heads do not divide"),
    ],
    ids="10MB lists objects list number empty digits object line-break no-towers".split(),
)
def test_config_of_another_kind_is_refused(content: str, expected: str, tmp_path: Path) -> None:
    assert expected in refusal(hugging_face(tmp_path, content))


@pytest.mark.parametrize("tower", ["vision", "text"])
@pytest.mark.parametrize("heads", [0, -1, -2, 3, 2**70, "2", None, 2.0, True, [2], {}, 1e400])
def test_heads_that_cannot_be_are_refused(tower: str, heads: object, tmp_path: Path) -> None:
    message = refusal(hugging_face(tmp_path, changed(tower, num_attention_heads=heads)))
    if heads in (3, 2**70):
        assert f"wide, which {heads} heads do not divide" in message
    else:
        assert "ValueError: " in message
        assert "where a number of heads or channels is expected" in message


@pytest.mark.parametrize(
    "config",
    [
        HF_JSON | {"vision_config": []},
        HF_JSON | {"text_config": None},
        HF_JSON | {"projection_dim": 49},
        HF_JSON | {"projection_dim": "48"},
        changed("vision", image_size=1_000_000),
        changed("vision", image_size=[48, 48]),
        changed("vision", hidden_size=256),
        changed("vision", num_hidden_layers=2),
        changed("vision", layer_norm_eps=1.0),
        changed("vision", layer_norm_eps="1e-6"),
        changed("vision", hidden_act="relu"),
        changed("vision", hidden_act=["quick_gelu"]),
        changed("vision", hidden_act={}),
        changed("text", hidden_act=None),
        changed("text", hidden_size=128),
        changed("text", num_hidden_layers=-2),
        changed("text", max_position_embeddings=78),
        changed("text", vocab_size=49_408, eos_token_id=49_407),
        changed("text", vocab_size="many"),
        changed("text", eos_token_id=-7),
        changed("text", eos_token_id=1000),
    ],
    ids=lambda config: None,
)
def test_config_against_the_shapes_is_refused(config: dict[str, object], tmp_path: Path) -> None:
    assert "expected" in refusal(hugging_face(tmp_path, config))


@pytest.mark.parametrize(
    "preprocessor",
    [
        [],
        {"image_mean": [0.5, 0.5]},
        {"image_mean": [0.5, 0.5, float("nan")]},
        {"image_mean": 0.5},
        {"image_mean": [0.5, 0.5, "a"]},
        {"image_std": [0.5, 0.5, 0]},
        {"image_std": [0.5, 0.5, float("inf")]},
        {"image_std": [0.5, 0.5, -1]},
        {"size": 48, "crop_size": 47},
        {"size": float("inf"), "crop_size": float("inf")},
        {"size": {}, "crop_size": {"height": [], "width": 2}},
        {"resample": []},
        {"resample": 0},
        {"do_normalize": False},
    ],
    ids=str,
)
def test_preprocessing_that_cannot_be_is_refused(preprocessor: object, tmp_path: Path) -> None:
    hugging_face(tmp_path, HF_JSON)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(preprocessor), encoding="utf-8")
    assert "expected" in refusal(tmp_path)


OPEN_CLIP_VISION = {"image_size": 48, "layers": 3, "width": 128, "patch_size": 8}
OPEN_CLIP_TEXT = {"width": 64, "heads": 1, "layers": 2}


@pytest.mark.parametrize(
    ("model", "vision", "text", "preprocess"),
    [
        ({"embed_dim": 49}, {}, {}, {}),
        ({"quick_gelu": "false"}, {}, {}, {}),
        ({"vision_cfg": None}, {}, {}, {}),
        ({"text_cfg": []}, {}, {}, {}),
        ({}, {"width": 256}, {}, {}),
        ({}, {"width": "128"}, {}, {}),
        ({}, {"head_width": 0}, {}, {}),
        ({}, {"head_width": -64}, {}, {}),
        ({}, {"head_width": 256}, {}, {}),
        ({}, {"head_width": 48}, {}, {}),
        ({}, {"layers": [3, 4, 6, 3]}, {}, {}),
        ({}, {"timm_model_name": "vit"}, {}, {}),
        ({}, {}, {"heads": 0}, {}),
        ({}, {}, {"heads": -1}, {}),
        ({}, {}, {"heads": 5}, {}),
        ({}, {}, {"heads": None}, {}),
        ({}, {}, {"width": 65}, {}),
        ({}, {}, {}, {"mean": [0.1, float("nan"), 0.1]}),
        ({}, {}, {}, {"std": [0.0, 0.0, 0.0]}),
        ({}, {}, {}, {"resize_mode": "stretch"}),
        ({}, {}, {}, {"interpolation": []}),
    ],
    ids=str,
)
def test_open_clip_config_that_cannot_be_is_refused(
    model: dict[str, object],
    vision: dict[str, object],
    text: dict[str, object],
    preprocess: dict[str, object],
    tmp_path: Path,
) -> None:
    save_file(
        {name: t for name, t in checkpoint.read(VIT).tensors.items() if t.is_floating_point()},
        tmp_path / "open_clip_model.safetensors",
    )
    config = {
        "model_cfg": {
            "embed_dim": 48,
            "quick_gelu": True,
            "vision_cfg": OPEN_CLIP_VISION | vision,
            "text_cfg": OPEN_CLIP_TEXT | text,
            **model,
        },
        "preprocess_cfg": preprocess,
    }
    path = tmp_path / "open_clip_config.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    assert "expected" in refusal(tmp_path)


def test_config_unchanged_still_loads(tmp_path: Path) -> None:
    assert checkpoint.load(hugging_face(tmp_path, HF_JSON)).network.config.embed_dim == 48
    assert set(load_file(tmp_path / "model.safetensors"))
