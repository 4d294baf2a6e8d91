"""`clipcli models`, and what happens when a published model is not on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from model_server import ModelServer
from places import ROOT
from program import Result

from clipcli.models.on_disk import catalogue
from clipcli.models.on_disk.known_models import ON_HUB

Cli = Callable[..., Result]


def test_the_models_are_listed_in_a_hundred_columns(cli: Cli, tmp_path: Path) -> None:
    result = cli("models", "--cache-dir", tmp_path)
    assert result.code == 0
    lines = result.stdout.decode().splitlines()
    table, notes = lines[:23], lines[23:]
    assert max(map(len, lines)) <= 100
    assert table[1].split()[:5] == ["lite", "22", "M", "32", "MB"]
    assert table[7].split() == [
        *("ViT-B/32", "151", "M", "353", "MB", "224", "px", "63.3", "%", "en", "MIT"),
        *("the", "paper", "no"),
    ]
    siglip = next(line for line in table if line.startswith("siglip2-b32-256"))
    assert "1.5 GB  256 px    74.0 %  a  100    Apache-2.0" in siglip
    assert "          a by google-research/big_vision, README_siglip2.md" in notes


def test_what_is_known_of_a_model_is_shown_without_a_network(cli: Cli) -> None:
    for model in ON_HUB:
        result = cli("models", "show", model.name)
        assert result.code == 0
        lines = dict(line.split(maxsplit=1) for line in result.stdout.decode().splitlines()[1:])
        assert lines["from"] == f"https://huggingface.co/{model.repository}"
        assert lines["parameters"] == f"{model.n_parameters:,}"
        assert lines["on"] == "disk     no"


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


@pytest.mark.parametrize("arguments", [("models", "show"), ("models", "download")])
def test_a_name_that_is_nearly_one_is_named(cli: Cli, arguments: tuple[str, ...]) -> None:
    result = cli(*arguments, "vit-b/23")
    assert result.code == 2
    assert result.last_line.endswith("did you mean ViT-B/32")


def test_a_name_may_be_written_in_any_case(
    cli: Cli, tmp_path: Path, example_photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIPCLI_OFFLINE", "1")
    cat = ("classify", example_photos / "cat.jpg", "--labels", "cat,dog", "--format", "jsonl")
    assert cli(*cat, "--model", "Lite").objects[0]["model"] == "lite"
    missing = cli(*cat, "--model", "vitb32", "--cache-dir", tmp_path)
    assert "ViT-B-32.pt is not on disk" in missing.last_line
    assert cli("models", "use", "LITE").code == 0
    assert cli(*cat).objects[0]["model"] == "lite"


def test_a_file_wins_over_a_name_that_is_written_in_another_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert catalogue.model_name("vit-b-32") == "ViT-B/32"
    (tmp_path / "vit-b-32").mkdir()
    (tmp_path / "ViT-B-32").mkdir()
    assert catalogue.model_name("vit-b-32") is None
    assert catalogue.model_name("ViT-B-32") == "ViT-B/32"


@pytest.mark.parametrize(
    ("file", "form"), [("vit.pt", "a PyTorch archive"), ("vit_hf", "safetensors, with config.json")]
)
def test_a_checkpoint_is_shown_with_what_it_is(cli: Cli, file: str, form: str) -> None:
    result = cli("models", "show", ROOT / "tests" / "reference" / "models" / file)
    assert result.code == 0
    lines = dict(line.split(maxsplit=1) for line in result.stdout.decode().splitlines()[1:])
    assert lines["format"] == form
    assert lines["pictures"] == "48 x 48 pixels"
    assert lines["parameters"] == "803,009"
    # the same model, in whatever file it is
    assert lines["fingerprint"].startswith("4554f04362466d94")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (
            "vit_hf",
            {
                "family": "a CLIP",
                "resize": "the short side to this, then the middle; bicubic",
                "tokenizer": "CLIP's",
                "scores": "softmax of 14.3 times the cosine",
            },
        ),
        (
            "siglip2_hf",
            {
                "family": "a SigLIP",
                "resize": "both sides to this, squashed; bilinear",
                "tokenizer": "SigLIP's, tokenizer.json, which is not there: only pictures can be"
                " encoded",
                "scores": "sigmoid of 12.18 times the cosine -3.25",
            },
        ),
        (
            "pe_core_open_clip",
            {
                "family": "a Perception Encoder",
                "resize": "both sides to this, squashed; bilinear",
                "tokenizer": "CLIP's",
                "scores": "softmax of 12.18 times the cosine",
            },
        ),
        (
            "clip_longest_open_clip",
            {"family": "a CLIP", "resize": "the long side to this, on black; bicubic"},
        ),
    ],
)
def test_a_checkpoint_is_shown_with_its_family(cli: Cli, name: str, shown: dict[str, str]) -> None:
    path = ROOT / "tests" / "reference" / "models" / name
    first, *rest = cli("models", "show", path).stdout.decode().splitlines()
    lines = dict(line.split(maxsplit=1) for line in rest)
    lines["family"] = first.removeprefix(f"{path}: ").partition(",")[0]
    assert {field: lines[field] for field in shown} == shown


def test_a_file_that_is_no_checkpoint_is_said_to_be_none(cli: Cli, example_photos: Path) -> None:
    result = cli("models", "show", example_photos / "cat.jpg")
    assert (result.code, result.stdout) == (1, b"")
    assert "expected a TorchScript archive" in result.last_line
