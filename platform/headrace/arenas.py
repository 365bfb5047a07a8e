"""How the C library divides a process's heap among its threads."""

import ctypes
import sys

_M_ARENA_MAX = -8  # mallopt(3)
_ARENAS = 2


def bound() -> None:
    """Let threads share two heaps. Call this before any thread starts.

    glibc gives threads their own heaps, up to eight a core. A server with dozens of threads then grows for
    hours until each heap has seen the largest request.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_ARENA_MAX, _ARENAS)
