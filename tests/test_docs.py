"""The documentation agrees with the code."""

import re
from pathlib import Path

import pytest

from flows.reference import pages
from pipeline_core import hookspecs

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("name", ["plugins.md", "configuration.md"])
def test_the_reference_is_current(name):
    written = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert written == pages()[name].rstrip() + "\n", "run `make docs`"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_every_hook_is_described_for_plugin_authors():
    text = (ROOT / "docs" / "adding-a-plugin.md").read_text(encoding="utf-8")
    assert all(hook in text for hook in hookspecs.HOOK_OF_STAGE.values())


def test_the_code_in_the_plugin_guide_is_the_sample_plugin():
    text = (ROOT / "docs" / "adding-a-plugin.md").read_text(encoding="utf-8")
    for file in ("evenhand_hinge.py", "test_hinge.py"):
        assert (ROOT / "tests" / "sample_plugin" / file).read_text(encoding="utf-8") in text


def test_the_readme_begins_with_the_two_commands():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert 0 <= text.index("make demo") < text.index("make test") < 600
