"""Models of the Hugging Face hub, from a server that speaks its protocol."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hub_server import Files, HubServer, commit_of
from places import REFERENCE
from program import Result, command, started
from safetensors.torch import save

from clipcli.errors import DownloadError
from clipcli.models.checkpoint import checkpoint
from clipcli.models.on_disk import catalogue, hub, snapshots

Cli = Callable[..., Result]

MODELS = REFERENCE / "models"
CARD = b"---\nlanguage: en\nlicense: other\nlicense_name: apple-amlr\n---\n# A model\n"
HUGGING_FACE: Files = {
    "README.md": CARD,
    "config.json": (MODELS / "vit_hf" / "config.json").read_bytes(),
    "model.safetensors": (MODELS / "vit_hf" / "model.safetensors").read_bytes(),
    "flax_model.msgpack": b"not ours",
}
TIMM = {
    "config.json": b'{"architecture": "vit_base_patch16_clip_224", "num_classes": 512}',
    "model.safetensors": b"an image encoder alone",
}


def open_clip() -> Files:
    """A repository as timm writes them: open_clip's files, and its image encoder alone."""
    config = {
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
        "preprocess_cfg": {},
    }
    tensors = checkpoint.read(MODELS / "vit.pt").tensors
    return {
        **TIMM,
        "open_clip_config.json": json.dumps(config).encode(),
        "open_clip_model.safetensors": save(
            {name: one.contiguous() for name, one in tensors.items()}
        ),
    }


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.fixture
def embed(cli: Cli, example_photos: Path) -> Callable[[str], Result]:
    """A photograph by a model, as JSON Lines."""
    cat = example_photos / "cat.jpg"
    return lambda model: cli("embed", cat, "--format", "jsonl", "--model", model)


def test_a_repository_is_asked_for_once_and_then_needs_no_network(
    cli: Cli,
    server: HubServer,
    embed: Callable[[str], Result],
    example_photos: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.repositories["org/clip"] = {"main": HUGGING_FACE}
    commit = commit_of(HUGGING_FACE)
    name = f"hf:org/clip@{commit[:7]}"
    first = embed("hf:org/clip")
    assert first.objects[0]["model"] == name
    assert f"{name} (licence apple-amlr), " in first.last_line
    assert not [one for one in server.requests if one.endswith("msgpack")]

    asked = len(server.requests)
    assert embed("hf:org/clip").objects == first.objects
    cli("cache", "clear", "--yes")  # the model itself is read again
    assert embed(name).objects == first.objects
    monkeypatch.setenv("CLIPCLI_OFFLINE", "1")
    assert embed("hf:org/clip").objects == first.objects
    assert embed("hf:org/clip@main").objects == first.objects
    assert len(server.requests) == asked

    expected = cli(
        "embed", example_photos / "cat.jpg", "--format", "jsonl", "--model", MODELS / "vit_hf"
    )
    assert first.objects[0]["embedding"] == expected.objects[0]["embedding"]


def test_only_download_asks_whether_there_is_a_newer_one(
    cli: Cli, server: HubServer, embed: Callable[[str], Result]
) -> None:
    newer = HUGGING_FACE | {"README.md": b"no card"}
    server.repositories["org/moves"] = {"main": HUGGING_FACE}
    before, after = (f"hf:org/moves@{commit_of(files)[:7]}" for files in (HUGGING_FACE, newer))
    assert embed("hf:org/moves").objects[0]["model"] == before
    server.repositories["org/moves"] = {"main": newer}
    assert embed("hf:org/moves").objects[0]["model"] == before
    server.requests.clear()
    assert cli("models", "download", "hf:org/moves").code == 0
    assert not [one for one in server.requests if one.startswith("GET") and "safetensors" in one]
    result = embed("hf:org/moves")
    assert result.objects[0]["model"] == after
    assert "licence" not in result.last_line
    assert embed(before).objects[0]["model"] == before


def test_the_commit_in_a_models_name_is_found_on_another_machine(
    server: HubServer, embed: Callable[[str], Result]
) -> None:
    newer = HUGGING_FACE | {"README.md": b"no card"}
    server.repositories["org/past"] = {"main": newer, "v1": HUGGING_FACE}
    name = f"hf:org/past@{commit_of(HUGGING_FACE)[:7]}"  # as a probe or a row names it
    assert embed(name).objects[0]["model"] == name
    assert "no such revision" in embed("hf:org/past@0000000").last_line


def test_of_a_repository_of_timms_only_open_clips_files_are_taken(
    cli: Cli, server: HubServer, embed: Callable[[str], Result]
) -> None:
    files = open_clip()
    server.repositories["timm/clip"] = {"main": files}
    named = embed("hf:timm/clip").objects[0]
    server.repositories["laion/CLIP-ViT-B-32-256x256-DataComp-s34B-b86K"] = {"main": files}
    by_name = embed("datacomp-b32-256").objects[0]
    assert by_name["model"] == f"datacomp-b32-256@{commit_of(files)[:7]}"
    assert by_name["embedding"] == named["embedding"]
    assert "GET /timm/clip/resolve/" in " ".join(server.requests)
    assert not [one for one in server.requests if one.endswith("/model.safetensors")]

    # in the hub's cache another program may have put it beside
    folder = Path(cli("models", "download", "hf:timm/clip").stdout.decode().strip())
    (folder / "model.safetensors").write_bytes(TIMM["model.safetensors"])
    cli("cache", "clear", "--yes")
    assert embed("hf:timm/clip").objects[0] == named


REFUSED = {
    "org/pickles": "only pickles (pytorch_model.bin), which can run code and are not downloaded; a"
    " pull request has safetensors: hf:org/pickles@refs/pr/2",
    "org/bare": "only pickles (open_clip_pytorch_model.bin), which can run code and are not"
    " downloaded; expected safetensors, which some have in a pull request: hf:org/bare@refs/pr/N",
    "org/timm": "timm's image encoder vit_base_patch16_clip_224 alone",
    "org/bert": "model_type is 'bert'",
    "org/convnext": "open_clip_config.json: ",
    "org/parts": "its weights are in several files (model.safetensors.index.json)",
    "org/empty": "no weights found (README.md); expected open_clip_model.safetensors beside",
    "org/gated": "its owners ask for consent; accept its conditions at URL/org/gated and set",
    "org/none": "no repository at URL/org/none",
    "org/--": "no repository at URL/org/--",
    "org/gated@v2": "no such revision; expected a branch, a tag, refs/pr/N or the 40 digits",
}


def test_what_cannot_be_read_is_refused_in_one_line_before_its_weights_come(
    server: HubServer, cli: Cli
) -> None:
    convnext = {"vision_cfg": {"timm_model_name": "convnext_base"}, "text_cfg": {}}
    pickle = {"config.json": HUGGING_FACE["config.json"], "pytorch_model.bin": b"pickle"}
    server.gated = {"org/gated"}
    server.repositories |= {
        "org/pickles": {"main": pickle, "refs/pr/1": pickle, "refs/pr/2": HUGGING_FACE},
        "org/bare": {"main": {"open_clip_pytorch_model.bin": b"pickle"}},
        "org/timm": {"main": TIMM},
        "org/bert": {"main": HUGGING_FACE | {"config.json": b'{"model_type": "bert"}'}},
        "org/convnext": {
            "main": open_clip()
            | {"open_clip_config.json": json.dumps({"model_cfg": convnext}).encode()}
        },
        "org/parts": {"main": {"model.safetensors.index.json": b"{}"}},
        "org/empty": {"main": {"README.md": CARD}},
        "org/gated": {"main": HUGGING_FACE},
    }
    for repository, said in REFUSED.items():
        result = cli("models", "download", f"hf:{repository}")
        assert (result.code, result.stdout) == (1, b""), result.stderr
        (line,) = result.stderr.splitlines()
        assert said.replace("URL", server.url) in line
    assert not [one for one in server.requests if one.endswith(("safetensors", "bin"))]
    assert cli("models", "download", "hf:org/pickles@refs/pr/2").code == 0


def test_a_token_opens_what_is_gated(
    server: HubServer, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.gated = {"org/with-token"}
    server.repositories["org/with-token"] = {"main": HUGGING_FACE}
    assert cli("models", "download", "hf:org/with-token").code == 1
    monkeypatch.setenv("HF_TOKEN", "hf_some")
    assert cli("models", "download", "hf:org/with-token").code == 0


@pytest.mark.parametrize("name", ["hf:", "hf:clip", "hf:org/", "hf:a/b/c", "hf:a/b@", "hf:a/b@c d"])
def test_a_name_that_names_no_repository_is_a_usage_error(
    cli: Cli, embed: Callable[[str], Result], name: str
) -> None:
    for result in (cli("models", "show", name), embed(name)):
        assert result.code == 2
        assert result.last_line.endswith("expected hf:ORG/NAME or hf:ORG/NAME@REVISION")


def test_without_a_network_the_hub_is_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")  # nobody listens there
    result = cli("models", "download", "hf:org/far")
    assert (result.code, result.stderr) == (
        1,
        (
            "clipcli: cannot download hf:org/far from http://127.0.0.1:1: Connection refused;"
            " try again later\n"
        ),
    )
    for variable in ("CLIPCLI_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(variable, "1")
        result = cli("models", "download", "hf:org/far")
        assert f"hf:org/far is not on disk and {variable} is set; unset it" in result.last_line
        monkeypatch.delenv(variable)


def test_a_broken_download_goes_on_where_it_broke(
    server: HubServer, tmp_path: Path, notes: list[str]
) -> None:
    weights = bytes(25_000_000)
    server.repositories["org/broken"] = {"main": HUGGING_FACE | {"model.safetensors": weights}}
    server.break_after = 22_000_000
    steps: list[tuple[int, int | None]] = []
    name = catalogue.find_on_hub("hf:org/broken")
    assert name is not None
    found = hub.fetch(name, tmp_path, lambda *step: steps.append(step))
    assert Path(found.folder, "model.safetensors").read_bytes() == weights
    (resumed,) = server.ranges
    assert resumed != "bytes=0-"
    total = snapshots.size_bytes([found])
    assert steps[-1] == (total, total)
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert notes == []


def test_ctrl_c_ends_a_download_and_leaves_nothing_behind(server: HubServer) -> None:
    server.repositories["org/held"] = {
        "main": HUGGING_FACE | {"model.safetensors": bytes(30 << 20)}
    }
    server.hold_after = 20 << 20
    with started(command("models", "download", "hf:org/held")) as process:
        assert server.is_held.wait(60)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert (process.returncode, said) == (130, "clipcli: interrupted\n")
    blobs = Path(os.environ["HF_HOME"], "hub", "models--org--held", "blobs")
    assert not [path for path in blobs.iterdir() if path.stat().st_size > 1 << 20]


def test_a_full_disk_is_one_line(server: HubServer, tmp_path: Path) -> None:
    server.repositories["org/full"] = {
        "main": HUGGING_FACE | {"model.safetensors": bytes(30 << 20)}
    }
    name = catalogue.find_on_hub("hf:org/full")
    assert name is not None
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20 << 20, hard))
    try:
        with pytest.raises(
            DownloadError, match="the hub's cache cannot be written: File too large"
        ):
            hub.fetch(name, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_warm_run_does_not_import_the_hubs_library(
    server: HubServer, embed: Callable[[str], Result], example_photos: Path
) -> None:
    server.repositories["org/warm"] = {"main": HUGGING_FACE}
    first = embed("hf:org/warm")
    script = (
        "import sys; from clipcli.cli.main import run; code = run(sys.argv[1:]);"
        "print('huggingface_hub' in sys.modules)"
    )
    arguments = ["embed", str(example_photos / "cat.jpg"), "--format", "jsonl"]
    process = subprocess.run(
        [sys.executable, "-c", script, *arguments, "--model", "hf:org/warm"],
        capture_output=True,
        text=True,
        check=True,
    )
    row, imported = process.stdout.splitlines()
    assert (json.loads(row), imported) == (first.objects[0], "False")


def test_files_that_were_deleted_or_an_index_that_is_damaged_mean_asking_again(
    server: HubServer, tmp_path: Path
) -> None:
    server.repositories["org/gone"] = {"main": HUGGING_FACE}
    name = catalogue.find_on_hub("hf:org/gone")
    assert name is not None
    found = hub.fetch(name, tmp_path)
    assert snapshots.find(name, tmp_path) == found
    index = tmp_path / "models" / "hub.json"
    for damage in (b"", b"[]", b'{"org/gone": 1}', b'{"org/gone": {"commits": {"a": 1}}}'):
        index.write_bytes(damage)
        assert snapshots.find(name, tmp_path) is None
        assert hub.fetch(name, tmp_path) == found
        assert snapshots.find(name, tmp_path) == found
    shutil.rmtree(Path(found.folder).parents[1] / "blobs")
    assert snapshots.find(name, tmp_path) is None
    assert snapshots.repositories(tmp_path) == []
    assert hub.fetch(name, tmp_path) == found
    assert snapshots.find(name, tmp_path) == found


def test_what_another_program_has_brought_is_taken_offline(
    server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import hf_hub_download

    server.repositories["org/theirs"] = {"main": HUGGING_FACE}
    for file in ("config.json", "model.safetensors"):
        path = hf_hub_download("org/theirs", file, endpoint=server.url)
    monkeypatch.setenv("CLIPCLI_OFFLINE", "1")
    name = catalogue.find_on_hub("hf:org/theirs")
    assert name is not None
    assert hub.fetch(name, tmp_path).folder == str(Path(path).parent)
    assert snapshots.find(name, tmp_path) is not None


def test_a_model_is_listed_shown_and_removed(cli: Cli, server: HubServer) -> None:
    repository = "wkcn/TinyCLIP-ViT-8M-16-Text-3M-YFCC15M"
    server.repositories |= {repository: {"main": HUGGING_FACE}, "org/other": {"main": HUGGING_FACE}}
    assert _row(cli, "tinyclip-8m").endswith("no")
    folder = Path(cli("models", "download", "TinyCLIP_8M").stdout.decode().strip())
    cli("models", "download", "hf:org/other")
    assert _row(cli, "tinyclip-8m").endswith("yes")
    assert "on disk   hf:org/other, 2 MB\n" in cli("models").stdout.decode()

    shown = cli("models", "show", "tinyclip-8m").stdout.decode()
    assert f"from        {server.url}/{repository}\n" in shown
    assert f"commit      {commit_of(HUGGING_FACE)}\n" in shown
    assert "parameters  803,009\n" in shown
    assert (
        "card        licence apple-amlr\n" in cli("models", "show", "hf:org/other").stdout.decode()
    )

    refused = cli("models", "remove", "tinyclip-8m")
    assert refused.code == 2
    assert "remove tinyclip-8m, 2 MB? There is no terminal to ask at" in refused.last_line
    assert folder.exists()
    removed = cli("models", "remove", "tinyclip-8m", "--yes")
    assert (removed.code, removed.last_line) == (0, "clipcli: tinyclip-8m: 2 MB freed")
    assert not folder.parents[1].exists()
    assert _row(cli, "tinyclip-8m").endswith("no")
    assert cli("models", "remove", "tinyclip-8m").last_line == "clipcli: tinyclip-8m is not on disk"
    assert cli("models", "remove", "hf:org/other", "-y", "-q").stderr == ""
    assert "org/other" not in cli("models").stdout.decode()


def _row(cli: Cli, name: str) -> str:
    lines = cli("models").stdout.decode().splitlines()
    return next(line for line in lines if line.split()[:1] == [name])


def test_a_repository_can_be_made_the_default(
    cli: Cli, server: HubServer, example_photos: Path
) -> None:
    server.repositories["org/default"] = {"main": HUGGING_FACE}
    assert cli("models", "use", "hf:org/default").code == 0
    server.requests.clear()
    result = cli("embed", example_photos / "cat.jpg", "--format", "jsonl")
    assert result.objects[0]["model"].startswith("hf:org/default@")
    assert server.requests == []
