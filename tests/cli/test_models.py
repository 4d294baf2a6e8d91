"""`clipcli models`, and what happens when a published model is not on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from model_server import ModelServer
from program import Result

from clipcli.models import catalogue

Cli = Callable[..., Result]


def test_the_nine_are_listed_with_size_input_and_accuracy(cli: Cli, tmp_path: Path) -> None:
    result = cli("models", "--cache-dir", tmp_path)
    assert result.code == 0
    lines = result.stdout.decode().splitlines()
    assert len(lines) == 11
    assert lines[1].split()[:3] == ["lite", "32", "MB"]
    assert lines[7].split() == ["ViT-B/32", "353", "MB", "224", "px", "63.32", "%", "no"]


def test_offline_the_message_names_the_file_its_source_and_its_place(
    cli: Cli, tmp_path: Path, example_photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIPCLI_OFFLINE", "1")
    arguments = ("--labels", "dog", "--model", "ViT-B/32", "--cache-dir", tmp_path)
    result = cli("classify", example_photos, *arguments)
    assert (result.code, result.stdout) == (1, b"")
    model = catalogue.find_published("ViT-B/32")
    assert model is not None
    assert catalogue.model_url(model) in result.last_line
    assert str(tmp_path / "models" / "ViT-B-32.pt") in result.last_line


def test_wrong_bytes_from_a_mirror_are_refused_and_nothing_is_kept(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = catalogue.find_published("RN50")
    assert model is not None
    with ModelServer({f"/{model.sha256}/RN50.pt": b"no model"}) as server:
        monkeypatch.setenv("CLIPCLI_MODEL_URL", server.url)
        result = cli("models", "download", "RN50", "--cache-dir", tmp_path)
    assert (result.code, result.stdout) == (1, b"")
    assert model.sha256 in result.last_line
    assert not (tmp_path / "models" / "RN50.pt").exists()
    assert not (tmp_path / "models" / "RN50.pt.part").exists()


def test_an_unknown_name_is_a_usage_error(cli: Cli) -> None:
    result = cli("models", "download", "ViT-B/33")
    assert result.code == 2
    assert "expected one of RN50" in result.last_line
