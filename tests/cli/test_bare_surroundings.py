"""Without a home, a working directory, open streams or room on the disk: a line, or it works."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pictures import save_truncated_jpeg
from places import ROOT
from program import Result, command, run

CLOSED = "clipcli: stdout is closed; expected a terminal, a pipe or a file\n"
FULL = "clipcli: stdout: cannot be written: No space left on device\n"
NO_HOME = "no home directory to keep a cache in; set CLIPCLI_CACHE to a folder"
PHOTO = ROOT / "examples" / "photos" / "cat.jpg"
LABELS = ("--model", "lite", "--labels", "cat,dog")


def run_in_shell(
    script: str, *arguments: object, cwd: Path | None = None, **environment: str
) -> Result:
    """A shell script in which "$@" is clipcli with these arguments."""
    done = subprocess.run(
        ["sh", "-c", script, "sh", *command(*arguments)],
        cwd=cwd,
        env=os.environ | {"CLIPCLI_OFFLINE": "1"} | environment,
        capture_output=True,
        timeout=120,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr.decode())


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A cache that knows the photograph and the labels, so that no run needs torch."""
    folder = str(tmp_path_factory.mktemp("warm"))
    assert run("classify", PHOTO, *LABELS, CLIPCLI_CACHE=folder).code == 0
    return folder


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder of everybody's, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


# --- standard streams


@pytest.mark.parametrize(
    ("argument", "redirection", "line"),
    [
        ("--help", "> /dev/full", FULL),
        ("--version", "> /dev/full", FULL),
        ("--help", ">&-", CLOSED),
        ("models", ">&-", CLOSED),
    ],
)
def test_stdout_that_takes_nothing_is_one_line(argument: str, redirection: str, line: str) -> None:
    assert run_in_shell(f'"$@" {redirection}', argument) == Result(1, b"", line)


def test_a_reader_that_has_gone_ends_the_help_quietly() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(
            command("--help"), stdout=pipe, stderr=subprocess.PIPE, timeout=60, check=False
        )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("argument", "redirection", "code"),
    [("--version", "2>&-", 0), ("--nothing", "2>&-", 2), ("--nothing", "2> /dev/full", 2)],
)
def test_the_exit_code_is_right_where_nothing_can_be_said(
    argument: str, redirection: str, code: int
) -> None:
    result = run_in_shell(f'"$@" {redirection}', argument)
    assert (result.code, result.stderr) == (code, "")
    assert bool(result.stdout) == (code == 0)


def test_what_is_printed_never_lands_in_a_file_that_got_a_closed_streams_number(
    cache: str, tmp_path: Path
) -> None:
    bad, output = save_truncated_jpeg(tmp_path / "bad.jpg"), tmp_path / "rows.csv"
    arguments = ("classify", PHOTO, bad, *LABELS, "-o", output)
    result = run_in_shell('"$@" <&- >&- 2>&-', *arguments, CLIPCLI_CACHE=cache)
    assert result == Result(3, b"", "")
    header, row = output.read_text().splitlines()
    assert header.startswith("path,rank,label")
    assert row.startswith(f"{PHOTO},1,cat,")
    assert run("cache", "verify", CLIPCLI_CACHE=cache).code == 0


def test_a_list_from_a_closed_stdin_is_refused(cache: str) -> None:
    result = run_in_shell('"$@" <&-', "classify", "-", *LABELS, CLIPCLI_CACHE=cache)
    line = "clipcli: -: stdin is closed; expected a list of paths\n"
    assert result == Result(2, b"", line)


def test_files_that_are_whole_stand_though_stdout_is_full(cache: str, tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        shutil.copy(PHOTO, tmp_path / label)
    arguments = ("eval", tmp_path, "--model", "lite", "-o", tmp_path / "figures.json")
    result = run_in_shell('"$@" > /dev/full', *arguments, CLIPCLI_CACHE=cache)
    assert (result.code, result.last_line) == (1, FULL.strip())
    assert json.loads((tmp_path / "figures.json").read_bytes())


def test_a_terminal_gets_an_escape_for_what_its_encoding_lacks(cache: str, tmp_path: Path) -> None:
    photo = shutil.copy(PHOTO, tmp_path / "Bär.jpg")
    master, slave = pty.openpty()
    with subprocess.Popen(
        command("classify", photo, *LABELS, "--quiet"),
        env=os.environ | {"PYTHONIOENCODING": "ascii", "CLIPCLI_CACHE": cache},
        stdout=slave,
        stderr=subprocess.PIPE,
    ) as process:
        os.close(slave)
        assert process.communicate(timeout=60)[1] == b""
        assert process.returncode == 0
    printed = os.read(master, 10_000)
    assert rb"B\xe4r.jpg " in printed
    assert b" ########" in printed  # the bar
    os.close(master)


# --- no working directory, no place for temporary files


def test_without_a_working_directory_only_absolute_paths_lead_anywhere(
    cache: str, tmp_path: Path
) -> None:
    gone = "mkdir gone && cd gone && rmdir ../gone && "
    line = "clipcli: the working directory is gone; relative paths lead nowhere\n"

    def ended(*arguments: object) -> Result:
        return run_in_shell(gone + '"$@"', *arguments, cwd=tmp_path, CLIPCLI_CACHE=cache)

    relative = ended("classify", "cat.jpg", PHOTO, *LABELS)
    assert relative.code == 3
    assert relative.stderr.startswith(f"{line}clipcli: cat.jpg: no such file or folder\n")
    assert [row["path"] for row in relative.rows] == [str(PHOTO)]
    output = ended("classify", PHOTO, *LABELS, "-o", "rows.csv")
    refusal = "clipcli: rows.csv: cannot be written: No such file or directory\n"
    assert output == Result(1, b"", line + refusal)
    with_torch = ended("classify", PHOTO, *LABELS, "--no-cache", "--quiet")
    assert (with_torch.code, with_torch.stderr) == (0, line)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", PHOTO.parent, "--init", "tiny", "-o", "new"],
        ["classify", PHOTO, *LABELS, "--compile"],
    ],
)
def test_torchs_compiler_without_a_temporary_directory_is_one_line(
    arguments: list[str], tmp_path: Path
) -> None:
    """`train` imports it for its optimizer. No file may be longer than nothing: none is usable."""
    result = run_in_shell('ulimit -f 0; "$@"', *arguments, cwd=tmp_path)
    assert result.code == 1
    expected = r"clipcli: No usable temporary directory found in \[.+\]; set TMPDIR to .+\n"
    assert re.fullmatch(expected, result.stderr)
    assert os.listdir(tmp_path) == []


def test_training_needs_no_home_and_no_stdin(tmp_path: Path) -> None:
    """What failed were lines of matplotlib's own."""
    folder = tmp_path / "photos" / "cat"
    folder.mkdir(parents=True)
    for name in ("one.jpg", "other.jpg"):
        shutil.copy(PHOTO, folder / name)
    arguments = ("train", folder.parent, "--init", "tiny", "--template", "a {}", "--epochs", 1)
    bare = {"HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null", "XDG_CONFIG_HOME": "/dev/null"}
    result = run_in_shell('"$@" <&-', *arguments, "-o", tmp_path / "model", **bare)
    assert result.code == 0, result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert (tmp_path / "model" / "curves.png").exists()


# --- a user without a name

# imports all there is to import, becomes a user that no list knows, and tells how each run ends
NAMELESS = """
import contextlib, io, json, os, resource, sys
from clipcli.cli.main import run
photo, output = sys.argv[1:]
labels = ["--model", "lite", "--labels", "cat,dog", "--quiet"]
assert run(["models"]) == run(["classify", photo, *labels, "-o", output]) == 0
os.setgroups([])
os.setgid(54321)
os.setuid(54321)
ends = []

def end(*arguments, environment={}):
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "CLIPCLI_CACHE"):
        os.environ.pop(name, None)
    os.environ.update(environment)
    with contextlib.redirect_stderr(io.StringIO()) as said:
        ends.append((run(list(arguments)), said.getvalue()))

end("models")
end("classify", photo, *labels)
end("classify", photo, "--labels", "cat,dog", "--quiet")
end("models", "download", "RN50")
end("models", "use", "lite")
end("cache", "info")
end("classify", photo, *labels, environment={"CLIPCLI_CACHE": os.getcwd() + "/cache"})
closed = os.getcwd() + "/closed/home"
end("classify", photo, "--labels", "cat,dog", "--quiet", environment={"HOME": closed})
end("models", "use", "lite", environment={"HOME": closed})
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
end("classify", photo, *labels)
sys.stdout.flush()
print(json.dumps(ends))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to become another user")
def test_a_user_without_name_and_home_runs_without_memory(public: Path) -> None:
    shutil.copy(PHOTO, public / "cat.jpg")
    (public / "closed").mkdir()
    (public / "closed").chmod(0o000)
    done = subprocess.run(
        [sys.executable, "-c", NAMELESS, public / "cat.jpg", public / "rows.csv"],
        cwd=public,
        env=os.environ | {"HOME": str(public), "CLIPCLI_OFFLINE": "1"},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    without_memory = f"clipcli: {NO_HOME}; nothing is remembered\n"
    using_lite = (
        f"clipcli: using lite instead of datacomp-b32-256, which cannot be downloaded ({NO_HOME});"
        " clipcli models download datacomp-b32-256 gets it\n"
    )
    *ends, in_closed_home, use_in_closed_home, no_threads = json.loads(done.stdout.splitlines()[-1])
    assert ends == [
        [0, ""],
        [0, without_memory],
        [0, using_lite + without_memory],
        [1, f"clipcli: {NO_HOME}\n"],
        [1, "clipcli: no home directory to keep a default in; set CLIPCLI_MODEL to lite\n"],
        [1, f"clipcli: {NO_HOME}\n"],
        [0, ""],
    ]
    assert in_closed_home[0] == 0
    assert in_closed_home[1].startswith("clipcli: using lite instead of datacomp-b32-256")
    assert in_closed_home[1].count("\n") == 2  # that, and a cache that cannot be used
    assert use_in_closed_home[0] == 1
    assert use_in_closed_home[1].endswith("clipcli.toml: cannot be written: Permission denied\n")
    assert no_threads[0] == 1
    assert no_threads[1].splitlines()[-1].startswith("clipcli: no more threads can be started")
    assert sorted(os.listdir(public)) == ["cache", "cat.jpg", "closed", "rows.csv"]
    assert os.listdir(public / "cache")


def test_settings_and_sidecars_need_nothing_that_only_posix_has(cache: str, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(PHOTO, photos)
    (photos / "clipcli.toml").write_text('labels = ["cat", "dog"]\nmin_probability = 0.0\n')
    (photos / "cat.jpg.xmp").write_text(
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF'
        ' xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/></x:xmpmeta>'
    )
    program = (
        "import os, sys\n"
        "for name in ('O_NONBLOCK', 'O_CLOEXEC', 'chown', 'fchown'): delattr(os, name)\n"
        "from clipcli.cli.main import run\n"
        "sys.exit(run(sys.argv[1:]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "classify", photos, "--model", "lite", "--write-xmp"],
        env=os.environ | {"CLIPCLI_OFFLINE": "1", "CLIPCLI_CACHE": cache},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "cat" in (photos / "cat.jpg.xmp").read_text()
