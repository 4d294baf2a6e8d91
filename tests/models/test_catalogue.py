"""The table of models, and fetching one: hashed once, downloaded once, never deleted."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from model_server import Behaviour, ModelServer, Request

from clipcli.errors import DownloadError
from clipcli.models.on_disk import catalogue
from clipcli.models.on_disk.fetch import fetch
from clipcli.models.on_disk.known_models import PublishedModel

PAYLOAD = random.Random(0).randbytes(25_600)
SHA256 = hashlib.sha256(PAYLOAD).hexdigest()
OTHER_SHA256 = hashlib.sha256(b"other bytes").hexdigest()
MODEL = PublishedModel(
    name="Tiny/8",
    n_parameters=1,
    size_bytes=len(PAYLOAD),
    px=8,
    imagenet_top1=0.1,
    sha256=SHA256,
)
TARGET = f"/{SHA256}/Tiny-8.pt"

CHILD = f"""
import logging, sys
from pathlib import Path
from clipcli.models.on_disk.fetch import fetch
from clipcli.models.on_disk.known_models import PublishedModel
logging.basicConfig(level="INFO", stream=sys.stdout, format="%(message)s")
logging.getLogger("httpx").setLevel("WARNING")
print(fetch({MODEL!r}, Path("cache")), flush=True)
"""


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CLIPCLI_CACHE", "CLIPCLI_MODEL_URL", "CLIPCLI_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    with ModelServer({TARGET: PAYLOAD}) as server:
        monkeypatch.setenv("CLIPCLI_MODEL_URL", server.url)
        yield server


def put_by_hand(root: Path, content: bytes) -> Path:
    path = root / "models" / "Tiny-8.pt"
    path.parent.mkdir()
    path.write_bytes(content)
    return path


def test_nine_models_are_listed_in_published_order() -> None:
    assert catalogue.available_models() == [
        "RN50",
        "RN101",
        "RN50x4",
        "RN50x16",
        "RN50x64",
        "ViT-B/32",
        "ViT-B/16",
        "ViT-L/14",
        "ViT-L/14@336px",
    ]


def test_published_facts_of_one_model() -> None:
    model = catalogue.find_published("ViT-L/14@336px")
    assert model == PublishedModel(
        name="ViT-L/14@336px",
        n_parameters=427_944_193,
        sha256="3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",
        size_bytes=933_362_692,
        px=336,
        imagenet_top1=76.56,
    )
    assert catalogue.model_url(model) == (
        "https://openaipublic.azureedge.net/clip/models/"
        "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02/ViT-L-14-336px.pt"
    )


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("ViT-B/32", "ViT-B/32"),
        ("ViT-B-32", "ViT-B/32"),
        ("ViT-L-14", "ViT-L/14"),
        ("ViT-L/14@336px", "ViT-L/14@336px"),
        ("ViT-L-14@336px", "ViT-L/14@336px"),
        ("ViT-L-14-336px", "ViT-L/14@336px"),
        ("RN50x4", "RN50x4"),
        ("rn50X4", "RN50x4"),
        ("vit-b/32", "ViT-B/32"),
        ("ViTB32", "ViT-B/32"),
        ("vit_b_32", "ViT-B/32"),
    ],
)
def test_name_is_found_in_any_case_and_punctuation(typed: str, name: str) -> None:
    model = catalogue.find_published(typed)
    assert model is not None
    assert model.name == name


@pytest.mark.parametrize(
    "typed", ["ViT-B/32 ", "./ViT-B/32", "/ViT-B/32", "ViT-B-32.pt", "RN5", ""]
)
def test_other_names_are_not_guessed_at(typed: str) -> None:
    assert catalogue.find_published(typed) is None


def test_importing_the_table_imports_nothing_heavy() -> None:
    program = (
        "import sys, clipcli.models.on_disk.catalogue\n"
        "heavy = ('torch', 'numpy', 'rich', 'httpx', 'platformdirs', 'filelock')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("[]\n", "")


def test_cache_folder_is_the_argument_then_the_environment_then_the_users(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert catalogue.cache_root().name == "clipcli"
    assert catalogue.cache_root().is_absolute()
    monkeypatch.setenv("CLIPCLI_CACHE", "from/environment")
    assert catalogue.cache_root() == Path("from/environment")
    assert catalogue.cache_root("given") == Path("given")


def test_mirror_may_end_in_slashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPCLI_MODEL_URL", "http://mirror/clip//")
    assert catalogue.model_url(MODEL) == f"http://mirror/clip/{SHA256}/Tiny-8.pt"


def test_absent_model_is_downloaded_once(server: ModelServer, tmp_path: Path) -> None:
    root = tmp_path / "not" / "there" / "yet"
    steps: list[tuple[int, int | None]] = []
    assert not catalogue.is_on_disk(MODEL, root)
    path = fetch(MODEL, root, lambda *step: steps.append(step))
    assert path == root / "models" / "Tiny-8.pt"
    assert path.read_bytes() == PAYLOAD
    assert steps[-1] == (25_600, 25_600)
    assert catalogue.is_on_disk(MODEL, root)
    assert fetch(MODEL, root) == path
    assert server.requests == [Request(TARGET, None)]


def test_endless_answer_is_refused(server: ModelServer, tmp_path: Path) -> None:
    server.behaviour = [Behaviour(has_length=False, endless=True)]
    with pytest.raises(DownloadError, match="expected no more than 51200;"):
        fetch(MODEL, tmp_path)
    assert not catalogue.is_on_disk(MODEL, tmp_path)


def test_file_put_by_hand_is_hashed_once(tmp_path: Path) -> None:
    path = put_by_hand(tmp_path, PAYLOAD)
    assert fetch(MODEL, tmp_path) == path
    stat = path.stat()
    recorded = json.loads(path.with_name("Tiny-8.pt.verified").read_text())
    assert recorded == {"sha256": SHA256, "size": 25_600, "mtime_ns": stat.st_mtime_ns}

    # other bytes with the same size and time go unnoticed: the file is not read again
    path.write_bytes(PAYLOAD[::-1])
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert fetch(MODEL, tmp_path) == path

    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    with pytest.raises(DownloadError, match="found SHA-256"):
        fetch(MODEL, tmp_path)


def test_wrong_file_is_named_and_kept(server: ModelServer, tmp_path: Path) -> None:
    path = put_by_hand(tmp_path, b"other bytes")
    with pytest.raises(DownloadError) as caught:
        fetch(MODEL, tmp_path)
    assert str(caught.value) == (
        f"{path}: found SHA-256 {OTHER_SHA256}, expected {SHA256} for Tiny/8; "
        "delete the file to download it again"
    )
    assert path.read_bytes() == b"other bytes"
    assert server.requests == []


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b"\xff", b'{"sha256": "0"}'])
def test_damaged_record_only_means_hashing_again(tmp_path: Path, damage: bytes) -> None:
    path = put_by_hand(tmp_path, PAYLOAD)
    record = path.with_name("Tiny-8.pt.verified")
    record.write_bytes(damage)
    assert fetch(MODEL, tmp_path) == path
    assert json.loads(record.read_text())["sha256"] == SHA256


def test_record_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    path = put_by_hand(tmp_path, PAYLOAD)
    path.with_name("Tiny-8.pt.verified").mkdir()
    assert fetch(MODEL, tmp_path) == path


def test_cache_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    root = tmp_path / "photo.jpg"
    root.write_bytes(b"")
    with pytest.raises(DownloadError) as caught:
        fetch(MODEL, root)
    assert str(caught.value) == (
        f"cannot write in {root}/models: Not a directory; choose a cache folder that can be written"
    )


def test_offline_names_file_url_and_place(
    server: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIPCLI_OFFLINE", "1")
    with pytest.raises(DownloadError) as caught:
        fetch(MODEL, tmp_path)
    assert str(caught.value) == (
        "Tiny-8.pt is not on disk and CLIPCLI_OFFLINE is set; "
        f"unset it, or download {server.url}{TARGET} and put it at {tmp_path}/models/Tiny-8.pt"
    )
    assert server.requests == []
    assert list(tmp_path.iterdir()) == []


def test_offline_takes_what_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPCLI_OFFLINE", "1")
    path = put_by_hand(tmp_path, PAYLOAD)
    assert fetch(MODEL, tmp_path) == path


@pytest.mark.parametrize("value", ["", "0"])
def test_offline_empty_or_zero_means_online(
    server: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("CLIPCLI_OFFLINE", value)
    assert fetch(MODEL, tmp_path).read_bytes() == PAYLOAD


def start_child(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 20
    while not is_true():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_two_processes_that_start_together_download_once(
    server: ModelServer, tmp_path: Path
) -> None:
    server.behaviour = [Behaviour(hold_after=1000)]
    with start_child(tmp_path) as first:
        wait_until(lambda: len(server.requests) == 1)
        with start_child(tmp_path) as second:
            assert second.stdout is not None
            note = second.stdout.readline()
            server.release.set()
            assert first.communicate(timeout=20)[0] == "cache/models/Tiny-8.pt\n"
            assert second.communicate(timeout=20)[0] == "cache/models/Tiny-8.pt\n"
    assert note == "waiting for another clipcli that is downloading Tiny/8\n"
    assert server.requests == [Request(TARGET, None)]


def test_waiting_process_goes_on_where_a_killed_one_stopped(
    server: ModelServer, tmp_path: Path
) -> None:
    server.behaviour = [Behaviour(hold_after=1000)]
    part = tmp_path / "cache" / "models" / "Tiny-8.pt.part"
    with start_child(tmp_path) as first:
        wait_until(lambda: part.exists() and part.stat().st_size == 1000)
        with start_child(tmp_path) as second:
            assert second.stdout is not None
            second.stdout.readline()  # it waits
            first.kill()
            assert second.communicate(timeout=20)[0] == "cache/models/Tiny-8.pt\n"
    assert server.requests == [Request(TARGET, None), Request(TARGET, "bytes=1000-")]
