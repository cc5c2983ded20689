"""Ctrl-C and SIGTERM, held back until what has been computed is safe."""

import _thread
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

_SAID = b"\nstopping as soon as what has been computed is saved; once more stops at once.\n"

# Python prints and forgets what is raised while it collects garbage; the first is JAX's.
_UNHEARD = ("_xla_gc_callback", "__del__")


class Terminated(KeyboardInterrupt):
    """SIGTERM: whatever tidies up after Ctrl-C does so here, too."""


def raising(kind: type[KeyboardInterrupt]) -> Callable[[int, FrameType | None], None]:
    """A handler of signals that raises, but not within callbacks whose exceptions Python ignores: then a moment later.

    Example:
      >>> try:
      ...     raising(Terminated)(15, None)
      ... except KeyboardInterrupt as stop:
      ...     type(stop).__name__
      'Terminated'
    """

    def handle(number: int, frame: FrameType | None) -> None:
        inner = frame
        while inner is not None:
            if inner.f_code.co_name in _UNHEARD:
                threading.Timer(0.01, _thread.interrupt_main, [number]).start()
                return
            inner = inner.f_back
        raise kind

    return handle


class Held:
    """Whether a signal is waiting."""

    waiting: int | None = None


@contextlib.contextmanager
def held_back(hold: bool = True) -> Iterator[Held]:
    """Let Ctrl-C and SIGTERM wait until the block ends; a second one does not wait.

    Whoever works in the block asks for ``waiting`` where it is convenient, saves what there is, and raises
    ``KeyboardInterrupt``. The signal itself comes at the end, to whom it would have come without the block.

    Args:
      hold: whether to do so; without it, and in threads, which get no signals, nothing is held back.

    Example:
      >>> with held_back() as held:
      ...     held.waiting is None
      True
    """
    held, previous = Held(), dict[int, Any]()

    def give_back() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def wait(number: int, _: Any) -> None:
        held.waiting = number
        give_back()
        os.write(2, _SAID)  # `print` may be what has been interrupted

    if hold and threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                previous[number] = signal.signal(number, wait)
    try:
        yield held
    finally:
        give_back()
        if held.waiting is not None:
            signal.raise_signal(held.waiting)
