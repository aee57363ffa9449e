"""Inner walls: what a forked process gives up before it runs one learner's answer, and what it can then no longer do.

The warmed interpreter that answers questions one after the other already sits inside bubblewrap (``sandbox``). Each question
gets a child of its own, and these walls around it: new user, process, mount, network and message namespaces; empty writable
folders in memory, which vanish with it; no capabilities; system calls that ask for more are refused. When the child ends,
the kernel ends every process it has started.

System call numbers: Linux, arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
"""

import ctypes
import os
import platform
import resource
import struct

ROOMS = ("/tmp", "/learner", "/dev/shm")  # where a learner's code may write: bubblewrap's, covered by fresh ones
NEW = {"mount": 0x20000, "cgroup": 0x2000000, "uts": 0x4000000, "ipc": 0x8000000, "user": 0x10000000, "pid": 0x20000000}
NEW |= {"net": 0x40000000}  # CLONE_NEW...
NOSUID_NODEV, BIND = 2 | 4, 0x1000 | 0x4000  # of mount; a bind takes what is mounted below along, and stays read-only
DUMPABLE, NO_NEW_PRIVILEGES, DROP_FROM_BOUNDING_SET, SECCOMP = 4, 38, 24, 22  # options of prctl

# name: (x86_64, aarch64). More namespaces and mounts, other processes, kernel keys and programs: nothing an answer needs.
REFUSED = {
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "kcmp": (312, 272), "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "open_by_handle_at": (304, 265), "quotactl": (179, 60),
    "fanotify_init": (300, 262), "init_module": (175, 105), "finit_module": (313, 273), "kexec_load": (246, 104),
    "syslog": (103, 116), "acct": (163, 89), "swapon": (167, 224), "reboot": (169, 142),
}  # fmt: skip
CLONE, SOCKET, NEWEST = (56, 220), (41, 198), 424  # from 424 on (Linux 5.1) numbers are the same everywhere
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column of the table; AUDIT_ARCH_...

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> None:
    """A function of the C library, as OSError when it fails."""
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _prctl(option: int, value: int, third: object = None) -> None:
    nothing = ctypes.c_ulong(0)  # the kernel looks at all 64 bits
    _call("prctl", option, ctypes.c_ulong(value), nothing if third is None else third, nothing, nothing)


def close_to_others(closed: bool = True) -> None:
    """Nobody of the same user may look into this process or attach to it; open again, it may change its own limits."""
    _prctl(DUMPABLE, int(not closed))


def separate() -> None:
    """Leave for new namespaces; the next child is the first process in them. Raises OSError where that is not allowed."""
    user, group = os.getuid(), os.getgid()
    _call("unshare", sum(NEW.values()))
    close_to_others(False)
    for file, text in (("setgroups", "deny"), ("uid_map", f"65534 {user} 1"), ("gid_map", f"65534 {group} 1")):
        with open(f"/proc/self/{file}", "w", encoding="ascii") as map_:
            map_.write(text)
    close_to_others()


def cover_rooms(megabytes: int, kept: list[str]) -> None:
    """Fresh empty folders in memory over those that an earlier question could have seen. Needs ``separate``.

    ``kept``: read-only places below them that have to stay (a checkout in /tmp, with its Python): shown again on top.
    """
    handles = {place: os.open(place, os.O_PATH) for place in kept}
    for room in ROOMS:
        about = f"size={megabytes}m,nr_inodes=10000,mode=1777".encode()
        _call("mount", b"tmpfs", room.encode(), b"tmpfs", ctypes.c_ulong(NOSUID_NODEV), about)
    for place, handle in handles.items():
        os.makedirs(place, 0o755)
        _call("mount", f"/proc/self/fd/{handle}".encode(), place.encode(), None, ctypes.c_ulong(BIND), None)
        os.close(handle)
    os.chdir("/learner")


def limit(memory_mb: int, cpu_seconds: int, file_mb: int, processes: int) -> None:
    """Limits that hold for this process and all that it starts; the first to die when the machine runs out of memory."""
    close_to_others(False)
    with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("1000")
    for what, wanted in {
        resource.RLIMIT_AS: memory_mb * 2**20,
        resource.RLIMIT_CPU: cpu_seconds,
        resource.RLIMIT_FSIZE: file_mb * 2**20,
        resource.RLIMIT_NPROC: processes,
        resource.RLIMIT_NOFILE: 256,
        resource.RLIMIT_CORE: 0,
    }.items():
        known = resource.getrlimit(what)[1]
        most = wanted if known == resource.RLIM_INFINITY else min(wanted, known)
        resource.setrlimit(what, (most, most))


def give_up_powers() -> None:
    """No capabilities now or later, no way to gain any (needs ``separate``), and the filter of system calls."""
    for capability in range(64):
        if _libc.prctl(DROP_FROM_BOUNDING_SET, capability, 0, 0, 0) != 0:
            break  # past the last one that this kernel knows
    _call("capset", ctypes.c_char_p(struct.pack("=II", 0x20080522, 0)), ctypes.c_char_p(bytes(24)))
    refuse_system_calls()
    close_to_others()  # also: no memory image of it is written when it crashes


def refuse_system_calls() -> None:
    """Install the filter; it stays in every process this one starts. Nothing is done on a machine without a table."""
    _prctl(NO_NEW_PRIVILEGES, 1)
    if platform.machine() not in MACHINES:
        return
    program = ctypes.create_string_buffer(b"".join(_filter(*MACHINES[platform.machine()])))
    rules = len(program.raw) // 8

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("rules", ctypes.c_void_p))

    _prctl(SECCOMP, 2, ctypes.byref(Program(rules, ctypes.addressof(program))))


def _filter(column: int, machine: int) -> list[bytes]:
    """The rules, in the kernel's little language (BPF): load, jump when equal / at least / any bit, return."""

    def rule(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
        return struct.pack("=HBBI", code, yes, no, value)

    load, equal, at_least, any_bit, give = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, kill, forbidden, unknown = 0x7FFF0000, 0x80000000, 0x50000 | 1, 0x50000 | 38  # EPERM, ENOSYS
    rules = [rule(load, 4), rule(equal, machine, 1), rule(give, kill), rule(load, 0)]  # no 32-bit calls
    rules += [rule(at_least, NEWEST, 0, 1), rule(give, unknown)]  # io_uring, new mount calls, pidfd_getfd, clone3 ...
    for numbers in REFUSED.values():
        rules += [rule(equal, numbers[column], 0, 1), rule(give, forbidden)]
    namespaces = sum(NEW.values())
    rules += [rule(equal, CLONE[column], 0, 4), rule(load, 16), rule(any_bit, namespaces, 0, 1), rule(give, forbidden)]
    rules += [rule(give, allow), rule(equal, SOCKET[column], 0, 3), rule(load, 16), rule(equal, 1, 1)]  # AF_UNIX only:
    return [*rules, rule(give, forbidden), rule(give, allow)]  # AF_VSOCK would pass through a network namespace
