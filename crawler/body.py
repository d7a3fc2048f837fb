"""A reply's body, kept: in memory while it is small, in an unnamed file once it is not.

So what a run holds in memory is bounded by its concurrency, whatever servers send. The digest is
taken as the pieces come.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Iterator
from typing import IO, Final

IN_MEMORY_BYTES: Final = 1_000_000
"""A larger body goes to a file in the system's directory for temporary ones."""


class Body:
    """The decoded bytes of one body, written in pieces, then read as often as needed."""

    __slots__ = ("_digest", "_file", "_hexadecimal", "size")

    def __init__(self) -> None:
        self._file: IO[bytes] = io.BytesIO()
        self._digest = hashlib.sha256()
        self._hexadecimal = ""
        self.size = 0

    def write(self, piece: bytes) -> None:
        """Append a piece. Raises ``OSError`` where the directory for temporary files is full."""
        if self.size <= IN_MEMORY_BYTES < self.size + len(piece):
            self._move_to_file()
        self._file.write(piece)
        self._digest.update(piece)
        self._hexadecimal = ""
        self.size += len(piece)

    def _move_to_file(self) -> None:
        small, self._file = self._file, tempfile.TemporaryFile()  # noqa: SIM115 - until close
        small.seek(0)
        self._file.write(small.read())

    @property
    def sha256(self) -> str:
        """The digest of what was written so far, in hexadecimal."""
        if not self._hexadecimal:
            self._hexadecimal = self._digest.hexdigest()
        return self._hexadecimal

    def open(self) -> IO[bytes]:
        """Give the body to be read from its start; it stays this object's to close."""
        self._file.seek(0)
        return self._file

    def pieces(self) -> Iterator[bytes]:
        """Give the body in pieces of at most ``IN_MEMORY_BYTES``."""
        file = self.open()
        return iter(lambda: file.read(IN_MEMORY_BYTES), b"")

    def read(self) -> bytes:
        """Give the whole body."""
        return self.open().read()

    def close(self) -> None:
        """Let go of the bytes."""
        self._file.close()
