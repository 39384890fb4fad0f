"""A store in a bucket, as several hosts see it; moto's server answers."""

import json
import threading

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline_core.errors import ArtifactChanged, BadInput, StageFailed
from pipeline_core.objects import bucket as buckets
from pipeline_core.objects.address import BucketAddress
from pipeline_core.objects.faults import Refused, Unreachable
from pipeline_core.store.artifacts import MANIFEST, Store
from tests.store.test_artifacts import FACTS, commit


def objects(address):
    bucket, _, prefix = address.removeprefix("s3://").partition("/")
    found = boto3.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
    return {entry["Key"].removeprefix(f"{prefix}/"): entry["Size"] for entry in found}


def put(address, name, body):
    bucket, _, prefix = address.removeprefix("s3://").partition("/")
    boto3.client("s3").put_object(Bucket=bucket, Key=f"{prefix}/{name}", Body=body)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("s3://", "give a folder, or a bucket"),
        ("gs://bucket", "give a folder, or a bucket"),
        ("s3://bucket?a=b", "give a folder, or a bucket"),
        ("s3://key:planted@bucket", "Credentials come from the environment"),
    ],
)
def test_an_address_that_is_none_is_refused_without_its_secrets(text, words):
    with pytest.raises(BadInput, match=words) as caught:
        BucketAddress.parse(text)
    assert "planted" not in str(caught.value)


def test_names_lie_below_the_prefix():
    assert BucketAddress.parse("s3://bucket/a//b/").name("manifests/x") == "a/b/manifests/x"
    assert BucketAddress.parse("s3://bucket").name("manifests/x") == "manifests/x"


def test_another_host_takes_what_one_has_made(host, address):
    a, b = host("a"), host("b")
    manifest = commit(a)
    assert b.find("model", "k1") == manifest
    assert not b.folder("model", "k1").exists()
    assert b.use("model", "k1") == manifest
    assert contents(b.folder("model", "k1")) == contents(a.folder("model", "k1"))
    assert b.open(manifest.ref) == b.folder("model", "k1")
    assert [m.key for m in b.ls()] == ["k1"]
    assert b.resolve("k") == manifest
    names = {name.rpartition("/")[0] for name in objects(address)}
    assert names == {"manifests/model", "files/model/k1", "used/model"}


def test_a_copy_is_as_readable_as_its_origin(host):
    a, b = host("a"), host("b")
    commit(a)
    b.use("model", "k1")
    for folder in (a.folder("model", "k1"), b.folder("model", "k1")):
        modes = {path.name: oct(path.stat().st_mode & 0o777) for path in folder.rglob("*")}
        assert modes == {"a.txt": "0o644", "b.txt": "0o644", MANIFEST: "0o644", "sub": "0o755"}


def test_of_two_makers_the_first_wins_and_the_other_takes_its_files(host, caplog):
    a, b = host("a"), host("b")
    first = commit(a, text="of a")
    second = commit(b, text="of b, which was slower")
    assert second.digest == first.digest
    assert (b.folder("model", "k1") / "a.txt").read_text() == "of a"
    assert "another host was first" in caplog.text


def test_no_half_artifact_is_seen_while_its_files_are_sent(host, address):
    a, b = host("a"), host("b")
    work = a.partial("k1") / "work"
    work.mkdir(parents=True)
    (work / "a.txt").write_text("hello")
    seen = []
    a.bucket.create = lambda *given: (seen.append((sorted(objects(address)), b.find("model", "k1"))), created(*given))[
        1
    ]
    created = type(a.bucket).create.__get__(a.bucket)
    a.commit("model", "k1", work, **FACTS)
    ((names, found),) = seen
    assert len(names) == 1 and names[0].startswith("files/model/k1/") and found is None
    assert b.find("model", "k1")


def test_a_damaged_object_is_told_with_its_remedy_and_a_good_copy_mends_it(host, address):
    a, b = host("a"), host("b")
    manifest = commit(a)
    name = f"files/model/k1/{manifest.files['a.txt']['sha256']}"
    put(address, name, b"HELLO")
    with pytest.raises(ArtifactChanged, match=r"other contents than a.txt had.*evenhand store rm k1"):
        b.use("model", "k1")
    assert not b.folder("model", "k1").exists()
    a.remove("model", "k1")
    assert set(objects(address)) == set()
    assert a.use("model", "k1") == manifest  # its copy is good, and is sent again
    assert b.open(manifest.ref)


def test_a_missing_object_is_told_by_the_name_of_its_file(host, address):
    a, b = host("a"), host("b")
    manifest = commit(a)
    a.bucket.delete(f"files/model/k1/{manifest.files['sub/b.txt']['sha256']}")
    with pytest.raises(ArtifactChanged, match=r"lacks files of its manifest \(sub/b.txt\)"):
        b.use("model", "k1")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"kind": "model"}', b"\xff" * 20])
def test_a_damaged_manifest_is_told_and_passed_over_in_lists(host, address, body, caplog):
    commit(host("a"))
    put(address, "manifests/model/k2.json", body)
    b = host("b")
    with pytest.raises(ArtifactChanged, match=r"manifests/model/k2.json cannot be read.*store rm k2"):
        b.find("model", "k2")
    assert [m.key for m in b.ls()] == ["k1"]
    assert "left out" in caplog.text


def test_a_damaged_copy_in_the_cache_is_taken_again(host, caplog):
    a, b = host("a"), host("b")
    manifest = commit(a)
    b.use("model", "k1")
    for damage in (lambda f: (f / "a.txt").write_text("jello"), lambda f: (f / MANIFEST).write_text("{")):
        damage(b.folder("model", "k1"))
        assert contents(b.open(manifest.ref)) == contents(a.folder("model", "k1"))
    assert caplog.text.count("taken from") == 2
    (b.folder("model", "k1") / "a.txt").unlink()
    assert b.use("model", "k1") == manifest
    assert (b.folder("model", "k1") / "a.txt").read_text() == "hello"


def test_what_differs_from_the_bucket_is_dropped_from_the_cache(host):
    a, b = host("a"), host("b")
    commit(Store(b.root), text="made while the server was away")
    manifest = commit(a)
    assert b.use("model", "k1") == manifest
    assert (b.folder("model", "k1") / "a.txt").read_text() == "hello"


def test_a_server_that_goes_away_loses_nothing(host, server, monkeypatch, address):
    a = host("a")
    a.bucket.check()
    monkeypatch.setenv("EVENHAND_STORE_PATIENCE", "0.5")
    server.faults("500:1000:PUT:-")
    with pytest.raises(StageFailed, match=r"cannot be reached at http://127.0.0.1.*\n.*the next run sends it"):
        commit(a)
    server.faults("none")
    assert objects(address) == {}
    assert a.use("model", "k1")
    assert host("b").use("model", "k1")


def test_errors_that_pass_are_waited_out(host, server):
    a = host("a")
    server.faults("503:6:-:-")
    assert commit(a)
    server.faults("500:5:GET:-")
    assert host("b").use("model", "k1")


def test_a_write_whose_answer_is_lost_is_ours(host, server):
    """The client repeats it, and its own object meets the condition of the repetition."""
    a = host("a")
    a.prepare()
    server.faults("lost:1:PUT:locks/")
    with a.lock("model", "k1") as lock:
        assert lock.held
        server.faults("lost:1:PUT:locks/")
        with lock.still_ours():
            pass
        server.faults("lost:1:PUT:manifests/")
        manifest = commit(a)
        assert manifest.digest == host("b").use("model", "k1").digest
        server.faults("lost:1:DELETE:locks/")
    assert host("b").bucket.read("locks/k1") is None


def test_an_interrupted_upload_goes_on(host, server, address, monkeypatch):
    a = host("a")
    a.bucket.check()
    monkeypatch.setenv("EVENHAND_STORE_PATIENCE", "0.1")
    server.faults("500:1000:PUT:manifests/")
    with pytest.raises(StageFailed):
        commit(a)
    server.faults("none")
    sent = objects(address)
    assert {name.split("/")[0] for name in sent} == {"files"}
    server.faults("log")
    a.use("model", "k1")
    assert not [line for line in server.faults("log") if "PUT" in line and "files/" in line]


def test_a_large_file_is_sent_in_parts(host, server, monkeypatch, tmp_path):
    monkeypatch.setattr(buckets, "PART_BYTES", 5 * 2**20)
    a, b = host("a"), host("b")
    work = a.partial("k1") / "work"
    work.mkdir(parents=True)
    (work / "weights").write_bytes(bytes(range(256)) * 4096 * 17)  # 17 MiB
    server.faults("log")
    manifest = a.commit("model", "k1", work, **FACTS)
    parts = [line for line in server.faults("log") if "partNumber=" in line]
    assert len(parts) == 4
    assert (b.open(manifest.ref) / "weights").stat().st_size == 17 * 2**20


def test_two_fetch_one_artifact_at_once(host):
    commit(host("a"))
    b, failed = host("b"), []

    def use():
        try:
            assert b.use("model", "k1")
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert Store(b.root).open(Store(b.root).find("model", "k1").ref)


def test_faults_of_a_setup_are_told_before_work_begins(host, address, server, monkeypatch):
    bucket = host("a").bucket
    assert bucket.check() > 1.6e9
    missing = type(bucket)(BucketAddress("no-such-bucket"))
    with pytest.raises(Refused, match="it has no bucket 'no-such-bucket'"):
        missing.check()
    server.faults("403:1:-:-")
    with pytest.raises(Refused, match="the credentials do not allow it"):
        bucket.check()
    monkeypatch.setattr(buckets, "FIRST_PATIENCE_SECONDS", 0.2)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://user:planted@127.0.0.1:9")
    with pytest.raises(Unreachable, match=r"cannot be reached at http://[^u]*127.0.0.1:9") as caught:
        fresh(bucket).check()
    assert "planted" not in str(caught.value)


def fresh(bucket):
    """A client that reads the environment anew."""
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()
    return type(bucket)(bucket.address)


def test_without_credentials_the_message_says_so(host, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(Refused, match="no credentials are set"):
        fresh(host("a").bucket).check()
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()


def test_a_server_without_conditional_writes_is_refused(host, monkeypatch):
    bucket = host("a").bucket
    monkeypatch.setattr(type(bucket), "create", type(bucket).write)
    with pytest.raises(Refused, match="ignores conditional writes"):
        bucket.check_writes()


def test_a_reader_that_may_not_write_uses_what_is_finished(host, server):
    manifest = commit(host("a"))
    b = host("b")
    server.faults("403:1000:PUT:-")
    assert b.use("model", "k1") == manifest
    assert b.open(manifest.ref)
    with pytest.raises(Refused, match="do not allow"):
        b.prepare()


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.dictionaries(
        st.text("abc.-_ %#?+é/", min_size=1, max_size=12).filter(
            lambda name: all(part not in ("", ".", "..") for part in name.split("/"))
        ),
        st.binary(max_size=300),
        min_size=1,
        max_size=5,
    ),
    st.integers(0, 10**9),
)
def test_any_files_come_back_as_they_were(host, files, number):
    names = sorted(files)
    if any(other.startswith(f"{name}/") for name in names for other in names) or MANIFEST in files:
        return
    a, b, key = host("a"), host("b"), f"k{number}"
    work = a.partial(key) / "work"
    for name, body in files.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_bytes(body)
    manifest = a.commit("model", key, work, **FACTS)
    if manifest.files.keys() != files.keys():  # an earlier example had the key
        return
    got = contents(b.open(b.find("model", manifest.key).ref))
    assert json.loads(got.pop(MANIFEST))["digest"] == manifest.digest
    assert got == files
