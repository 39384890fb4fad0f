"""Objects of one bucket below one prefix, read and written through fsspec's `s3fs` with patience."""

from __future__ import annotations

import functools
import logging
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline_core.errors import BadInput, EvenhandError
from pipeline_core.network.addresses import shown_uri
from pipeline_core.objects.address import BucketAddress
from pipeline_core.objects.faults import CONFLICTS, MISSING, Conflict, Refused, Unreachable, code_of, refusal

if TYPE_CHECKING:
    from s3fs import S3FileSystem

PATIENCE_SECONDS = 120.0
"""Seconds in which a server may be away; `EVENHAND_STORE_PATIENCE` replaces it."""
FIRST_PATIENCE_SECONDS = 10.0
"""Seconds for the first request of a process: a wrong address shall be told at once."""
PART_BYTES = 16 * 2**20
"""Size of the parts in which large files are sent; two of them are read into memory at a time."""
T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ObjectFacts:
    """Facts about an object in a listing; `modified` in seconds since 1970, by the server's clock."""

    name: str
    size: int
    etag: str
    modified: float


class Bucket:
    """Objects below an address, by names relative to it. Requests are repeated while the server is away.

    All methods raise `Refused` if the server refuses, and `Unreachable` after the patience.
    """

    def __init__(self, address: BucketAddress) -> None:
        self.address = address
        self._answered = False

    @functools.cached_property
    def _fs(self) -> S3FileSystem:
        try:
            from s3fs import S3FileSystem
        except ImportError:
            raise BadInput(
                f"EVENHAND_STORE is {self.address}: stores in buckets need `pip install evenhand[s3]`"
            ) from None
        # Few repetitions by the libraries, for parts of large files; the patience is this class's.
        retries = {"mode": "standard", "max_attempts": 2}
        client = S3FileSystem(
            use_listings_cache=False, config_kwargs={"retries": retries, "connect_timeout": 5, "read_timeout": 60}
        )
        client.retries = 2
        return client

    @property
    def server(self) -> str:
        """The server in words, without credentials."""
        given = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        return shown_uri(given) if given else "AWS (AWS_ENDPOINT_URL names another server)"

    def check(self) -> float:
        """Ask for the bucket; returns the server's time, in seconds since 1970."""
        answer = self._ask("list_objects_v2", Prefix=self.address.name(""), MaxKeys=1)
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp()

    def check_writes(self) -> None:
        """Write an object twice: the condition of the second write must be heeded, since locks rest on it (ADR 23)."""
        probe = f"probe/{os.urandom(8).hex()}"
        etag = self.create(probe, b"probe")
        try:
            self.create(probe, b"probe")
        except Conflict:
            return
        finally:
            self.delete(probe, etag)
        raise Refused(
            f"EVENHAND_STORE is {self.address}: {self.server} ignores conditional writes (If-None-Match), so two hosts "
            "could make one artifact; use a server with conditional writes, or a shared file system"
        )

    def read(self, name: str) -> tuple[bytes, str] | None:
        """Contents and ETag of an object, or None."""
        from fsspec.asyn import sync

        async def get() -> tuple[bytes, str]:
            answer = await self._fs._call_s3("get_object", Bucket=self.address.bucket, **self._named(name))
            return await answer["Body"].read(), answer["ETag"]

        try:
            return self._patiently(lambda: sync(self._fs.loop, get))
        except FileNotFoundError:
            return None

    def write(self, name: str, body: bytes) -> str:
        """Write an object; returns its ETag."""
        return str(self._ask("put_object", **self._named(name), Body=body)["ETag"])

    def create(self, name: str, body: bytes) -> str:
        """Write an object that does not exist yet; returns its ETag.

        Raises:
            Conflict: it exists, perhaps by this very call, repeated after an answer that was lost.
        """
        return str(self._ask("put_object", **self._named(name), Body=body, IfNoneMatch="*")["ETag"])

    def replace(self, name: str, body: bytes, etag: str) -> str:
        """Replace an object that still has the ETag `etag`; returns the new one.

        Raises:
            Conflict: it is gone or has another ETag, perhaps by this very call.
        """
        try:
            return str(self._ask("put_object", **self._named(name), Body=body, IfMatch=etag)["ETag"])
        except FileNotFoundError:
            raise Conflict(name) from None

    def delete(self, name: str, etag: str = "") -> bool:
        """Delete an object if it exists and, with `etag`, still has it; returns False if it has another."""
        try:
            self._ask("delete_object", **self._named(name), **({"IfMatch": etag} if etag else {}))
        except (FileNotFoundError, Conflict):
            return False
        return True

    def list(self, prefix: str) -> Iterator[ObjectFacts]:
        """Facts about all objects whose names begin with `prefix`."""
        more: dict[str, str] = {}
        while True:
            answer = self._ask("list_objects_v2", Prefix=self.address.name(prefix), **more)
            for entry in answer.get("Contents", ()):
                name = entry["Key"].removeprefix(self.address.name("")) if self.address.prefix else entry["Key"]
                yield ObjectFacts(name, entry["Size"], entry["ETag"], entry["LastModified"].timestamp())
            if not answer.get("IsTruncated"):
                return
            more = {"ContinuationToken": answer["NextContinuationToken"]}

    def send(self, file: Path, name: str) -> None:
        """Write a file, in parts if it is large. An interrupted upload leaves no object."""
        part = max(PART_BYTES, -(-file.stat().st_size // 10_000))
        target = f"{self.address.bucket}/{self.address.name(name)}"
        self._patiently(
            lambda: self._fs.put_file(
                str(file), target, chunksize=part, max_concurrency=2, ContentType="application/octet-stream"
            )
        )

    def fetch(self, name: str, file: Path) -> None:
        """Read an object into a file.

        Raises:
            FileNotFoundError: there is no such object.
        """
        source = f"{self.address.bucket}/{self.address.name(name)}"
        self._patiently(lambda: self._fs.get_file(source, str(file), chunksize=PART_BYTES, max_concurrency=2))

    def abort_uploads(self, before: float) -> int:
        """Drop the parts of unfinished uploads that began before a time of the server; returns their number."""
        answer = self._ask("list_multipart_uploads", Prefix=self.address.name(""))
        old = [upload for upload in answer.get("Uploads", ()) if upload["Initiated"].timestamp() < before]
        for upload in old:
            with suppress(FileNotFoundError):
                self._ask("abort_multipart_upload", Key=upload["Key"], UploadId=upload["UploadId"])
        return len(old)

    def _named(self, name: str) -> dict[str, str]:
        return {"Key": self.address.name(name)}

    def _ask(self, method: str, **arguments: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._patiently(
            lambda: self._fs.call_s3(method, Bucket=self.address.bucket, **arguments)
        )
        return answer

    def _patiently(self, request: Callable[[], T]) -> T:
        """Repeat a request while its failure may pass."""
        since, pause = time.monotonic(), 0.2
        while True:
            try:
                answer = request()
                self._answered = True
                return answer
            except EvenhandError:
                raise
            except Exception as error:
                self._answered = self._answered or bool(code_of(error))
                self._sort(error)
                if time.monotonic() - since > self._patience():
                    raise Unreachable(
                        f"the store {self.address} cannot be reached at {self.server}: {shown_uri(str(error))}"
                    ) from error
                log.debug("%s: %s, tried again", self.address, error)
            time.sleep(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, 10.0)

    def _patience(self) -> float:
        given = os.environ.get("EVENHAND_STORE_PATIENCE")
        try:
            whole = float(given) if given else PATIENCE_SECONDS
        except ValueError:
            raise BadInput(f"EVENHAND_STORE_PATIENCE is {given!r}, not a number of seconds") from None
        return whole if self._answered else min(whole, FIRST_PATIENCE_SECONDS)

    def _sort(self, error: Exception) -> None:
        """Raise what no repetition changes."""
        code = code_of(error)
        if code in CONFLICTS:
            raise Conflict(str(error)) from error
        if code in MISSING:
            raise FileNotFoundError(str(error)) from error
        if reason := refusal(error, self.address.bucket):
            raise Refused(f"EVENHAND_STORE is {self.address}, at {self.server}: {reason}") from error
        if not isinstance(error, (OSError, TimeoutError)) and not _may_pass(error):
            raise error


def _may_pass(error: Exception) -> bool:
    """True for failures of connections, which botocore and aiohttp derive from no common class."""
    ours = type(error).__name__ == "ParamValidationError"  # a defect of the call
    return type(error).__module__.split(".")[0] in ("botocore", "aiobotocore", "aiohttp") and not ours
