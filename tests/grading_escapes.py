"""What an answer might try on the warm sandbox it runs in: leave things, touch its parent, ask the kernel for more.

Each sets ``wins`` to whether it found what it should not reach; put ``grading_attacks.ONLY_IF_IT_WINS`` behind it.
"""

LEAVES_THINGS = """
import ctypes, os, socket, subprocess, sys
from course_lib.classroom import checks
libc = ctypes.CDLL(None)
for place in ("/tmp", "/learner", "/dev/shm"):
    open(place + "/left", "w").write("for the next one")
libc.shmget(0x1234, 4096, 0o1666)
libc.msgget(0x1234, 0o1666)
subprocess.Popen(["sleep", "MARK"], start_new_session=True)
listening = socket.socket(socket.AF_UNIX)
listening.bind(chr(0) + "left")
listening.listen()
if os.fork() == 0:
    os.setsid()
    __import__("time").sleep(1000)
checks.EXERCISES["left"] = torch.nn.left = os.environ["LEFT"] = "left"
"""

FINDS_WHAT_WAS_LEFT = """
import ctypes, glob, os, socket
from course_lib.classroom import checks
libc = ctypes.CDLL(None)
wins = any(os.path.exists(place + "/left") for place in ("/tmp", "/learner", "/dev/shm"))
wins |= libc.shmget(0x1234, 4096, 0) != -1 or libc.msgget(0x1234, 0) != -1
wins |= "left" in checks.EXERCISES or hasattr(torch.nn, "left") or "LEFT" in os.environ
for line in glob.glob("/proc/[0-9]*/cmdline"):
    try:
        wins |= b"MARK" in open(line, "rb").read()
    except OSError:
        pass
try:
    socket.socket(socket.AF_UNIX).connect(chr(0) + "left")
    wins = True
except OSError:
    pass
"""

TOUCHES_OTHER_PROCESSES = """
import ctypes, os, signal
libc = ctypes.CDLL(None, use_errno=True)
won, me = [], os.readlink("/proc/self")
for pid in [int(name) for name in os.listdir("/proc") if name.isdigit() and name != me]:
    for what in ("mem", "environ", "fd", "root", "cwd", "maps", "ns/mnt", "oom_score_adj"):
        place = f"/proc/{pid}/{what}"
        try:
            os.close(os.open(place, os.O_RDWR if what in ("mem", "oom_score_adj") else os.O_RDONLY))
            won.append(place)
        except OSError:
            pass
    for number in (signal.SIGTERM, signal.SIGSTOP, signal.SIGKILL):
        try:
            os.kill(pid if pid != os.getpid() else 10**6, number)  # in here the number 1 is this process
            won.append(f"kill {pid}")
        except OSError:
            pass
    if libc.ptrace(16, pid, 0, 0) == 0:  # PTRACE_ATTACH
        won.append(f"ptrace {pid}")
for handle in range(4, 256):
    try:
        os.fstat(handle)
        won.append(f"handle {handle}")
    except OSError:
        pass
wins = bool(won)
"""

SYSTEM_CALLS = {  # on x86_64 and by the C library's names
    "another user namespace": "libc.unshare(0x10000000)",
    "a fork into a user namespace": "libc.syscall(56 if x86 else 220, 0x10000000 | 17, 0, 0, 0, 0)",
    "clone3": "libc.syscall(435, 0, 0)",
    "a mount": "libc.mount(b'x', b'/tmp', b'tmpfs', 0, b'')",
    "an unmount": "libc.umount2(b'/tmp', 2)",
    "another root": "libc.chroot(b'/tmp')",
    "a kernel key": "libc.syscall(248 if x86 else 217, b'user', b'left', b'x', 1, -3)",
    "a kernel program": "libc.syscall(321 if x86 else 280, 0, 0, 0)",
    "performance counters": "libc.syscall(298 if x86 else 241, 0, 0, -1, -1, 0)",
    "io_uring": "libc.syscall(425, 1, ctypes.create_string_buffer(256))",
    "the memory of others": "libc.process_vm_readv(1, 0, 0, 0, 0, 0)",
    "a socket to the host of this virtual machine": "libc.socket(40, 1, 0)",
    "a network socket": "libc.socket(2, 1, 0)",
    "page faults": "libc.syscall(323 if x86 else 282, 0)",
}

CALLS_THE_KERNEL = """
import ctypes, errno, os, platform
libc, x86 = ctypes.CDLL(None, use_errno=True), platform.machine() == "x86_64"
mother = os.getpid()
answer = CALL
if os.getpid() != mother:
    os._exit(0)
wins = not (answer == -1 and ctypes.get_errno() in (errno.EPERM, errno.ENOSYS))
"""

HAS_POWERS = """
import ctypes, os
libc = ctypes.CDLL(None)
wins = libc.prctl(39, 0, 0, 0, 0) != 1 or os.getuid() in (0, 1000)  # PR_GET_NO_NEW_PRIVS
wins |= libc.prctl(21, 0, 0, 0, 0) != 2  # PR_GET_SECCOMP
wins |= any(libc.prctl(23, power, 0, 0, 0) == 1 for power in range(41))  # PR_CAPBSET_READ
powers = ctypes.create_string_buffer(24)
libc.capget(ctypes.c_char_p((0x20080522).to_bytes(8, "little")), powers)
wins |= any(powers.raw)
wins |= any(" rw-s " in line for line in open("/proc/self/maps"))
"""
