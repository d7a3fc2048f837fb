"""The channel: whole messages or none, and never a wait."""

from __future__ import annotations

import pickle
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.channel import Channel, ChannelClosedError


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=300) | st.integers() | st.text(max_size=50), max_size=20))
def test_messages_arrive_in_order_however_they_are_cut(messages) -> None:
    """Fed byte by byte or whole, the same messages come out."""
    sent, out = socket.socketpair()
    collector, reader = socket.socketpair()
    writer, channel = Channel(sent), Channel(reader)
    for message in messages:
        writer.send(message)
    raw = out.recv(1 << 20) if messages else b""
    received: list[object] = []
    for byte in raw:
        collector.send(bytes([byte]))
        received += channel.receive()
    assert received == messages
    for sock in (writer, out, collector, channel):
        sock.close()


def test_sending_never_blocks() -> None:
    """What the other end does not take is kept, and goes out as it reads."""
    left, right = socket.socketpair()
    ours, theirs = Channel(left), Channel(right)
    big = b"x" * 5_000_000
    ours.send(big)
    assert ours.unsent
    received: list[object] = []
    while not received:
        received = theirs.receive()
        ours.flush()
    assert received == [big]
    assert not ours.unsent


def test_the_end_is_told_after_what_came_whole() -> None:
    """A message cut short by the sender's death is dropped; whole ones are given first."""
    left, right = socket.socketpair()
    theirs = Channel(right)
    whole = pickle.dumps("whole")
    left.send(len(whole).to_bytes(4, "big") + whole + b"\0\0\0\x09cut")
    left.close()
    assert theirs.receive() == ["whole"]
    with pytest.raises(ChannelClosedError):
        theirs.receive()


def test_sending_to_a_gone_receiver_is_no_error() -> None:
    """The end is told by ``receive`` alone."""
    left, right = socket.socketpair()
    ours = Channel(left)
    right.close()
    ours.send("anybody?")
    assert not ours.unsent
    with pytest.raises(ChannelClosedError):
        ours.receive()
