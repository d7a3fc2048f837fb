"""Pickled messages over one socket, never blocking.

Both ends keep what the other does not take yet and go on with their own work, so that a parent
handing out tasks and a worker handing in results cannot wait for each other. No lock is shared: a
killed process can only cut its own channel, and a message cut short is dropped with it.
"""

from __future__ import annotations

import pickle
import socket
import struct
from typing import Any, Final

_HEAD: Final = struct.Struct("!I")
_READ_BYTES: Final = 1 << 18


class ChannelClosedError(Exception):
    """The other end is gone, and everything it sent whole has been received."""


class Channel:
    """One end of a connected socket. Not for use by several threads at once."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._broken = False

    def fileno(self) -> int:
        """Give the descriptor to wait on."""
        return self._sock.fileno()

    @property
    def unsent(self) -> bool:
        """Tell whether something waits for the other end to read."""
        return bool(self._outgoing)

    def send(self, message: Any) -> None:  # noqa: ANN401 - whatever pickle takes
        """Send one message now, or as much of it as fits; ``flush`` sends the rest.

        Raises what ``pickle`` raises; nothing is sent then. A gone receiver is not told here but by
        ``receive``.
        """
        data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
        self._outgoing += _HEAD.pack(len(data))
        self._outgoing += data
        self.flush()

    def flush(self) -> None:
        """Send what is left, as much of it as fits."""
        try:
            while self._outgoing and not self._broken:
                del self._outgoing[: self._sock.send(self._outgoing)]
        except BlockingIOError:
            return
        except OSError:
            self._broken = True
        if self._broken:
            self._outgoing.clear()

    def receive(self) -> list[Any]:
        """Give every message that has come whole; raises ``ChannelClosedError`` at the end.

        What was received before the end is given first; the next call raises.
        """
        closed = self._fill()
        messages = self._whole_messages()
        if closed and not messages:
            raise ChannelClosedError
        return messages

    def _fill(self) -> bool:
        """Read all that has come; tell whether the other end is gone."""
        while True:
            try:
                piece = self._sock.recv(_READ_BYTES)
            except BlockingIOError:
                return False
            except OSError:
                return True
            if not piece:
                return True
            self._incoming += piece
            if len(piece) < _READ_BYTES:
                return False

    def _whole_messages(self) -> list[Any]:
        messages: list[Any] = []
        start, buffer = 0, self._incoming
        while len(buffer) - start >= _HEAD.size:
            (size,) = _HEAD.unpack_from(buffer, start)
            end = start + _HEAD.size + size
            if len(buffer) < end:
                break
            messages.append(pickle.loads(memoryview(buffer)[start + _HEAD.size : end]))
            start = end
        del buffer[:start]
        return messages

    def close(self) -> None:
        """Close this end."""
        self._sock.close()
