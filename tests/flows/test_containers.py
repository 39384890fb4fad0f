"""Work-pool templates, the Dockerfile and its build context. No engine runs here: what stands without one is tested."""

import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib
import venv

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate

from tests.flows.conftest import ROOT

TYPES = ("docker", "kubernetes")
COMMAND = "prefect flow-run execute"


def template(kind):
    return json.loads((ROOT / "flows" / "stack" / "templates" / f"{kind}.json").read_text())


@pytest.mark.parametrize("kind", TYPES)
def test_every_variable_is_used_and_every_used_one_is_described(kind):
    parts = template(kind)
    used = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(parts["job_configuration"])))
    described = parts["variables"]["properties"]
    assert used == set(described)
    assert all(entry["description"].endswith(".") and entry["type"] for entry in described.values())


@pytest.mark.parametrize("kind", TYPES)
def test_the_variables_of_our_deployments_are_known(kind):
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    given = {name for entry in deployments for name in entry["work_pool"].get("job_variables", {})}
    assert given <= set(template(kind)["variables"]["properties"])


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.usefixtures("prefect_server")
def test_a_server_takes_the_template(kind):
    with get_client(sync_client=True) as client:
        pool = WorkPoolCreate(name=f"of-{kind}", type=kind, base_job_template=template(kind))
        assert client.create_work_pool(pool).base_job_template == template(kind)


def configuration(kind, of, **values):
    """What a worker makes of the template, with Prefect's own code for this kind of pool."""
    given = {"command": COMMAND, "name": "smoke-1"} | values
    return asyncio.run(of.from_template_and_values(template(kind), given))


def test_a_docker_worker_makes_a_container_of_it():
    worker = pytest.importorskip("prefect_docker.worker", reason="needs the extra `docker`")
    import docker
    from docker.models.containers import _create_container_args

    made = configuration(
        "docker",
        worker.DockerWorkerJobConfiguration,
        gpus=[{"driver": "nvidia", "count": -1, "capabilities": [["gpu"]]}],
        env={"PREFECT_API_URL": "http://prefect:4200/api"},
    )
    client = docker.DockerClient(base_url="tcp://127.0.0.1:1", version="1.43")  # nothing listens there
    settings = worker.DockerWorker("any")._build_container_settings(client, made)
    host = _create_container_args({**settings, "version": "1.43"})["host_config"]
    assert (settings["image"], settings["command"]) == ("evenhand:0.1.0", COMMAND)
    assert host["Binds"] == ["/srv/evenhand:/var/lib/evenhand"]
    assert host["ShmSize"] == 8 * 2**30
    assert host["DeviceRequests"][0]["Capabilities"] == [["gpu"]]
    bare = configuration("docker", worker.DockerWorkerJobConfiguration)
    assert bare.container_create_kwargs["device_requests"] == []


def test_a_kubernetes_worker_makes_a_job_of_it():
    worker = pytest.importorskip("prefect_kubernetes.worker", reason="needs the extra `kubernetes`")
    from kubernetes_asyncio.client import models

    made = configuration(
        "kubernetes", worker.KubernetesWorkerJobConfiguration, gpus=2, env_from=[{"secretRef": {"name": "evenhand"}}]
    )
    made._populate_image_if_not_present()
    made._populate_command_if_not_present()
    made._populate_env_in_manifest()
    manifest = made.job_manifest
    assert unknown_fields(manifest, models, "V1Job") == []
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 2
    assert container["envFrom"] == [{"secretRef": {"name": "evenhand"}}]
    assert manifest["spec"]["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] == "evenhand-home"
    assert unknown_fields({"spec": {"template": {"spec": {"container": []}}}}, models, "V1Job") == [
        "V1PodSpec: container"
    ]


def unknown_fields(value, models, kind):
    """Fields of a manifest that Kubernetes' own types do not have, as `TYPE: FIELD`."""
    if listed := re.fullmatch(r"list\[(\w+)\]", kind):
        return [name for entry in value for name in unknown_fields(entry, models, listed[1])]
    if not (of := getattr(models, kind, None)):
        return []  # texts, numbers, free maps
    fields = {written: of.openapi_types[name] for name, written in of.attribute_map.items()}
    found = [f"{kind}: {name}" for name in value if name not in fields]
    return found + [
        name for field, inner in value.items() if field in fields
        for name in unknown_fields(inner, models, fields[field])
    ]  # fmt: skip


def instructions():
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    return [line.split(None, 1) for line in text.splitlines() if line and not line.startswith("#")]


def test_the_dockerfile_copies_what_the_ignore_file_lets_through():
    copied = [word for name, rest in instructions() if name == "COPY" and "--from" not in rest
              for word in rest.split()[:-1]]  # fmt: skip
    assert all((ROOT / name).exists() for name in copied)
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert kept == set(copied)


def test_the_image_holds_the_packages_of_the_wheel_and_runs_as_nobody_special():
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    lines = [" ".join(line) for line in instructions()]
    assert {f"COPY {name} ./{name}" for name in wheel["packages"]} <= set(lines)
    last = [line for line in lines if line.startswith("USER")][-1]
    assert last == "USER evenhand"
    pins = (ROOT / "constraints.txt").read_text().split()
    assert re.search(r'TORCH="([^"]+)"', " ".join(lines))[1] in pins


@pytest.mark.slow
def test_its_steps_make_an_environment_that_runs_flows(tmp_path):
    """The context as an engine would send it, the Dockerfile's installations and its command, without a container."""
    context, image = tmp_path / "build", tmp_path / "evenhand"
    build = pytest.importorskip("docker.utils.build", reason="needs the extra `docker`")
    checkout = tmp_path / "checkout"
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in tracked.split("\n"):
        if name:
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, checkout / name)
    for secret in (".env", "flows/.env.local", ".evenhand/stack/auth", "key.pem"):
        (checkout / secret).parent.mkdir(parents=True, exist_ok=True)
        (checkout / secret).write_text("secret")
    sent = build.exclude_paths(str(checkout), (checkout / ".dockerignore").read_text().splitlines())
    for name in sent:
        if (checkout / name).is_file():
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(checkout / name, context / name)
    assert not [path for path in context.rglob("*") if path.is_file() and path.read_text(errors="replace") == "secret"]
    venv.create(image, with_pip=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
        "PATH": f"{image / 'bin'}:{os.environ['PATH']}", "EVENHAND_HOME": str(tmp_path / "home"),
        "PREFECT_HOME": str(tmp_path / "prefect"),
    }  # fmt: skip
    arguments = {"TORCH": "torch==2.13.0", "EXTRAS": "postgres"}
    for name, rest in instructions():
        if name == "RUN" and rest.startswith("pip "):
            words = re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], rest)
            run(shlex.split(words), environment, context)
    entries = [entry["entrypoint"] for entry in yaml.safe_load((context / "prefect.yaml").read_text())["deployments"]]
    command = next(json.loads(rest) for name, rest in instructions() if name == "CMD")
    assert "Usage" in run(command, environment, tmp_path)
    for entry in entries:
        module, _, name = entry.rpartition(".")
        assert name in run(["python", "-c", f"from {module} import {name}; print({name}.fn)"], environment, tmp_path)
    assert run([*COMMAND.split(), "--help"], environment, tmp_path)


def run(command, environment, folder):
    done = subprocess.run(command, env=environment, cwd=folder, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr[-3000:]}"
    return done.stdout
