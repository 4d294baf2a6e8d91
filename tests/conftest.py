"""Fixtures that every test file may use."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from places import ROOT, SHARED
from program import Result

import clipcli

# child processes import the clipcli that this one has imported, and none in the folder they start
# in: `python -m pytest` takes the checkout's, `pytest` the installed one
os.environ["PYTHONPATH"] = str(Path(clipcli.__file__).parents[1])
os.environ["PYTHONSAFEPATH"] = "1"
# before torch is loaded: its threads sleep while they wait for each other. Spinning, which is the
# default, doubles the CPU time of small models, and more where cores are shared
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def pytest_report_header() -> str:
    there = SHARED.is_dir()
    return f"../shared: {'there' if there else 'not there, tests over it are left out'}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not SHARED.is_dir():
        outside = [item for item in items if item.get_closest_marker("shared")]
        config.hook.pytest_deselected(items=outside)
        items[:] = [item for item in items if item not in outside]


@pytest.fixture(autouse=True)
def cache_and_settings_of_its_own(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a test remembers is forgotten after it, and the user's own files are left alone."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
    monkeypatch.delenv("CLIPCLI_MODEL", raising=False)
    if "CLIPCLI_CACHE" not in os.environ:
        monkeypatch.setenv("CLIPCLI_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(autouse=True, scope="session")
def hub_cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Set before huggingface_hub is imported, which reads its variables once."""
    for name in [name for name in os.environ if name.startswith("HF_")]:
        del os.environ[name]
    os.environ["HF_HOME"] = str(tmp_path_factory.mktemp("hub"))


@pytest.fixture(scope="session")
def lite() -> str:
    """The embedded model: real weights, and no download."""
    return "lite"


@pytest.fixture(scope="session")
def example_photos() -> Path:
    """Six freely licensed photographs; see examples/photos/SOURCES.md."""
    return ROOT / "examples" / "photos"


@pytest.fixture
def notes() -> Iterator[list[str]]:
    """What the library says while the test runs, a line each."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("clipcli")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lines
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


@pytest.fixture
def cli(capfdbinary: pytest.CaptureFixture[bytes]) -> Iterator[Callable[..., Result]]:
    """Run a command line in this process, through the real `main`, with what it printed."""
    from clipcli.cli.main import run

    def call(*arguments: object) -> Result:
        capfdbinary.readouterr()
        code = run([str(argument) for argument in arguments])
        printed = capfdbinary.readouterr()
        return Result(code, printed.out, printed.err.decode())

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield call
    for number, handler in before.items():
        signal.signal(number, handler)
