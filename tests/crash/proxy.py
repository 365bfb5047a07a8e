"""A TCP proxy on loopback that can be cut, fall silent, be slow, hold one message back or drop an answer."""

import socket
import struct
import threading
import time
from contextlib import suppress

_CHUNK = 1 << 16
_LINGER_NOT = struct.pack("ii", 1, 0)  # a close resets the connection: the other side sees no orderly end


class _Held:
    """One message of a client, which is held back once it comes."""

    def __init__(self, message: str | int, seconds: float) -> None:
        self._message, self.seconds = message, seconds
        self._came = 0
        self.caught, self.released = threading.Event(), threading.Event()

    def is_it(self, chunk: bytes) -> bool:
        """Whether this chunk is the message: one that ends with a text, or the one of that number."""
        self._came += 1
        if isinstance(self._message, int):
            return self._came == self._message
        return chunk.rstrip(b"\0").endswith(self._message.encode()) and b"ON COMMIT" not in chunk


class Proxy:
    """Listens on a free port and forwards to another one."""

    def __init__(self, target: int) -> None:
        self.target = target
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._flowing = threading.Event()
        self._flowing.set()
        self._is_cut, self._delay, self._drops = False, 0.0, 0
        self._held: _Held | None = None
        self._losing: _Held | None = None
        self.lost = 0  # answers, so far
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Reset all connections, and those to come."""
        self._is_cut = True
        self.reset()

    def reset(self) -> None:
        """Reset all present connections."""
        for end in list(self._open):
            _reset(end)

    def silence(self) -> None:
        """Forward nothing and close nothing, as a partition does."""
        self._flowing.clear()

    def slow(self, seconds: float) -> None:
        """Wait before each chunk."""
        self._delay = seconds

    def drop_answer(self) -> None:
        """Reset the next connection that is answered, instead of forwarding the answer."""
        self._drops += 1

    def hold(self, message: str | int, seconds: float) -> None:
        """Hold a client's message back for a while: the next that ends with a text, or the n-th."""
        self._held = _Held(message, seconds)

    def lose_answer_to(self, message: str) -> None:
        """Forward the next message that ends with a text, and reset its connection instead of its answer."""
        self._losing = _Held(message, 0)

    def heal(self) -> None:
        """Forward everything at once again."""
        self._is_cut, self._delay, self._drops, self._losing = False, 0.0, 0, None
        self._flowing.set()
        if self._held is not None:
            self._held.released.set()
            self._held = None

    def close(self) -> None:
        """Stop listening, and reset all connections."""
        self.cut()
        self._flowing.set()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        self._flowing.wait()
        if self._is_cut:
            return _reset(client)
        try:
            server = socket.create_connection(("127.0.0.1", self.target), timeout=10)
        except OSError:
            return _reset(client)
        server.settimeout(None)
        self._open |= {client, server}
        is_lost = threading.Event()
        threading.Thread(target=self._pump, args=(client, server, True, is_lost), daemon=True).start()
        self._pump(server, client, False, is_lost)
        return None

    def _pump(
        self, source: socket.socket, sink: socket.socket, is_upward: bool, is_lost: threading.Event
    ) -> None:
        with suppress(OSError):
            while chunk := source.recv(_CHUNK):
                self._before(chunk, is_upward)
                losing = self._losing
                if is_upward and losing is not None and losing.is_it(chunk):
                    self._losing = None
                    is_lost.set()
                if not is_upward and (self._drops or is_lost.is_set()):
                    self._drops = max(0, self._drops - 1)
                    self.lost += 1
                    _reset(sink)
                    break
                sink.sendall(chunk)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        if not is_upward:
            self._open -= {source, sink}
            for end in (source, sink):
                with suppress(OSError):
                    end.close()

    def _before(self, chunk: bytes, is_upward: bool) -> None:
        if self._delay:
            time.sleep(self._delay)
        self._flowing.wait()
        held = self._held
        if is_upward and held is not None and not held.caught.is_set() and held.is_it(chunk):
            held.caught.set()
            held.released.wait(held.seconds)


def _reset(end: socket.socket) -> None:
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    with suppress(OSError):
        end.close()
