"""What pyproject.toml lets users install beyond the necessary."""

from __future__ import annotations

import re
import tomllib

from places import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def test_all_holds_every_extra_that_users_may_want() -> None:
    (everything,) = EXTRAS["all"]
    assert everything == f"clipcli[{','.join(sorted({*EXTRAS} - {'all', 'test', 'dev'}))}]"


def test_messages_name_extras_that_there_are() -> None:
    named = {
        extra
        for file in (ROOT / "clipcli").rglob("*.py")
        for extra in re.findall(r"clipcli\[(\w+)\]", file.read_text())
    }
    assert named == {*EXTRAS} - {"all", "test", "dev"}
