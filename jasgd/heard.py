"""Ctrl-C and SIGTERM, heard by a thread: of several processes, the main one waits for the others and runs no Python.

What it hears it asks of the block that computes: to save and end, as if the signal had waited there
(:mod:`jasgd.interrupts`).
"""

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator

from jasgd.interrupts import Held

_COMPUTING: list[Held] = []


@contextlib.contextmanager
def asked(held: Held) -> Iterator[None]:
    """A block of which another thread may want that it saves and ends, as if a signal were waiting.

    Example:
      >>> held = Held()
      >>> with asked(held):
      ...     ask_to_save(), held.waiting is None
      (True, False)
      >>> ask_to_save()
      False
    """
    _COMPUTING.append(held)
    try:
        yield
    finally:
        _COMPUTING.remove(held)


def ask_to_save() -> bool:
    """Whether there is such a block, which saves and ends with ``KeyboardInterrupt`` as soon as it can."""
    blocks = tuple(_COMPUTING)
    for held in blocks:
        held.waiting = signal.SIGINT
    return bool(blocks)


def hear(act: Callable[[int], object]) -> None:
    """From now on a thread acts on Ctrl-C and SIGTERM, even while the main thread waits for others and runs no Python."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    signal.set_wakeup_fd(theirs.detach())
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            signal.signal(number, lambda *_: None)

    def listen() -> None:
        with ours:
            while (number := ours.recv(1)[0]) not in (signal.SIGINT, signal.SIGTERM):
                pass
            act(number)

    threading.Thread(target=listen, daemon=True).start()
