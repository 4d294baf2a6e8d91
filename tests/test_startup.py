"""Help is fast because nothing heavy is imported for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    *("torch", "numpy", "PIL", "rich", "httpx", "safetensors", "ftfy", "regex", "scipy"),
    *("jinja2", "huggingface_hub", "lxml"),
)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["models"],
        *(
            [*command.split(), "--help"]
            for command in (
                "",
                "classify",
                "tag",
                "undo",
                "embed",
                "similar",
                "eval",
                "prompts choose",
                "calibrate",
                "probe fit",
                "train",
                "cache verify",
                "diff",
                "models use",
            )
        ),
    ],
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import sys; from clipcli.cli.main import run; code = run(sys.argv[1:]);"
        f"print([name for name in {HEAVY} if name in sys.modules]); sys.exit(code)"
    )
    process = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True
    )
    assert process.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", ["classify", "train"])
def test_help_of_a_command_needs_no_pydantic(command: str) -> None:
    script = (
        f"import sys; from clipcli.cli.main import run; run(['{command}', '--help']);"
        "print('pydantic' in sys.modules)"
    )
    process = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert process.stdout.splitlines()[-1] == "False"


def test_importing_clipcli_imports_nothing_heavy() -> None:
    script = f"import sys, clipcli; print([n for n in {HEAVY} if n in sys.modules])"
    process = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert process.stdout == "[]\n"
