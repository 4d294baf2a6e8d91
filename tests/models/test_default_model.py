"""Which model answers where none is named, and that a named one is never replaced."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from families import make_siglip
from hub_server import HubServer, commit_of
from places import REFERENCE
from program import Result

from clipcli.embedding.cache.store import Cache
from clipcli.embedding.embedder import Embedder
from clipcli.models.encoder import Encoder
from clipcli.models.on_disk import catalogue, default_model
from clipcli.photos.find import find_photos

Cli = Callable[..., Result]

REPOSITORY = "laion/CLIP-ViT-B-32-256x256-DataComp-s34B-b86K"
VIT = REFERENCE / "models" / "vit_hf"
HUGGING_FACE = {path.name: path.read_bytes() for path in VIT.iterdir()}


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("CLIPCLI_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CLIPCLI_MODEL", raising=False)


@pytest.fixture
def cat(example_photos: Path) -> tuple[object, ...]:
    return ("classify", example_photos / "cat.jpg", "--labels", "dog,cat", "--format", "jsonl")


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Accepts connections and never answers, as a network that swallows everything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_offline_auto_is_lite_and_says_so_once(
    cli: Cli, cat: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIPCLI_OFFLINE", "1")
    result = cli(*cat)
    assert result.code == 0
    assert result.objects[0]["model"] == "lite"
    warning, summary = result.stderr.splitlines()
    assert warning == (
        "clipcli: using lite instead of datacomp-b32-256, which cannot be downloaded"
        " (CLIPCLI_OFFLINE is set); clipcli models download datacomp-b32-256 gets it"
    )
    assert "; lite, " in summary
    assert cli(*cat, "--quiet").stderr == f"{warning}\n"


def test_no_network_is_said_without_its_number(
    cli: Cli, cat: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")  # nobody listens there
    (warning,) = cli(*cat, "-q").stderr.splitlines()
    assert "(Connection refused)" in warning


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl"])
def test_rows_of_another_model_are_not_replaced_without_a_word(
    cli: Cli, example_photos: Path, tmp_path: Path, suffix: str
) -> None:
    gone, cat = tmp_path / "gone, {.jpg", example_photos / "cat.jpg"  # a failure comes first
    output = tmp_path / f"rows.{suffix}"
    arguments = ("-o", output, "--model", "lite", "-q")
    runs = [("classify", gone, cat, "--labels", "dog,cat"), ("similar", "dog", "--text", gone, cat)]
    if suffix != "json":
        runs.append(("embed", gone, cat))
    for run in runs:
        output.unlink(missing_ok=True)
        assert len(cli(*run, *arguments).stderr.splitlines()) == 1
        assert len(cli(*run, *arguments).stderr.splitlines()) == 1
        output.write_text(output.read_text().replace("lite", "ViT-B/32"))
        lines = cli(*run, *arguments).stderr.splitlines()
        said = f"clipcli: {output}: holds rows of ViT-B/32, and is replaced by rows of lite"
        assert (said in lines) == ((run[0], suffix) != ("embed", "csv"))  # which has numbers alone
    for text in ("no rows at all\n[1]\n", "[\n5,\n6]\n", "[" * 100):
        output.write_text(text)
        assert cli(*runs[0], *arguments).code == 3


@pytest.mark.parametrize("name", ["rows.csv", "rows.json", "rows.jsonl", "photos.npy"])
def test_what_auto_falls_back_to_replaces_no_rows_of_another_model(
    cli: Cli, example_photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("CLIPCLI_OFFLINE", "1")
    siglip = make_siglip(tmp_path / "siglip")
    output, failures = tmp_path / name, tmp_path / "failures.csv"
    run = ("classify", example_photos / "cat.jpg", "--labels", "dog,cat", "-o", output)
    if name == "photos.npy":
        run = ("embed", example_photos / "cat.jpg", "-o", output)
    assert cli(*run, "--model", siglip).code == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    refused = cli(*run, "--failures", failures)
    assert refused.code == 1
    assert refused.last_line == (
        f"clipcli: {output}: holds rows of {siglip}, which lite is not to replace unasked;"
        f" nothing was written; pass --model {siglip}, --model lite or another --output"
    )
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert after == before
    named = cli(*run, "--model", "lite")
    assert named.code == 0
    assert f"{output}: holds rows of {siglip}, and is replaced by rows of lite" in named.stderr
    assert cli(*run).code == 0  # its own rows


def test_embeddings_are_known_by_their_model_whatever_it_is_called(
    cli: Cli, example_photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIPCLI_OFFLINE", "1")
    lite = tmp_path / "mine.safetensors"
    lite.symlink_to(catalogue.lite_path())
    run = ("embed", example_photos / "cat.jpg", "-o", tmp_path / "photos.npz")
    assert cli(*run, "--model", lite).code == 0
    assert cli(*run).code == 0
    assert cli(*run, "--model", VIT).stderr.count("holds rows of lite") == 1
    assert cli(*run).code == 1


def test_auto_decides_within_three_seconds_without_a_network(
    silent_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, notes: list[str]
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", silent_server)
    start = time.monotonic()
    assert default_model.resolve_auto(tmp_path) == "lite"
    assert time.monotonic() - start < 3
    assert len(notes) == 1


def test_auto_is_lite_where_the_download_breaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, notes: list[str]
) -> None:
    with HubServer() as server:  # without a repository
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        assert default_model.resolve_auto(tmp_path) == "lite"
    assert notes[0] == (
        "downloading datacomp-b32-256 (605 MB, once); --model lite works now, without it"
    )
    assert f"(datacomp-b32-256: no repository at {server.url}/laion/" in notes[1]


def test_auto_is_the_former_default_where_that_alone_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, notes: list[str]
) -> None:
    put_vit_b_32(tmp_path)
    for variable in ("CLIPCLI_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(variable, "1")
        assert default_model.resolve_auto(tmp_path) == "ViT-B/32"
        assert notes.pop() == (
            f"using ViT-B/32 instead of datacomp-b32-256, which cannot be downloaded ({variable} is"
            " set); clipcli models download datacomp-b32-256 gets it"
        )
        monkeypatch.delenv(variable)


def test_auto_is_downloaded_and_says_what_that_changes(
    cli: Cli, example_photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cat = example_photos / "cat.jpg"
    root = catalogue.cache_root()
    with HubServer() as server:
        server.repositories[REPOSITORY] = {"main": HUGGING_FACE}
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        put_vit_b_32(root)
        encoder = Encoder.open(str(VIT))
        former = Embedder(encoder.spec.named("ViT-B/32"), lambda: encoder, Cache(root))
        list(former.embed_photos(find_photos([str(cat)])))
        result = cli("embed", cat, "--format", "jsonl")
        name = f"datacomp-b32-256@{commit_of(HUGGING_FACE)[:7]}"
        assert result.objects[0]["model"] == name
        assert result.stderr.splitlines()[0] == (
            "clipcli: the default model is datacomp-b32-256 now: downloading 605 MB, once, and 1"
            " photograph is to be encoded anew; clipcli models use ViT-B/32 keeps the old"
        )
        n_requests = len(server.requests)
        again = cli("embed", cat, "--format", "jsonl")
        assert again.objects == result.objects
        assert len(again.stderr.splitlines()) == 1
        assert len(server.requests) == n_requests


def test_auto_opens_the_model_that_made_the_file_it_is_given(
    cli: Cli, example_photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIPCLI_OFFLINE", "1")
    photos = tmp_path / "photos.npy"
    assert cli("embed", example_photos, "-o", photos, "--model", VIT).code == 0
    query = tmp_path / "query.jpg"
    query.write_bytes((example_photos / "cat.jpg").read_bytes() + b"another file")
    result = cli("similar", query, "--embeddings", photos, "--format", "jsonl")
    assert (result.code, result.objects[0]["model"]) == (0, str(VIT))
    assert "instead of" not in result.stderr
    refused = cli("similar", query, "--embeddings", photos, "--model", "lite")
    assert f"made by {VIT}" in refused.last_line


def put_vit_b_32(root: Path) -> None:
    """A file in its place, which nobody opens."""
    model = catalogue.find_published("ViT-B/32")
    assert model is not None
    path = catalogue.model_path(model, root)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")


def test_a_named_model_is_never_replaced(
    cli: Cli, cat: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIPCLI_OFFLINE", "1")
    for result in (cli(*cat, "--model", "ViT-B/32"), _with_environment(cli, cat, monkeypatch)):
        assert (result.code, result.stdout) == (1, b"")
        assert "ViT-B-32.pt is not on disk" in result.last_line


def _with_environment(cli: Cli, cat: tuple[object, ...], monkeypatch: pytest.MonkeyPatch) -> Result:
    monkeypatch.setenv("CLIPCLI_MODEL", "ViT-B-32")
    return cli(*cat)


def test_use_makes_a_default_that_the_environment_and_the_option_come_before(
    cli: Cli, cat: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli("models", "use", "lite").code == 0
    assert default_model.config_path().read_text() == 'model = "lite"\n'
    assert default_model.wanted() == "lite"
    result = cli(*cat)
    assert result.objects[0]["model"] == "lite"
    assert len(result.stderr.splitlines()) == 1  # nothing was replaced, so nothing is said of it
    monkeypatch.setenv("CLIPCLI_MODEL", "RN50")
    assert default_model.wanted() == "RN50"
    assert default_model.wanted("RN101") == "RN101"


def test_use_keeps_what_else_stands_in_the_configuration(cli: Cli) -> None:
    path = default_model.config_path()
    path.parent.mkdir(parents=True)
    path.write_text('# mine\nmodel = "RN50"\ntop_k = 1\n\n[embed]\nmodel = "kept"\n')
    assert cli("models", "use", "lite").code == 0
    assert path.read_text() == ('model = "lite"\n# mine\ntop_k = 1\n\n[embed]\nmodel = "kept"\n')


def test_use_refuses_a_file_that_is_no_model(cli: Cli, example_photos: Path) -> None:
    result = cli("models", "use", example_photos / "cat.jpg")
    assert result.code == 1
    assert not default_model.config_path().exists()


def test_a_damaged_configuration_is_one_line(cli: Cli, cat: tuple[object, ...]) -> None:
    path = default_model.config_path()
    path.parent.mkdir(parents=True)
    path.write_text("model = lite\n")
    result = cli(*cat)
    assert (result.code, result.stdout) == (2, b"")
    assert f"{path}: Invalid value" in result.last_line


def test_files_of_embeddings_name_the_model(cli: Cli, example_photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "photos.npz"
    cli("embed", example_photos, "-o", output, "--model", "lite")
    assert json.loads(str(np.load(output)["model"]))["model"] == "lite"
