"""Opens data files by their content: unpacks gzip, detects other kinds of files, and decodes UTF-8 line by line."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from pipeline_core.errors import BadInput

GZIP = b"\x1f\x8b"
PARQUET = b"PAR1"
BOM = b"\xef\xbb\xbf"
OTHERS = {
    b"\x28\xb5\x2f\xfd": "compressed by Zstandard",
    b"\xfd7zXZ\x00": "compressed by xz",
    b"\x04\x22\x4d\x18": "compressed by LZ4",
    b"\x5d\x00\x00": "compressed by LZMA",
    b"\x1f\x9d": "compressed by compress (.Z)",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"ARROW1\x00\x00": "an Arrow (Feather) file",
}
"""First bytes of kinds of files that are not read, and the name of each kind."""
UTF_32 = (b"\xff\xfe\0\0", b"\0\0\xfe\xff")
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
TAR, TAR_AT = b"ustar", 257
"""Mark in the header of a tar archive, and its offset in bytes."""
# `BZh9` may be text: the mark of a block must follow, or that of the end.
BZIP2 = re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)")
LONE_CR = re.compile(r"(?<=\r)(?=[^\n])")
DAMAGE = (EOFError, gzip.BadGzipFile, zlib.error)
"""Exceptions for a file that gzip cannot unpack."""


def open_bytes(path: Path) -> IO[bytes]:
    """Open a text file as bytes; gzip is unpacked, whatever the file's name."""
    if not _start(path).startswith(GZIP):
        return path.open("rb")
    return io.BufferedReader(gzip.GzipFile(path), 2**18)  # GzipFile's own line reading takes several times as long


def refuse_other_kinds(path: Path, format_: str, where: str) -> None:
    """Check that a file is text, or Parquet if `format_` says so, so that other kinds are not reported as damage.

    Raises:
        BadInput: a compression that is not read, an archive, UTF-16 or UTF-32, or Parquet under another format.
    """
    start = _start(path)
    if format_ == "parquet":
        if start[:4] != PARQUET:
            kind = "compressed by gzip; Parquet has its own compression" if start.startswith(GZIP) else "no Parquet"
            raise BadInput(f"{where} is {kind} (it begins with {start[:4]!r} instead of {PARQUET!r})")
        return
    with suppress(*DAMAGE), open_bytes(path) as file:  # the reader reports damage, with its line
        start = file.read(TAR_AT + len(TAR))
    if start.startswith(PARQUET + b"\x15"):  # `PAR1` may begin a text; a page header in Thrift begins with 0x15
        raise BadInput(f"{where} is Parquet, and is to be read as {format_}")
    if start.startswith((*UTF_32, *UTF_16)):  # the mark of UTF-32 LE begins with that of UTF-16 LE
        raise BadInput(f"{where} is UTF-{32 if start.startswith(UTF_32) else 16} text; save it as UTF-8")
    kinds = ["a tar archive"] if start[TAR_AT:] == TAR else []
    kinds += ["compressed by bzip2"] if BZIP2.match(start) else []
    kinds += [kind for magic, kind in OTHERS.items() if start.startswith(magic)]
    if kinds:
        raise BadInput(f"{where} is {kinds[0]}, which is not read; unpack it, or compress its text by gzip")


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)


def text_lines(path: Path, where: str) -> Iterator[tuple[int, str]]:
    """Lines with their ends, numbered from 1; only LF ends a line. A byte order mark is removed.

    Raises:
        BadInput: a line is not UTF-8, or holds a NUL byte; begins with `where`.
    """
    with open_bytes(path) as file:
        for number, line in enumerate(file, 1):
            sound = line.removeprefix(BOM) if number == 1 else line
            try:
                text = sound.decode("utf-8")
            except UnicodeDecodeError:
                text = "\0"  # refused below, with the byte at fault
            yield number, decoded(sound, f"{where}, line {number}") if "\0" in text else text


def any_lines(path: Path, where: str) -> Iterator[tuple[int, str]]:
    """Numbered lines as in `text_lines`, ended by LF, CR LF, or CR alone."""
    number = 0
    for _, whole in text_lines(path, where):
        for line in LONE_CR.split(whole) if "\r" in whole else (whole,):  # the csv module refuses a CR within a line
            number += 1
            yield number, line


def decoded(line: bytes, place: str) -> str:
    """Text of UTF-8 bytes.

    Raises:
        BadInput: the bytes are not UTF-8, or hold a NUL byte (as UTF-16 does); begins with `place`.
    """
    if b"\0" in line:
        raise BadInput(f"{place}: holds a NUL byte (at {line.index(0)}), so it is no UTF-8 text")
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = f"byte 0x{line[error.start]:02x} at {error.start}"
        raise BadInput(f"{place}: not UTF-8 text ({byte})") from None


def sound_lines(path: Path) -> int:
    """Number of whole lines before the damage; read without a larger buffer, which the damage would empty."""
    count = 0
    with suppress(*DAMAGE, OSError), gzip.open(path, "rb") as file:
        for line in file:
            count += line.endswith(b"\n")
    return count
