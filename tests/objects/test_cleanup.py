"""Cleaning up a bucket that several hosts use."""

import pytest

from pipeline_core.objects import cleanup
from pipeline_core.objects.cleanup import find_unused, keep_for, remove_unused
from tests.objects.test_store import objects
from tests.store.test_artifacts import commit


@pytest.fixture
def hasty(monkeypatch):
    """All that is a second old may go: moto sets times itself."""
    monkeypatch.setattr(cleanup, "LEAST_SECONDS", -5.0)


def test_young_artifacts_stay_whatever_is_asked(host):
    commit(host("a"))
    assert find_unused(host("b"), unused_seconds=0) == []


def test_unused_artifacts_go_with_their_files_and_remains_too(host, address, hasty):
    a = host("a")
    commit(a)
    a.bucket.write("files/model/k2/abc", b"of an upload that was killed")
    unused = find_unused(host("b"), unused_seconds=-5)
    assert {(str(each), each.what) for each in unused} == {
        ("model/k1", "artifact"),
        ("model/k2", "remains of an upload"),
    }
    assert set(remove_unused(host("b"), unused)) == {"model/k1", "model/k2"}
    assert objects(address) == {}


def test_what_another_home_keeps_stays(host, hasty):
    a, b = host("a"), host("b")
    commit(a)
    commit(a, key="k2")
    keep_for(a, "a-home", ["k1"])
    assert [each.key for each in find_unused(b, unused_seconds=-5)] == ["k2"]
    assert find_unused(b, ["k2"], -5) == []


def test_what_is_made_or_used_meanwhile_stays(host, hasty, address):
    a, b = host("a"), host("b")
    manifest = commit(a)
    unused = find_unused(b, unused_seconds=-5)
    taken = cleanup.SharedOwner(a.bucket, "locks/k1", "of a")
    assert taken.take()
    assert remove_unused(b, unused) == {}
    taken.release()
    looks = iter([0.0, 4e9])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cleanup, "_last_mark", lambda *_: next(looks))  # it is used between both looks
        assert remove_unused(b, unused) == {}
    assert host("c").open(manifest.ref)


def test_old_locks_and_parts_of_uploads_go(host, hasty, address):
    a = host("a")
    a.bucket.create("locks/k9", b"{}")
    a.bucket._ask("create_multipart_upload", Key=a.bucket.address.name("files/model/k9/abc"))
    remove_unused(a, [])
    assert objects(address) == {}
    assert not a.bucket._ask("list_multipart_uploads").get("Uploads")
