"""Address of a store in a bucket: `s3://bucket/prefix`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from pipeline_core.errors import BadInput, quoted

SCHEME = "s3"
_BUCKET = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,254}")


@dataclass(frozen=True)
class BucketAddress:
    """Bucket, and a prefix without slashes at its ends (empty: the whole bucket)."""

    bucket: str
    prefix: str = ""

    @classmethod
    def parse(cls, text: str) -> BucketAddress:
        """Read `s3://bucket/prefix`.

        Raises:
            BadInput: another scheme, no bucket, or credentials in the address (which is not repeated then).
        """
        parts = urlsplit(text)
        if "@" in parts.netloc or ":" in parts.netloc:
            raise BadInput(
                "EVENHAND_STORE: give s3://bucket/prefix alone. Credentials come from the environment "
                "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) or ~/.aws, the server from AWS_ENDPOINT_URL"
            )
        if parts.scheme != SCHEME or not _BUCKET.fullmatch(parts.netloc) or parts.query or parts.fragment:
            raise BadInput(f"EVENHAND_STORE is {quoted(text, 200)}; give a folder, or a bucket as s3://bucket/prefix")
        return cls(parts.netloc, "/".join(part for part in parts.path.split("/") if part))

    def __str__(self) -> str:
        return f"{SCHEME}://{'/'.join(part for part in (self.bucket, self.prefix) if part)}"

    def name(self, *parts: str) -> str:
        """Name of an object within the bucket."""
        return "/".join([*([self.prefix] if self.prefix else []), *parts])
