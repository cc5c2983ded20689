"""Processes that end together, played by objects in one process."""

import contextlib
import queue
import socket
import threading
import time

import pytest

from jasgd import peers


@pytest.fixture
def three():
    """Process 0 and two others, each with what it was told."""
    told = [queue.Queue() for _ in range(3)]
    everyone = [peers.Peers(mine.put) for mine in told]
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    waiting = threading.Thread(target=everyone[0].wait_for, args=(server, 2))
    waiting.start()
    for index in (1, 2):
        everyone[index].join("127.0.0.1", port, index)
    waiting.join()
    yield everyone, told
    for process in everyone:
        vanish(process)
        while process._links:
            time.sleep(0.01)


def vanish(process):
    """As the system closes the connections of a killed process."""
    for link in list(process._links.values()):
        with contextlib.suppress(OSError):
            link.shutdown(socket.SHUT_RDWR)


def test_a_process_that_is_gone_is_named_to_all(three):
    """Process 0 notices and passes it on."""
    (zero, one, _), told = three
    vanish(one)
    why = told[0].get(timeout=5)
    assert why == "process 1 has ended"
    ending = threading.Thread(target=zero.end, args=(why,))
    ending.start()
    assert told[2].get(timeout=5) == why
    ending.join(timeout=5)
    assert not ending.is_alive()  # the others are gone


def test_without_process_0_all_end(three):
    """It coordinates them."""
    (zero, _, _), told = three
    vanish(zero)
    assert [told[i].get(timeout=5) for i in (1, 2)] == ["process 0 has ended"] * 2


def test_who_is_done_is_not_lost(three):
    """Whatever the order; process 0 waits for the others."""
    (zero, one, two), told = three
    one.end(None)
    leaving = threading.Thread(target=zero.end, args=(None,))
    leaving.start()
    vanish(one)
    leaving.join(timeout=0.2)
    assert leaving.is_alive()
    two.end(None)
    vanish(two)
    leaving.join(timeout=5)
    assert not leaving.is_alive()
    assert told[0].empty()
    assert told[2].empty()  # process 1 may have vanished before the word of process 0 reached it, and is not there to mind


def test_a_process_that_fails_is_named(three):
    """It says no word of parting to process 0, which knows its number."""
    (_, one, _), told = three
    one.end("an error of its own")
    vanish(one)
    assert told[0].get(timeout=5) == "process 1 has ended"


def test_a_frozen_process_counts_as_lost(monkeypatch):
    """After some time without a sign of life."""
    monkeypatch.setattr(peers, "_SILENT", 0.3)
    told = queue.Queue()
    zero, server = peers.Peers(told.put), socket.create_server(("127.0.0.1", 0))
    with socket.create_connection(server.getsockname()) as frozen:
        frozen.sendall((7).to_bytes(4))
        zero.wait_for(server, 1)
        assert told.get(timeout=5) == "process 7 has not answered for 0.3 s"


def test_who_cannot_be_reached_is_named(monkeypatch):
    """Both sides say what they waited for."""
    monkeypatch.setattr(peers, "_SILENT", 0.2)
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    with pytest.raises(OSError, match=r"only 0 of 2 other processes have connected within 0.2 s"):
        peers.Peers(print).wait_for(server, 2)
    with pytest.raises(OSError, match=rf"process 0 cannot be reached at 127.0.0.1:{port}"):
        peers.Peers(print).join("127.0.0.1", port, 1)
