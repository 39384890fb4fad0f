"""The documentation agrees with the code."""

import re
from pathlib import Path

import pytest
from scipy.stats import f

from flows.reference import pages
from pipeline_core.data.formats.known import HOOK
from pipeline_core.plugin import hooks as hookspecs

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
    assert all(hook in text for hook in (*hookspecs.HOOK_OF_STAGE.values(), HOOK))


def test_the_code_in_the_plugin_guide_is_the_sample_plugin():
    text = (ROOT / "docs" / "adding-a-plugin.md").read_text(encoding="utf-8")
    for file in ("evenhand_hinge.py", "test_hinge.py"):
        assert (ROOT / "tests" / "sample_plugin" / file).read_text(encoding="utf-8") in text
    sentences = (ROOT / "tests" / "sample_plugin" / "evenhand_sentences.py").read_text(encoding="utf-8")
    shown = sentences[sentences.index("def sentence_rows") : sentences.index("class TwoSentencesConfig")]
    assert shown.rstrip() in text


def test_the_readme_begins_with_the_two_commands():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert 0 <= text.index("make demo") < text.index("make test") < 600


def test_s11_a_difference_that_five_seeds_could_hardly_show_is_not_denied():
    five_each, paper = (4, 4), 0.1434 / 0.0668  # degrees of freedom; PPO's spread over GRPO's
    one_sided = f.sf(f.ppf(0.95, *five_each) / paper**2, *five_each)
    two_sided = f.sf(f.ppf(0.975, *five_each) / paper**2, *five_each) + f.cdf(f.ppf(0.025, *five_each) / paper**2, 4, 4)
    assert (round(one_sided, 2), round(two_sided, 2)) == (0.38, 0.25)
    page = (ROOT / "docs" / "results" / "stability.md").read_text(encoding="utf-8")
    assert "no difference is detectable with five seeds" in page and "is .38" in page and ".25 two-sided" in page
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "is not detectable with five seeds** (power .38" in readme
