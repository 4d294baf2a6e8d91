"""What shells offer at the tab key, as they ask the program, and in bash."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# asks as a shell does, of one process that imports the program once
ASK = """
import json, os, sys
from clipcli.cli.main import run
for settings in json.loads(sys.argv[1]):
    os.environ.update(settings)
    try:
        run([])
    except SystemExit as end:
        assert not end.code, end
    print("\\x1e", end="")
"""


def _asked(shell: str, *lines: str) -> list[list[str]]:
    """What the program offers for the last word of each line."""
    settings = [
        {
            "_CLIPCLI_COMPLETE": f"complete_{shell}",
            "COMP_WORDS": line,
            "COMP_CWORD": str(line.count(" ")),
            "_TYPER_COMPLETE_ARGS": line,
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        }
        for line in lines
    ]
    done = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps(settings)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [offered.strip().splitlines() for offered in done.stdout.split("\x1e")[:-1]]


@pytest.fixture(autouse=True)
def at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pets.txt", "cities.txt", "cat.jpg", "pets.json"):
        (tmp_path / name).write_text("")
    (tmp_path / "lists").mkdir()
    # at the tab key, nobody's settings are read
    (tmp_path / "clipcli.toml").write_text("labels = [")
    monkeypatch.chdir(tmp_path)


def test_the_program_offers_what_can_stand_there() -> None:
    offered = {
        "cl": ["classify"],
        "probe ": ["fit"],
        "classify --min-p": ["--min-probability"],
        "classify --fit ": ["crop", "pad", "squash"],
        "embed --model ViT-L": ["ViT-L/14", "ViT-L/14@336px"],
        "embed --model a": ["auto"],
        "models show datac": ["datacomp-b32-256"],
        "eval --templates ima": ["imagenet80"],
        "classify --labels-file ": ["cities.txt", "lists/", "pets.txt"],
        "classify --calibration p": ["pets.json"],
        "config --command probe": ["probe", "probe_fit"],
        # the shell's own files
        "classify --labels-file lists/": [],
        "classify c": [],
    }
    lines = [f"clipcli {line}" for line in offered]
    assert dict(zip(offered, _asked("bash", *lines), strict=True)) == offered


def test_zsh_and_fish_ask_in_their_own_ways() -> None:
    model, file = _asked("zsh", "clipcli models show datac", "clipcli classify c")
    assert model == ["_arguments '*: :((\"datacomp-b32-256\"))'"]
    assert file == ["_files"]
    [[option]] = _asked("fish", "clipcli classify --min-p")
    assert option.startswith("--min-probability\tLeave out labels below this")


def test_bash_completes_with_the_script_that_the_program_prints(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "clipcli"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m clipcli "$@"\n')
    program.chmod(0o755)
    script = (
        'eval "$(_CLIPCLI_COMPLETE=source_bash clipcli)"\n'
        "COMP_WORDS=(clipcli classify --model ViT-L)\nCOMP_CWORD=3\n"
        "_clipcli_completion clipcli\n"
        'printf "%s\\n" "${COMPREPLY[@]}"; complete -p clipcli\n'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        env=os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == [
        "ViT-L/14",
        "ViT-L/14@336px",
        "complete -o default -F _clipcli_completion clipcli",
    ], done.stderr
