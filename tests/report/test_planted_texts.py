"""Labels, groups and descriptions that would act in a browser stay text in all written forms of the report."""

from __future__ import annotations

import pytest

from pipeline_core.plugin.figures import Measure, Score
from pipeline_core.report import write_report
from pipeline_core.report.render.charts import short
from tests.files.test_markdown_text import PLANTED, acts, read
from tests.report.run import FakeRun
from tests.report.test_report import CONFIG, INFO

LABEL, GROUPS = "<script>x</script>|`", ("[x](javascript:a)", "![](http://x)\n<img src=x>")
TEXT = "\n".join(PLANTED)
BIAS = Measure("planted/bias", "stereotyped", "share", "lower", group_by="group")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    run = FakeRun(tmp_path_factory.mktemp("store"), labels=())
    model = run.stage("policy", "dpo", LABEL, 0, {"model": run.base.digest})
    scores = [Score(f"{i}", "stereotyped", float(i % 3 > 0), GROUPS[i % 2], prediction=PLANTED[0]) for i in range(24)]
    run.suite("planted", "base", run.base, scores, [BIAS])
    run.suite("planted", LABEL, model, scores, [BIAS])
    config = CONFIG | {"name": LABEL, "description": TEXT, "policy": [{"name": "dpo", "label": LABEL}]}
    data = [{"entry": LABEL, "licence": GROUPS[0], "citation": TEXT}]
    info = INFO | {"command": f"evenhand run {TEXT} ```", "data": data}
    return write_report(list(run.results.values()), config, tmp_path_factory.mktemp("report"), info)


def test_the_page_has_no_element_of_theirs(written):
    page = written.html.read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize("form", ["markdown", "card"])
def test_markdown_has_no_link_image_or_element_of_theirs(written, form):
    text = getattr(written, form).read_text(encoding="utf-8")
    assert "alert(1)" in text
    assert acts(read(text.replace("[dpo]", ""))) == []


def test_long_names_leave_room_for_the_charts(tmp_path):
    long = "a very long label of a policy " * 5
    groups = [f"people who were born {'far ' * 30}{end}" for end in ("away", "off")]
    run = FakeRun(tmp_path / "store", labels=())
    model = run.stage("policy", "dpo", long, 0, {"model": run.base.digest})
    scores = [Score(f"{i}", "stereotyped", float(i % 3 > 0), groups[i % 2]) for i in range(24)]
    run.suite("planted", "base", run.base, scores, [BIAS])
    run.suite("planted", long, model, scores, [BIAS])
    config = CONFIG | {"policy": [{"name": "dpo", "label": long}]}
    paths = write_report(list(run.results.values()), config, tmp_path / "report", INFO)
    page = paths.html.read_text(encoding="utf-8")
    assert short(groups[0]) in page
    assert short(groups[0]) != short(groups[1]), "ends tell names apart"
    assert groups[0] in page, "the table has the whole name"
    assert long.strip() in page
