"""The cheap commands of all pages, in a clone, with the packages of this environment."""

import pytest

from tests.walkthrough.walk import Plan, Walk

pytestmark = pytest.mark.slow


def test_commands_of_the_pages_that_train_nothing_do_what_the_pages_say(tmp_path, data_root):
    said = []
    walk = Walk(Plan(tmp_path, here=True, cheap=True), said.append)
    walk.go()
    assert not walk.unfinished
    states = [outcome.state for outcome in walk.record.outcomes.values()]
    assert states.count("ok") >= 25
    assert walk.failures == 0, "\n".join(said)
