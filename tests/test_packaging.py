"""The wheel, installed in an environment of its own outside the checkout, does what the checkout does."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STAGES = {"base", "policy", "evaluate"}


def pip(*arguments, python=sys.executable):
    command = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True, text=True)


def build(source, folder):
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """An environment that has the wheel, and borrows the dependencies of this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip())
    # A plain path: an editable install of this checkout is not seen through it.
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    pip("install", "--no-deps", wheel, python=python)
    return folder


def evenhand(installed, tmp_path, *arguments):
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path / "prefect")}
    environment.pop("PYTHONPATH", None)
    command = [installed / "bin" / "evenhand", *arguments]
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_wheel_holds_four_packages_with_their_data_and_no_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {
        "flows",
        "plugins",
        "pipeline_core",
        "data_catalog",
    }
    packages = ("flows", "plugins", "pipeline_core", "data_catalog")
    files = {path for package in packages for path in (ROOT / package).rglob("*") if path.is_file()}
    kept = {path.relative_to(ROOT).as_posix() for path in files if path.suffix != ".pyc"}
    assert kept == {name for name in names if ".dist-info" not in name}
    assert {
        "data_catalog/catalog.yaml",
        "data_catalog/presets/sandbox.yaml",
        "pipeline_core/report/page.html.j2",
        "pipeline_core/report/sections/gate.html.j2",
    } <= kept


def test_it_runs_outside_the_checkout(installed, tmp_path):
    code = "import pipeline_core, flows; print(pipeline_core.__file__, flows.__file__)"
    command = [installed / "bin" / "python", "-c", code]
    places = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert str(ROOT) not in places
    assert {stage["stage"] for stage in evenhand(installed, tmp_path, "check", "smoke", "--json")["stages"]} >= STAGES


@pytest.mark.slow  # tests/flows run it in the checkout; all that the wheel holds is compared above
def test_a_run_outside_the_checkout(installed, tmp_path):
    result = evenhand(installed, tmp_path, "run", "smoke", "--json")
    assert result["status"] == "completed"
    assert Path(result["report"]).exists()
    assert {stage["stage"] for stage in result["stages"]} >= STAGES


@pytest.mark.slow
def test_an_installed_package_brings_its_plugins_and_its_data_format(installed, tmp_path):
    package = build(ROOT / "tests" / "sample_plugin", tmp_path)
    pip("install", "--no-deps", package, python=installed / "bin" / "python")
    listed = {plugin["name"]: plugin for plugin in evenhand(installed, tmp_path, "plugins", "--json")}
    hinge = listed["hinge"]
    assert (hinge["stage"], hinge["version"]) == ("policy", "0.3.0")
    assert "evenhand-hinge" in json.dumps(hinge["origin"])
    assert "beta" in hinge["schema"]["properties"]
    assert {"dpo", "ipo", "grpo", "sft"} <= set(listed)
    checked = evenhand(installed, tmp_path, "check", "smoke", "policy=hinge", "--json")
    assert "hinge" in json.dumps(checked)
    assert [listed["two_sentences"][key] for key in ("stage", "version")] == ["data", "0.3.0"]
    # The package's own tests, away from the checkout.
    tests = [shutil.copy(test, tmp_path) for test in (ROOT / "tests" / "sample_plugin").glob("test_*.py")]
    command = [installed / "bin" / "python", "-m", "pytest", "-p", "no:cacheprovider", *tests]
    ran = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert ran.returncode == 0 and "5 passed" in ran.stdout, ran.stdout
