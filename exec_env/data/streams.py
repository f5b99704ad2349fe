"""Bytes of text files: unpacked, and for databento's binary files their text, as their first bytes say."""

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from exec_env.base.errors import InputError
from exec_env.base.extras import importing

_PART = 1 << 20  # [byte]
_PACKED = 1 << 12  # [byte] which may be thirty thousand times as many unpacked
_DBN = b"DBN"


def opened(path: Path) -> Any:
    """A file as bytes of text, buffered.

    Raises:
        InputError: for an archive of several files, and where a package that it needs is missing.
    """
    file = _unpacked(path)
    return _flowing(_transcoded(file, path), file) if file.peek(len(_DBN)).startswith(_DBN) else file


def _unpacked(path: Path) -> Any:
    """The bytes of a file, decompressed."""
    with path.open("rb") as file:
        begin = file.read(6)
    if begin.startswith(b"\x1f\x8b"):
        return gzip.open(path)
    if begin.startswith(b"BZh"):
        return bz2.open(path)
    if begin.startswith(b"\xfd7zXZ\0"):
        return lzma.open(path)
    if begin.startswith(b"PK\x03\x04"):
        archive = zipfile.ZipFile(path)
        names = [name for name in archive.namelist() if not name.endswith("/")]
        if len(names) != 1:
            raise InputError(f"{path}: an archive of {len(names)} files; unpack it and name them")
        return archive.open(names[0])
    if begin.startswith(b"\x28\xb5\x2f\xfd"):
        file = path.open("rb")
        return _flowing(_of_zstandard(file, path), file)
    return path.open("rb")


def _of_zstandard(file: Any, path: Path) -> Iterator[bytes]:
    """What frames hold, one after the other; the package's own reader says nothing of a frame that is cut short."""
    with importing(str(path)):
        import zstandard
    frame, rest = None, b""
    while part := rest or file.read(_PACKED):
        if frame is None:
            frame = zstandard.ZstdDecompressor().decompressobj()
        yield frame.decompress(part)
        rest = frame.unused_data
        if frame.eof:
            frame = None
    if frame is not None:
        raise EOFError("Compressed file ended before the end of its last frame")


def _transcoded(file: Any, path: Path) -> Iterator[bytes]:
    """Records of a DBN file as databento's own text of them; records of other kinds between them are left out."""
    with importing(str(path)):
        import databento_dbn as dbn
    text = io.BytesIO()
    # Prices as decimals are right for schemas, too, that no format is known of.
    encoding, compression = dbn.Encoding("csv"), dbn.Compression("none")
    coder = dbn.Transcoder(text, encoding, compression, pretty_px=True, pretty_ts=False)
    while part := file.read(_PART):
        try:
            coder.write(part)
            coder.flush()
        except dbn.DBNError as error:
            raise InputError(f"{path}: not a DBN file, or damaged: {error}") from None
        yield text.getvalue()
        text.seek(0)
        text.truncate()
    if coder.buffer():
        raise InputError(f"{path}: a DBN file that is cut short")


def _flowing(parts: Iterator[bytes], source: Any) -> io.BufferedReader:
    return io.BufferedReader(_Flowing(parts, source), _PART)


class _Flowing(io.RawIOBase):
    """Parts of bytes as a file; it closes what they are made of."""

    def __init__(self, parts: Iterator[bytes], source: Any) -> None:
        self._parts, self._source, self._left = parts, source, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        while not self._left:
            part = next(self._parts, None)
            if part is None:
                return 0
            self._left = memoryview(part)
        count = min(len(into), len(self._left))
        into[:count], self._left = self._left[:count], self._left[count:]
        return count

    def close(self) -> None:
        self._source.close()
        super().close()
