import resource
import signal

import pyarrow as pa
import pytest

from pipeline_core.data import table_cache
from pipeline_core.data.table_cache import cache_folder, dataset_from


def tables(count=20):
    for start in range(count):
        yield pa.table({"a": range(start * 10_000, (start + 1) * 10_000)})


@pytest.fixture
def small_disk():
    """Files cannot grow beyond a limit, which fails like a full disk."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_rows_are_written_once_and_read_back():
    seen = []
    made = dataset_from("key", tables(), lambda table: seen.append(table.num_rows))
    assert seen == [200_000]
    assert made["a"][:] == list(range(200_000))
    assert dataset_from("key", iter(()))["a"][123_456] == 123_456
    assert [file.name for file in cache_folder().iterdir()] == ["key.arrow"]


def test_r4_no_byte_can_change_unseen(caplog):
    table = pa.table({"text": ["a nurse", "a doctor"], "number": [1, 2]})
    made = dataset_from("key", [table])
    (file,) = cache_folder().iterdir()
    good = file.read_bytes()
    for place in range(0, len(good), 3):
        file.unlink()  # not written in place: the rows that were read before are mapped from it
        file.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        assert dataset_from("key", [table])[:] == made[:] == table.to_pydict(), place
        assert file.read_bytes() == good, "it is written again"
    assert f"{file} has changed on the disk and is made again" in caplog.text


def test_on_a_full_disk_the_rows_stay_in_memory(small_disk):
    seen = []
    made = dataset_from("key", tables(), lambda table: seen.append(table.num_rows))
    assert seen == [200_000]
    assert made["a"][:] == list(range(200_000))
    assert list(cache_folder().iterdir()) == []


def test_where_no_folder_can_be_made_the_rows_stay_in_memory(home):
    home.parent.mkdir(exist_ok=True)
    home.write_text("a file")
    assert dataset_from("key", tables(2)).num_rows == 20_000


def test_no_rows_keep_their_columns(monkeypatch):
    empty = pa.table({"a": pa.array([], pa.int64())})
    assert dataset_from("key", [empty]).column_names == ["a"]
    assert dataset_from("key", [empty]).num_rows == 0


def test_a_fault_of_the_source_is_no_full_disk():
    def broken():
        yield from tables(1)
        raise FileNotFoundError("rows.csv")

    with pytest.raises(FileNotFoundError, match="rows.csv"):
        dataset_from("key", broken())
    assert not list(cache_folder().iterdir())
    assert table_cache.cache_folder().exists()
