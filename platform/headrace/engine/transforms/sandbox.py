"""The sandbox of a process that may only compute and use the connection that it already has.

On Linux, a seccomp filter on each thread allows system calls for memory, time, randomness, reading and
writing; all others fail with EPERM. Even native code in the process cannot open a file or a connection, start
a process or inspect one. The filter cannot be removed. Waits that a pause has interrupted (SIGSTOP, a machine
that went to sleep) go on by `restart_syscall`. On other systems only the limits below apply: no new file
descriptor and no new process, unless the process belongs to root.
Sources: seccomp(2), the kernel's Documentation/userspace-api/seccomp_filter.rst, syscall tables of Linux 6.
"""

import ctypes
import platform
import resource
import signal
import struct
import sys

_MEMORY = 1024**3  # bytes of data; beyond it Python raises MemoryError

# The architecture as filters see it (linux/audit.h), and the numbers of the allowed calls.
_ARCHITECTURES: dict[str, tuple[int, dict[str, int]]] = {
    "x86_64": (0xC000003E, {
        "read": 0, "write": 1, "close": 3, "lseek": 8, "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12,
        "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "sched_yield": 24, "mremap": 25,
        "madvise": 28, "nanosleep": 35, "getpid": 39, "exit": 60, "sigaltstack": 131, "gettid": 186,
        "futex": 202, "restart_syscall": 219, "clock_gettime": 228, "clock_nanosleep": 230, "exit_group": 231,
        "getrandom": 318,
    }),
    "aarch64": (0xC00000B7, {
        "read": 63, "write": 64, "close": 57, "lseek": 62, "mmap": 222, "mprotect": 226, "munmap": 215,
        "brk": 214, "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigreturn": 139, "sched_yield": 124,
        "mremap": 216, "madvise": 233, "nanosleep": 101, "getpid": 172, "exit": 93, "sigaltstack": 132,
        "gettid": 178, "futex": 98, "restart_syscall": 128, "clock_gettime": 113, "clock_nanosleep": 115,
        "exit_group": 94, "getrandom": 278,
    }),
}  # fmt: skip
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_SET_FILTER, _ALL_THREADS = 1, 1
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38

# Classic BPF (linux/bpf_common.h) over struct seccomp_data: the call's number at 0, the architecture at 4.
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050001, 0x80000000  # refuse: SECCOMP_RET_ERRNO with EPERM


class NotConfined(Exception):
    """The system refused the sandbox, so untrusted code must not run."""


def confine() -> None:
    """Enter the sandbox. Import modules and open descriptors before. Raises NotConfined."""
    try:
        _limit()
        if sys.platform == "linux":
            _filter_system_calls()
    except (OSError, ValueError, KeyError) as error:
        raise NotConfined(type(error).__name__) from None


def _limit() -> None:
    for limit, most in (
        (resource.RLIMIT_CORE, 0),  # a core file would contain records
        (resource.RLIMIT_DATA, _MEMORY),
        (resource.RLIMIT_NOFILE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(limit, (most, most))


def _filter_system_calls() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    program = _program()
    code = ctypes.create_string_buffer(program)
    # struct sock_fprog: a length of two bytes, then the address, aligned.
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(code)))
    for done in (
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0),
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        libc.syscall(_SECCOMP[platform.machine()], _SET_FILTER, _ALL_THREADS, header),
    ):
        if done != 0:
            raise OSError(ctypes.get_errno(), "seccomp")


def _program() -> bytes:
    architecture, calls = _ARCHITECTURES[platform.machine()]
    numbers = list(calls.values())
    steps = [
        (_LOAD, 0, 0, 4),
        (_JUMP_IF_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
        *((_JUMP_IF_EQUAL, len(numbers) - index, 0, number) for index, number in enumerate(numbers)),
        (_RETURN, 0, 0, _REFUSE),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
