"""Named sets of templates are the published ones, to the letter."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from clipcli.errors import UsageError
from clipcli.labels.label import DEFAULT_TEMPLATE, check_templates
from clipcli.labels.templates import CIFAR18, IMAGENET80, SEVEN, TEMPLATE_SETS, choose_templates

# of the lists joined by line breaks: OPENAI_IMAGENET_TEMPLATES and SIMPLE_IMAGENET_TEMPLATES of
# open_clip_torch 3.3.0, which are the notebook's, and data/prompts.md of openai/CLIP
SHA256 = {
    "simple": "e8e367e769f86c27d7507382b76c671667da9fa8ae030159a57681a812b0fa33",
    "seven": "6ef3883987d224b7949da69fe0b615af152e1560eaac4c5c38555e50c882d415",
    "imagenet80": "4f976686fb651bb5803d4689dcd849f75efe0ef19a3c801355bc9a6f03c8a5af",
    "cifar18": "9bbf912e1144ca4c7de308d478b5ced7ea3df9e61ce5d100ef184831bb5dc715",
}


@pytest.mark.parametrize(
    ("name", "n"), [("simple", 1), ("seven", 7), ("imagenet80", 80), ("cifar18", 18)]
)
def test_a_named_set_is_the_published_list(name: str, n: int) -> None:
    templates = TEMPLATE_SETS[name]
    assert len(templates) == len(set(templates)) == n
    assert all(template.count("{}") == 1 for template in templates)
    check_templates(templates)
    assert hashlib.sha256("\n".join(templates).encode()).hexdigest() == SHA256[name]


def test_sets_are_as_their_sources_describe_them() -> None:
    assert TEMPLATE_SETS["simple"] == (DEFAULT_TEMPLATE,)
    assert set(SEVEN) < set(IMAGENET80)
    # each with the indefinite article, then each with the definite one
    assert [some.replace(" of a ", " of the ") for some in CIFAR18[:9]] == list(CIFAR18[9:])
    assert all(DEFAULT_TEMPLATE in TEMPLATE_SETS[name] for name in ("imagenet80", "cifar18"))


def test_templates_are_those_given_or_a_set_or_the_default(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("a {} at night\n\n  a {} by day  \n")
    assert choose_templates(None, None) == [DEFAULT_TEMPLATE]
    assert choose_templates(["{}", "a {}"], None) == ["{}", "a {}"]
    assert choose_templates(None, "seven") == list(SEVEN)
    assert choose_templates(None, str(path)) == ["a {} at night", "a {} by day"]


def test_a_name_wins_over_a_file_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "seven").write_text("my {}\n")
    monkeypatch.chdir(tmp_path)
    assert choose_templates(None, "seven") == list(SEVEN)
    assert choose_templates(None, "./seven") == ["my {}"]


def test_templates_that_cannot_work_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^--template and --templates both name templates"):
        choose_templates(["{}"], "seven")
    with pytest.raises(UsageError) as caught:
        choose_templates(None, "eight")
    assert str(caught.value) == (
        "--templates eight: no such file and no set of that name; expected a file of templates,"
        " one a line, or one of simple, seven, imagenet80, cifar18"
    )
    (tmp_path / "mine.txt").write_text("a {}\na photo\n")
    with pytest.raises(UsageError, match=r"^template 'a photo' has no \{\} for the label"):
        choose_templates(None, str(tmp_path / "mine.txt"))
