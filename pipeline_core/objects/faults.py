"""Answers and failures of an object store's server, sorted by what helps against them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipeline_core.errors import BadInput, StageFailed

_REGION = "the bucket lies in another region; set AWS_REGION"
_OTHER = "it does not answer as an S3 server does (or the bucket's name is wrong)"
_UNSET = "no credentials are set (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws)"
_UNUSABLE = "the AWS configuration cannot be used: {}"
REFUSALS = {
    "AccessDenied": "the credentials do not allow it",
    "AllAccessDisabled": "the credentials do not allow it",
    "InvalidAccessKeyId": "the server does not know the access key",
    "SignatureDoesNotMatch": "the secret key is wrong",
    "ExpiredToken": "the credentials have expired",
    "InvalidToken": "the session token is wrong",
    "RequestTimeTooSkewed": "this machine's clock is too far from the server's",
    "403": "the credentials do not allow it",
    **dict.fromkeys(
        ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301"), _REGION
    ),
    **dict.fromkeys(("InvalidBucketName", "MethodNotAllowed", "405", "400"), _OTHER),
    **dict.fromkeys(("NotImplemented", "501"), "it does not support this request"),
}
"""Reasons by S3's error codes."""
SETTINGS = {
    **dict.fromkeys(("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"), _UNSET),
    **dict.fromkeys(("ProfileNotFound", "ConfigParseError", "InvalidConfigError"), _UNUSABLE),
}
"""Reasons by botocore's exceptions."""
CONFLICTS = ("PreconditionFailed", "412")
MISSING = ("NoSuchKey", "404")


class Unreachable(StageFailed):
    """The server has not answered, or only with errors of its own, for as long as is waited."""


class Refused(BadInput):
    """The server refuses: no such bucket, no permission, no credentials. A repetition does not help."""


class Conflict(Exception):
    """The condition of a write is not met: the object exists, or is no longer the one that was read."""


def code_of(error: BaseException) -> str:
    """The S3 error code of an exception or its causes, the HTTP status where there is none, or an empty text."""
    for each in _chain(error):
        response: Any = getattr(each, "response", None)
        if isinstance(response, dict) and "Error" in response:
            code = str(response["Error"].get("Code") or "")
            return code or str(response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
    return ""


def refusal(error: BaseException, bucket: str) -> str:
    """The reason why a repetition cannot help, in words; empty if it may help."""
    if code := code_of(error):
        return f"it has no bucket {bucket!r}" if code == "NoSuchBucket" else REFUSALS.get(code, "")
    return next((SETTINGS[name].format(error) for name in map(_name, _chain(error)) if name in SETTINGS), "")


def _name(error: BaseException) -> str:
    return type(error).__name__


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
