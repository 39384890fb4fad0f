"""Notifications: blocks and automations of a real Prefect server, messages at a webhook on loopback, and worsening."""

import contextlib
import http.server
import json
import os
import signal
import threading
import urllib.request

import pytest

from flows.notify import automations
from flows.notify.kinds import KINDS, WORSENED
from flows.records import RunRecord
from pipeline_core.errors import BadInput, UnknownName
from pipeline_core.store.places import Places
from tests.flows import serving
from tests.flows.test_stack import SMALL, Command, wait

SECRET = "T0K3N-of-the-hook"


@contextlib.contextmanager
def webhook(status=200):
    """Address of a receiver on loopback with a secret path, and the texts that it gets."""
    texts = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            assert self.path == f"/{SECRET}"
            assert self.headers["Content-Type"] == "application/json"
            texts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/{SECRET}", texts
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("prefect_server")
def test_a_notification_is_made_listed_and_removed_with_its_block():
    from prefect.client.orchestration import get_client

    made = automations.add("team", f"https://hooks.example.com/{SECRET}?x=1", None, ["gate", "dead"])
    assert made.model_dump() == {
        "name": "team",
        "block": "webhook/evenhand-notify-team",
        "to": "hooks.example.com",
        "kinds": {"gate": True, "dead": True},
    }
    with pytest.raises(BadInput, match="'team' is there already; `evenhand notify rm team` removes it"):
        automations.add("team", "https://other.example.com", None, [])
    automations.add("teams", None, "webhook/evenhand-notify-team", [])
    assert [(one.name, len(one.kinds)) for one in automations.find_all()] == [("team", 2), ("teams", 4)]
    automations.remove("teams")
    (left,) = automations.find_all()
    assert left == made, "its block belongs to the other"
    with get_client(sync_client=True) as client:
        stored = client.request("POST", "/block_documents/filter", json={}).text
        shown = json.dumps([one.model_dump(mode="json") for one in client.read_automations()])
    assert "evenhand-notify-team" in stored
    assert SECRET not in stored + shown
    automations.remove("team")
    assert automations.find_all() == []
    with pytest.raises(UnknownName, match="unknown notification 'team'"):
        automations.remove("team")
    with get_client(sync_client=True) as client:
        assert "evenhand-notify-team" not in client.request("POST", "/block_documents/filter", json={}).text


@pytest.mark.usefixtures("prefect_server")
def test_any_notification_block_of_the_server_may_be_used():
    from prefect.blocks.notifications import SlackWebhook
    from prefect.blocks.system import Secret

    SlackWebhook(url=f"https://hooks.slack.com/services/{SECRET}").save("chat", overwrite=True)
    Secret(value="x").save("no-notifier", overwrite=True)
    made = automations.add("slack", None, "slack-webhook/chat", ["failed"])
    assert (made.block, made.to) == ("slack-webhook/chat", "hooks.slack.com")
    automations.remove("slack")
    assert SlackWebhook.load("chat"), "it was there before"
    with pytest.raises(BadInput, match="'secret/no-notifier' sends no notifications"):
        automations.add("x", None, "secret/no-notifier", [])


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("Team", "https://x", None, []), "'Team': a notification's name has lower-case letters"),
        (("x", "https://x", None, ["gat"]), "--on: unknown kind of notification 'gat'. Did you mean 'gate'?"),
        (("x", f"ftp://x/{SECRET}", None, []), "must begin with http:// or https:// and a host"),
        (("x", f"https://[{SECRET}", None, []), "must begin with http:// or https:// and a host"),
        (("x", None, "slack-webhook/none", []), "the server has no block 'slack-webhook/none'"),
        (("x", None, "slack", []), "'slack' is not of the form TYPE/NAME"),
    ],
)
def test_bad_input_is_told_without_the_address(given, message):
    with pytest.raises(BadInput) as error:
        automations.add(*given)
    assert message in str(error.value)
    assert SECRET not in str(error.value)
    assert automations.find_all() == []


def test_without_an_address_or_a_server_one_message(evenhand):
    told = evenhand("notify", "add", "team")
    assert (told.returncode, told.stdout) == (2, "")
    assert "no address: set EVENHAND_WEBHOOK to that of the webhook, or name a block with --block" in told.stderr
    assert "notifications need a Prefect server" in evenhand("notify", "ls").stderr


def test_the_final_states_that_notifications_tell_apart_end_the_watch_for_dead_runs():
    from flows.stack.automations import end_silent_runs

    named = {event for name in ("failed", "gate", "dead") for event in KINDS[name].events}
    assert named < end_silent_runs().trigger.expect


TINY = ["runner.launch=in_process", "base.data.rows=100", "reward=null", "extend=null"]


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server", "shared_tracking", "shared_store")
def test_a_scheduled_run_with_a_worse_figure_is_told_once_over_the_same_items():
    """The base is trained less than in the night before, so its perplexity is worse beyond doubt."""
    from prefect import flow

    from flows.nights.figures import RunFigures
    from flows.nights.pins import pin
    from flows.nights.watching import tell_of_worsening, watched
    from flows.pipeline import pipeline
    from tests.flows.test_gate import events

    def night(steps, number, watch=None):
        policy = "policy=[{name: dpo, steps: 2}]"
        record = pipeline(preset="smoke", overrides=[*TINY, f"base.steps={steps}", policy])
        assert (record.scheduled, record.deployment) == (False, None)
        changed = {"scheduled": True, "deployment": "nightly", "started": record.started + number}
        record = RunRecord.model_validate(record.model_dump() | changed)
        record.write(Places.from_environment().runs)
        flow(name="pipeline")(tell_of_worsening)(record, watch)
        return record, RunFigures.of(record, Places.from_environment().runs)

    good, _ = night(150, 0)
    pin(Places.from_environment(), good.run_id)
    again, figures = night(150, 1)
    assert {change.verdict for change in figures.changes} == {"equal"}, "nothing was made anew"
    assert {change.against for change in figures.changes} == {"previous"}, "the reference is the run before"
    bad, figures = night(2, 2, ["sandbox/perplexity"])
    of_dpo = {(change.against, change.title): change for change in figures.changes if change.model == "dpo"}
    change = of_dpo["previous", "sandbox/perplexity"]
    assert (change.verdict, change.paired, change.run_id) == ("worse", True, again.run_id)
    assert change.difference == pytest.approx(change.now.value - change.before.value)
    assert change.low > 0
    assert of_dpo["reference", "sandbox/perplexity"].run_id == good.run_id
    (event,) = events(WORSENED, bad.run_id)
    assert event["resource"]["prefect.resource.id"].startswith("prefect.flow-run.")
    told = event["payload"]["worsened"]
    assert [line.split(" ")[:3] for line in told] == [
        [f"{model}:", "sandbox/perplexity", "rose"] for model in ("base", "dpo")
    ] * 2
    assert f"since {again.run_name}, from " in told[0]
    assert f"since the reference {good.run_name}, from " in told[-1]
    assert watched(good, figures.rows, None) == {row.title for row in figures.rows if row.headline}
    (report := Places.from_environment().runs / bad.run_id / "report.json").write_text("{")
    assert f"{report} cannot be read: " in RunFigures.of(bad, report.parent.parent).fault
    flow(name="pipeline")(tell_of_worsening)(bad)  # it says so and raises nothing


@pytest.mark.usefixtures("prefect_server", "shared_tracking", "shared_store")
def test_a_broken_gate_is_a_state_of_its_own():
    from prefect.client.orchestration import get_client

    from flows.pipeline import RunFailed, pipeline

    gate = "gate=[{measure: sandbox/invalid_share, at_most: -1}]"
    broken = [*TINY, "base.steps=2", "policy=[{name: dpo, steps: 2}]", gate]
    failed = [*TINY, "base.steps=2", "policy=[{name: dpo, steps: 5, learning_rate: 1.0e+30, max_grad_norm: 1.0e+30}]"]
    states = []
    for overrides in (broken, failed):
        with pytest.raises(RunFailed) as error:
            pipeline(preset="smoke", overrides=overrides)
        with get_client(sync_client=True) as client:
            states.append(client.read_flow_run(error.value.record.flow_run_id).state)
    assert [(state.type.value, state.name) for state in states] == [("FAILED", "GateBroken"), ("FAILED", "Failed")]
    assert "the run's gate was not passed.\ngate: dpo: sandbox · invalid share" in states[0].message


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """A stack that tells a webhook; the texts that it got."""
    home = tmp_path_factory.mktemp("notify") / "home"
    with webhook() as (address, texts):
        command = Command(home, EVENHAND_WEBHOOK=address)
        told = command("up", "--port", str(serving.free_port()), "--mlflow-port", str(serving.free_port()))
        command("notify", "add", "team")
        yield command, command.exports(told)["PREFECT_API_URL"], texts
        command("down")


def api(url, body=None, method=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read() or "null")


def start(url, name, *overrides):
    deployment = api(f"{url}/deployments/name/pipeline/on-demand")
    parameters = {"preset": "smoke", "overrides": [*SMALL[1:], *overrides]}
    return api(f"{url}/deployments/{deployment['id']}/create_flow_run", {"name": name, "parameters": parameters})


def texts_with(texts, beginning):
    return [text for text in texts if text.startswith(beginning)]


@pytest.mark.slow
def test_a_test_message_of_each_kind_arrives_and_a_refusal_is_told(stack):
    command, _, texts = stack
    told = command("notify", "test", "team")
    assert told.stderr.splitlines()[-4:] == ["failed: taken", "gate: taken", "dead: taken", "worsened: taken"]
    assert len(texts_with(texts, "evenhand: test of notifications: ")) == 4
    with webhook(status=403) as (address, _):
        Command(command.home, EVENHAND_WEBHOOK=address)("notify", "add", "refusing", "--on", "gate")
        assert "gate: the receiver answered 403" in command("notify", "test", "refusing", code=1).stderr
    assert "gate: Webhook call failed" in command("notify", "test", "refusing", code=1).stderr
    command("notify", "rm", "refusing")
    found = [file for file in command.home.rglob("*") if file.is_file() and SECRET.encode() in file.read_bytes()]
    assert found == [], "the address is nowhere in the home in clear"


@pytest.mark.slow
def test_a_failed_run_and_a_broken_gate_are_told_apart_and_once(stack):
    _, url, texts = stack
    start(url, "bad steps", "policy=[{name: dpo, steps: 5, learning_rate: 1.0e+30, max_grad_norm: 1.0e+30}]")
    run = start(url, "bad gate", "gate=[{measure: sandbox/invalid_share, at_most: -1}]")
    (text,) = wait(lambda: texts_with(texts, "bad gate: "), 400, "a message of the gate")
    assert text.splitlines()[:3] == [
        "bad gate: the gate was not passed",
        "preset smoke",
        "the run's gate was not passed.",
    ]
    assert "gate: dpo: sandbox · invalid share is " in text
    assert text.splitlines()[-1] == f"{url.removesuffix('/api')}/runs/flow-run/{run['id']}"
    (text,) = wait(lambda: texts_with(texts, "bad steps: "), 400, "a message of the failure")
    assert text.splitlines()[:3] == ["bad steps: the run failed", "preset smoke", "1 of the run's stages failed."]
    assert "policy:dpo: Diverged" in text


@pytest.mark.slow
def test_a_schedule_tells_what_got_worse_and_removes_its_old_runs(stack):
    command, url, texts = stack
    words = ["base.steps=150", *SMALL[2:]]
    keep = ["--interval", "20", "--keep", "1", "--watch", "sandbox/perplexity"]
    command("schedule", "add", "often", "smoke", *words, *keep)

    def points(count):
        with contextlib.suppress(AssertionError):
            shown = json.loads(command("history", "often", "sandbox/perplexity", "--model", "dpo", "--json").stdout)
            return len(found := shown["models"]["dpo"]) >= count and found
        return []

    wait(lambda: points(3), 400, "three runs")
    deployment = api(f"{url}/deployments/name/pipeline/often")
    changed = deployment["parameters"] | {"overrides": ["base.steps=2", *SMALL[2:]]}
    assert changed["keep"] == {"runs": 1}
    api(f"{url}/deployments/{deployment['id']}", {"parameters": changed}, "PATCH")
    (text,) = wait(lambda: [text for text in texts if ": a figure got worse\n" in text], 400, "a message")
    command("schedule", "pause", "often")
    assert "\ndpo: sandbox/perplexity rose by +" in text
    assert "worse" in [point["previous"] for point in points(4)]
    assert list((command.home / "history").iterdir()), "of removed runs"
    told = command("schedule", "prune", "often", "--dry-run").stderr
    assert "would remove 0 runs" in told


@pytest.mark.slow
def test_a_run_that_is_killed_with_its_worker_is_told(stack):
    command, url, texts = stack
    start(url, "to be killed", "policy=[{name: dpo, steps: 40000}]", "evaluate=[]", "base.steps=5")
    (begun,) = wait(lambda: list((command.home / "runs").glob("*/begun")), 300, "a run")

    def heartbeats():
        wanted = {"occurred": {"since": "2020-01-01T00:00:00Z"}, "event": {"name": ["prefect.flow-run.heartbeat"]}}
        found = api(f"{url}/events/filter", {"filter": wanted, "limit": 50})["events"]
        return [one for one in found if one["resource"]["prefect.resource.name"] == "to be killed"]

    wait(heartbeats, 200, "a heartbeat")
    os.killpg(command.status()["worker-cpu"]["pid"], signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(json.loads(begun.with_name("run.json").read_text())["process"]["pid"], signal.SIGKILL)
    (text,) = wait(lambda: texts_with(texts, "to be killed: "), 400, "a message")
    assert text.splitlines()[:3] == [
        "to be killed: the run's process has died",
        "preset smoke",
        "no heartbeat for 180 seconds: worker and run are gone",
    ]
