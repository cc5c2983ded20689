"""Processes that end together: each keeps a connection to process 0, and learns over it when another one is gone.

A collective operation notices a lost peer too, but only once it comes to one; and JAX aborts a process with a page of C++ as
soon as process 0, which coordinates them, is gone. So process 0 tells all others why they end, and leaves last.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable

_BEAT = 1.0  # seconds between signs of life
_SILENT = 60.0  # seconds without any after which a process counts as lost
_PATIENCE = 10.0  # seconds that process 0 waits for the others to leave
_ALIVE, _BYE = b".\n", b"bye\n"


class Peers:
    """The connections of this process; ``lost`` is called, in a thread, with a few words when another process is gone."""

    def __init__(self, lost: Callable[[str], object]) -> None:
        self._lost = lost
        self._links: dict[int, socket.socket] = {}

    def wait_for(self, server: socket.socket, others: int) -> None:
        """Process 0: take the connections of all others, which say their number first."""
        server.settimeout(_SILENT)
        with server:
            for count in range(others):
                try:
                    link, _ = server.accept()
                except TimeoutError:
                    raise OSError(f"only {count} of {others} other processes have connected within {_SILENT:g} s.") from None
                self._follow(link, int.from_bytes(link.recv(4, socket.MSG_WAITALL)))

    def join(self, host: str, port: int, index: int) -> None:
        """Another process: connect to process 0."""
        try:
            link = socket.create_connection((host, port), timeout=_SILENT)
        except OSError as error:
            raise OSError(f"process 0 cannot be reached at {host}:{port}: {error}.") from error
        link.sendall(index.to_bytes(4))
        self._follow(link, 0)

    def end(self, why: str | None) -> None:
        """This process is about to end, for a reason or (None) because all is done; process 0 waits for the others."""
        first = 0 not in self._links
        for link in list(self._links.values()) if first or why is None else []:
            with contextlib.suppress(OSError):
                link.sendall(_BYE if why is None else why.encode() + b"\n")
        until = time.monotonic() + _PATIENCE
        while first and self._links and time.monotonic() < until:
            time.sleep(0.01)

    def _follow(self, link: socket.socket, index: int) -> None:
        link.settimeout(_SILENT)
        self._links[index] = link
        for work in (self._read, self._beat):
            threading.Thread(target=work, args=(link, index), daemon=True).start()

    def _read(self, link: socket.socket, index: int) -> None:
        why: str | None = f"process {index} has ended"
        try:
            with link, link.makefile("rb") as lines:
                for line in lines:
                    if line == _BYE:
                        why = None
                    elif line != _ALIVE:
                        why = line.decode().strip()
                        break
        except TimeoutError:
            why = f"process {index} has not answered for {_SILENT:g} s"
        except OSError:
            pass
        del self._links[index]
        if why is not None:
            self._lost(why)

    def _beat(self, link: socket.socket, index: int) -> None:
        with contextlib.suppress(OSError):
            while self._links.get(index) is link:
                link.sendall(_ALIVE)
                time.sleep(_BEAT)
