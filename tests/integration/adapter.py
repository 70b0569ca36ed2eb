"""A USB adapter that a test can pull out and put back."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import tty
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from heaptrail.transports.process import ProcessTransport


class Adapter:
    """A USB adapter: a name in a folder that leads to the player's console, and can be pulled out and put back."""

    def __init__(self, program: ProcessTransport, name: Path) -> None:
        self._program = program
        self._name = name
        self._master: int | None = None
        self._stop = threading.Event()
        self._lock = threading.Lock()
        program.open()
        self.plug()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def plug(self) -> None:
        master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(master, False)
        self._name.symlink_to(os.ttyname(slave))
        with self._lock:
            self._master, self._slave = master, slave

    def pull(self) -> None:
        with self._lock:
            assert self._master is not None
            self._name.unlink()
            os.close(self._master)
            os.close(self._slave)
            self._master = None

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._program.close()
        if self._master is not None:
            self.pull()

    def _carry(self) -> None:
        while not self._stop.is_set():
            data = self._program.read(0.002)
            with self._lock, contextlib.suppress(BlockingIOError):
                if self._master is None:
                    continue  # nobody listens, and the device talks on
                if data:
                    os.write(self._master, data)
                if select.select([self._master], [], [], 0)[0]:
                    self._program.write(os.read(self._master, 4096))


class ConsoleServer:
    """A terminal server: the player's console on a TCP port, for one client at a time, closed and opened again."""

    def __init__(self, program: ProcessTransport) -> None:
        self._program = program
        self._stop = threading.Event()
        self._client: socket.socket | None = None
        program.open()
        self._listener = self._listen(0)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    @staticmethod
    def _listen(port: int) -> socket.socket:
        return socket.create_server(("127.0.0.1", port), reuse_port=False)

    def drop(self) -> None:
        """Close the port and whoever is connected."""
        self._listener.close()
        if self._client is not None:
            self._client.close()

    def serve_again(self) -> None:
        """Open the same port."""
        self._client = None
        self._listener = self._listen(self.port)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._program.close()
        self.drop()

    def _carry(self) -> None:
        while not self._stop.is_set():
            data = self._program.read(0.002)
            with contextlib.suppress(OSError, ValueError):  # closed while it was used
                if self._client is None and select.select([self._listener], [], [], 0)[0]:
                    self._client, _ = self._listener.accept()
                client = self._client
                if client is None:
                    continue
                if data:
                    client.sendall(data)
                if select.select([client], [], [], 0)[0] and (typed := client.recv(4096)):
                    self._program.write(typed)
