"""Finds the encoding of a text file, from all of its bytes.

Invariant: the encoding is known before the first line is given out, and no later byte can be undecodable. The bytes are
read once in pieces, so memory does not grow with the file.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import BinaryIO

from pelagia.errors import InputError

_PIECE = 1 << 20
_SAMPLE = 1 << 12
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_UNDEFINED = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
"""Bytes that Windows-1252 does not define."""
_NOT_UTF8 = re.compile("[\udc80-\udcff]")
_WIDE = re.compile("[^\0-\x7f\udc80-\udcff]")
_WORD = re.compile(rb"[^\s\"',;|\t]*[\x80-\xff][^\s\"',;|\t]*")


def find_encoding(name: str, opened: Callable[[], BinaryIO], what: str, warn: Callable[[str], None]) -> str:
    """The name of the encoding, for `open`: UTF-8, UTF-16 or UTF-32 with or without a mark, or Windows-1252.

    A file that is none of the Unicode encodings is read as Windows-1252, which includes the letters of Latin-1, and
    ``warn`` says so with the first word that has such a letter.

    Args:
        name: the path of the file, for messages.
        opened: a function that opens the file; it is called once or twice.
        what: what the file is, for messages, such as ``manifest``.
        warn: called with a warning.

    Raises:
        InputError: the file is not text, or some of its lines are UTF-8 and others are not.
    """
    with closing(opened()) as file:
        start = _read_start(file)
        encoding = next((found for mark, found in _MARKS if start.startswith(mark)), "") or _unmarked(start)
        if _decodes(encoding, start, file):
            return encoding
    if encoding not in ("utf-8", "utf-8-sig"):
        raise InputError(
            f"{name} is not a {what}: it begins like {encoding.upper()} text but is damaged: copy it again"
        )
    return _single_bytes(name, opened, what, warn)


def _read_start(file: BinaryIO) -> bytes:
    """The first bytes of a file; a stream may give fewer bytes than asked for at once."""
    start = b""
    while len(start) < _SAMPLE and (more := file.read(_SAMPLE - len(start))):
        start += more
    return start


def _unmarked(start: bytes) -> str:
    """UTF-16 if every second byte is mostly zero, as in text of Latin letters; else UTF-8."""
    pairs = len(start) // 2
    low, high = start[0 : 2 * pairs : 2].count(0), start[1 : 2 * pairs : 2].count(0)
    if pairs and high * 2 > pairs and low * 10 < pairs:
        return "utf-16-le"
    if pairs and low * 2 > pairs and high * 10 < pairs:
        return "utf-16-be"
    return "utf-8"


def _pieces(start: bytes, file: BinaryIO) -> Iterator[bytes]:
    yield start
    while piece := file.read(_PIECE):
        yield piece


def _decodes(encoding: str, start: bytes, file: BinaryIO) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for piece in _pieces(start, file):
            decoder.decode(piece)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _single_bytes(name: str, opened: Callable[[], BinaryIO], what: str, warn: Callable[[str], None]) -> str:
    """``cp1252``, after a warning. Raises InputError for a mixture of UTF-8 and other text, and for no text at all."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    utf8 = others = line = 0
    lines, word, undefined = 1, b"", False
    with closing(opened()) as file:
        for piece in _pieces(b"", file):
            text = decoder.decode(piece)
            if not line and (first := _NOT_UTF8.search(text)):
                line = lines + text.count("\n", 0, first.start())
                found = _WORD.search(piece)
                word = found.group()[:40] if found else b""
            lines += text.count("\n")
            utf8 += len(_WIDE.findall(text))
            others += len(_NOT_UTF8.findall(text))
            undefined = undefined or _UNDEFINED.search(piece) is not None
    if utf8 * 10 > others:
        raise InputError(
            f"{name}, line {line}: this line is not UTF-8 text, but others are: open the file in the program that made "
            "it, and save it as UTF-8"
        )
    if undefined:
        raise InputError(
            f"{name} is not a {what}: it is not text in UTF-8, UTF-16 or Windows-1252; from Excel, save it as "
            "'CSV UTF-8'"
        )
    warn(
        f"{name} is not UTF-8 text and was read as Windows-1252; its first word with a special letter is "
        f"'{word.decode('cp1252', 'replace')}': if that is wrong, save the file as UTF-8 (in Excel: CSV UTF-8)"
    )
    return "cp1252"
