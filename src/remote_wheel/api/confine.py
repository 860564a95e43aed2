"""What the kernel is asked to enforce in a sandbox: Landlock, seccomp, no capabilities, limits, few descriptors.

Sources: Documentation/userspace-api/landlock.rst and seccomp_filter.rst of Linux, landlock(7), seccomp(2),
capabilities(7), setrlimit(2). All numbers are those of Linux's headers.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any, Final

_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2  # prctl's
_PARENT_DEATH, _DROP_BOUND, _SECURE_BITS, _AMBIENT, _CLEAR_ALL = 1, 24, 28, 47, 4
_NO_ROOT = 0xE3  # the secure bits NOROOT, KEEP_CAPS off and NO_CAP_AMBIENT_RAISE, each for good
_CAPABILITIES = 0x20080522  # the version of capset's header
_CORE = 4  # setrlimit's, on every architecture
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # system calls, the same on every architecture
_VERSION, _PATH_BENEATH = 1, 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE_CHAR, _MAKE_BLOCK = 1 << 6, 1 << 11
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_READ: "Final" = _EXECUTE | _READ_FILE | _READ_DIR
_OF_FILES: "Final" = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV  # of a rule on what is no folder
_TCP: "Final" = 0b11  # bind, connect
_SCOPES: "Final" = 0b11  # abstract sockets, signals
_SINKS: "Final" = ("/dev/null",)
_NOBODY: "Final" = 65534
# By the version of Landlock that can enforce it: what an older one can't.
_SINCE: "Final" = {
    2: "moving files between writable folders is forbidden altogether",
    3: "files that may be read can be truncated",
    5: "devices that may be opened can be controlled (ioctl)",
    6: "signals can be sent to processes outside",
}
# No Landlock knows of it; what copies or unpacks files needs the first, and nearly all programs the second.
_ALWAYS: "Final" = (
    "modes and times of files that are this user's can be changed (chmod, utime), and of any file its name, size and"
    " times be seen (stat); the settings of the terminal can be changed"
)
AS_ROOT: "Final" = (
    "root's user id stays, as what it reads is root's alone, without root's powers: it can't change modes and times at"
    " all, and the limit on processes does not hold for it"
)
# name → (number on x86_64, on aarch64): calls that reach other processes, the kernel, the machine, and no file of ours
_DENIED: "Final[Mapping[str, tuple[int | None, int | None]]]" = {
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440), "pidfd_getfd": (438, 438), "kcmp": (312, 272), "migrate_pages": (256, 238),
    "move_pages": (279, 239), "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    # the kernel
    "io_uring_setup": (425, 425), "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "reboot": (169, 142), "syslog": (103, 116), "lookup_dcookie": (212, 18), "iopl": (172, None),
    "ioperm": (173, None), "personality": (135, 92),
    # mounts and namespaces
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "open_tree": (428, 428),
    "open_tree_attr": (467, 467), "move_mount": (429, 429), "mount_setattr": (442, 442), "unshare": (272, 97),
    "setns": (308, 268), "swapon": (167, 224), "swapoff": (168, 225), "quotactl": (179, 60), "quotactl_fd": (443, 443),
    # the machine
    "acct": (163, 89), "settimeofday": (164, 170), "clock_settime": (227, 112), "clock_adjtime": (305, 266),
    "adjtimex": (159, 171), "sethostname": (170, 161), "setdomainname": (171, 162), "vhangup": (153, 58),
    # files, but by what Landlock looks at
    "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264), "chown": (92, None), "lchown": (94, None),
    "fchown": (93, 55), "fchownat": (260, 54), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "setxattrat": (463, 463), "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "removexattrat": (466, 466), "file_setattr": (469, 469), "inotify_add_watch": (254, 27),
    "fanotify_init": (300, 262), "fanotify_mark": (301, 263),
    # what processes say to each other by System V's and POSIX's ways
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "shmdt": (67, 197), "semget": (64, 190),
    "semop": (65, 193), "semtimedop": (220, 192), "semctl": (66, 191), "msgget": (68, 186), "msgsnd": (69, 189),
    "msgrcv": (70, 188), "msgctl": (71, 187), "mq_open": (240, 180), "mq_unlink": (241, 181),
}  # fmt: skip
_OF_ITSELF: "Final" = {  # calls that may be made of the process itself, which they have 0 for
    "prlimit64": (302, 261), "sched_setaffinity": (203, 122), "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118), "sched_setattr": (314, 274),
}  # fmt: skip
_MODES: "Final[Mapping[str, tuple[int | None, int | None]]]" = {  # for root nearly every file is its own
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "utime": (132, None),
    "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88),
}  # fmt: skip
_SOCKET, _SOCKETPAIR, _IOCTL, _CLONE, _CLONE3 = (41, 198), (53, 199), (16, 29), (56, 220), (435, 435)
_CAPSET: "Final" = (126, 91)
_MACHINES: "Final" = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # place in pairs, AUDIT_ARCH
# To type into the terminal that the caller has, too (TIOCSTI, TIOCLINUX); flags of files (FS_IOC_SETFLAGS, FSSETXATTR)
_CONTROLS: "Final" = (0x5412, 0x541C, 0x40086602, 0x401C5820)
_NAMESPACES: "Final" = 0x7E020000  # all of clone's CLONE_NEW flags
_STREAM, _SEQPACKET = 1, 5  # kinds of pairs that can't be sent from to a path
_INET, _INET6 = 2, 10  # families of sockets
_LOAD, _AND, _EQUAL, _AT_LEAST, _ANY_OF, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06  # classic BPF
_ALLOW, _KILL, _REFUSE, _NOT_THERE = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026  # with EPERM, with ENOSYS
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_AT, _SECOND_AT = 0, 4, 16, 24  # in struct seccomp_data
_X32: "Final" = 0x40000000
_GIB = 1 << 30
_MOST_PROCESSES, _MOST_OF_A_FILE = 4096, 4 * _GIB


def shortcomings() -> "list[str]":
    """Return what of a sandbox this kernel can't enforce. Raises SandboxUnavailable where it is too little."""
    if sys.platform != "linux":
        raise _unavailable(f"{sys.platform} has no Landlock")
    if os.uname().machine not in _MACHINES or sys.maxsize < 1 << 32:
        raise _unavailable(f"the system calls of {os.uname().machine} are not known here")
    version = _abi()
    if version < 1:
        raise _unavailable("this kernel has no Landlock, or it is switched off")
    lacks = [text for since, text in _SINCE.items() if version < since]
    return [*lacks, _ALWAYS]


def confine(
    reads: "Sequence[str]",
    writes: "Sequence[str]",
    limits: "Iterable[tuple[int, int]]",
    *,
    allows_network: bool,
    own: str,
) -> None:
    """Restrict this process, and all that it starts, for good.

    It may read and execute what is below *reads* and change what is below *writes* and the folder *own*, open sockets
    only of an allowed network, and has no capability. Raises SandboxUnavailable.
    """
    from remote_wheel.api import libc

    _drop_powers(libc, reads, writes, own)
    _call(libc.prctl(_PARENT_DEATH, 9, 0, 0, 0), "ending with its parent")  # another user id has undone it
    _call(libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0), "no_new_privs")
    _call(libc.setrlimit(_CORE, bytes(16)), "no core dumps")  # one would have what was read
    _restrict_files(libc, reads, (*writes, own), allows_network=allows_network)
    code = b"".join(_program(allows_network=allows_network, is_root=os.geteuid() == 0))
    buffer = libc.buffer_of(code)
    head = _packed((len(code) // 8, 8), (libc.address_of(buffer), 8))  # a short, padding, a pointer
    _call(libc.prctl(_SECCOMP, _FILTER, head, 0, 0), "seccomp")
    set_limits(limits)  # few open files would be too few for what is done above


def open_filter(*, allows_network: bool) -> int:
    """Return a file that is handed on and has the filter of system calls, for who sets it for another program.

    Raises SandboxUnavailable on a machine whose calls are not known.
    """
    if os.uname().machine not in _MACHINES:
        raise _unavailable(f"the system calls of {os.uname().machine} are not known here")
    descriptor = os.memfd_create("filter", 0)
    os.write(descriptor, b"".join(_program(allows_network=allows_network, is_root=False)))
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def default_limits() -> "list[tuple[int, int]]":
    """Return (resource, amount) of what a program may use if nothing is said: it ends, and not the machine."""
    import resource

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return [
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_NPROC, _MOST_PROCESSES),
        (resource.RLIMIT_FSIZE, _MOST_OF_A_FILE),
    ]


def set_limits(limits: "Iterable[tuple[int, int]]") -> None:
    """Set limits, as far as the hard ones let them be."""
    import resource

    for kind, amount in limits:
        hard = resource.getrlimit(kind)[1]
        most = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
        resource.setrlimit(kind, (most, most))


def close_inherited(keep: "Iterable[int]" = ()) -> None:
    """Close what others have left open in this process: all but 0 to 2, *keep*, and what is not handed on (PEP 446)."""
    kept = {0, 1, 2, *keep}
    try:
        opened = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:  # it is not mounted
        opened = list(range(1024))
    for descriptor in opened:
        try:
            if descriptor not in kept and os.get_inheritable(descriptor):
                os.close(descriptor)
        except OSError:  # the folder that was listed
            continue


def forget_environment(keep: "Iterable[str]") -> None:
    """Take all variables but *keep* from this process: out of the block that it was started with, too (proc(5))."""
    kept = {name: os.environ[name] for name in keep if name in os.environ}
    os.environ.clear()
    try:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        start, end = int(fields[47]), int(fields[48])  # env_start, env_end
    except (OSError, ValueError, IndexError):
        start = end = 0
    if 0 < start < end:
        from remote_wheel.api import libc

        libc.wipe(start, end - start)
    os.environ.update(kept)


def _drop_powers(libc: "Any", reads: "Iterable[str]", writes: "Iterable[str]", own: str) -> None:
    """Give up root's user id, if another may use all that is to be used, and every capability."""
    if os.geteuid() == 0:
        _become_nobody(reads, writes, own)
    at = 0
    while libc.prctl(_DROP_BOUND, at, 0, 0, 0) == 0:
        at += 1
    libc.prctl(_SECURE_BITS, _NO_ROOT, 0, 0, 0)  # who has no such power needs none of these three
    libc.prctl(_AMBIENT, _CLEAR_ALL, 0, 0, 0)
    header = _packed((_CAPABILITIES, 4), (0, 4))
    _call(libc.syscall(_CAPSET[_MACHINES[os.uname().machine][0]], header, bytes(24)), "capset")


def _become_nobody(reads: "Iterable[str]", writes: "Iterable[str]", own: str) -> None:
    """Become the user nobody, if it may read all of *reads* that is there, and write to *writes*."""
    there = [path for path in dict.fromkeys(reads) if os.path.exists(path)]
    groups = os.getgroups()
    try:
        os.chown(own, _NOBODY, _NOBODY)
        os.setgroups([])
        os.setegid(_NOBODY)
        os.seteuid(_NOBODY)
        may = all(os.access(path, os.R_OK, effective_ids=True) for path in there)
        may = may and all(os.access(path, os.W_OK, effective_ids=True) for path in (*writes, own))
    except OSError:  # a namespace that has no such user
        may = False
    os.seteuid(0)
    if may:
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
        return
    os.setegid(0)
    os.setgroups(groups)
    os.chown(own, 0, 0)


def _unavailable(reason: str) -> Exception:
    from remote_wheel.errors import SandboxUnavailable

    return SandboxUnavailable(reason=reason)


def _packed(*fields: "tuple[int, int]") -> bytes:
    """Return numbers, each with its size in bytes, as a structure of C has them on a little-endian machine."""
    return b"".join(value.to_bytes(size, "little") for value, size in fields)


def _abi() -> int:
    from remote_wheel.api import libc

    return int(libc.syscall(_CREATE_RULESET, None, 0, _VERSION))


def _call(result: int, what: str) -> int:
    if result < 0:
        from remote_wheel.api.libc import last_error

        raise _unavailable(f"{what}: {last_error()}")
    return result


def _restrict_files(libc: "Any", reads: "Sequence[str]", writes: "Sequence[str]", *, allows_network: bool) -> None:
    version = _abi()
    most = {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)
    handled = (1 << most) - 1
    tcp = _TCP if version >= 4 and not allows_network else 0
    attributes = _packed((handled, 8), (tcp, 8), (_SCOPES if version >= 6 else 0, 8))
    size = len(attributes)
    rules = _call(libc.syscall(_CREATE_RULESET, attributes, size, 0), "landlock_create_ruleset")
    changes = handled & ~(_EXECUTE | _MAKE_CHAR | _MAKE_BLOCK)
    try:
        for paths, allowed in ((reads, _READ), (_SINKS, _READ | _WRITE_FILE), (writes, changes)):
            for path in dict.fromkeys(paths):
                _allow(libc, rules, path, allowed & handled)
        _call(libc.syscall(_RESTRICT_SELF, rules, 0), "landlock_restrict_self")
    finally:
        os.close(rules)


def _allow(libc: "Any", rules: int, path: str, allowed: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # one of the system's that is not there
        return
    try:
        is_folder = os.fstat(place).st_mode & 0o170000 == 0o040000
        rule = _packed((allowed if is_folder else allowed & _OF_FILES, 8), (place, 4))
        _call(libc.syscall(_ADD_RULE, rules, _PATH_BENEATH, rule, 0), "landlock_add_rule")
    finally:
        os.close(place)


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return _packed((code, 2), (if_true, 1), (if_false, 1), (value, 4))


def _program(*, allows_network: bool, is_root: bool) -> "Iterator[bytes]":
    """Yield the filter's instructions: the denied calls are refused, others by what they are called with."""
    at, architecture = _MACHINES[os.uname().machine]
    yield _step(_LOAD, _ARCHITECTURE_AT)
    yield _step(_EQUAL, architecture, 1, 0)
    yield _step(_RETURN, _KILL)
    yield _step(_LOAD, _NUMBER_AT)
    yield _step(_AT_LEAST, _X32, 0, 1)
    yield _step(_RETURN, _REFUSE)
    for numbers in (*_DENIED.values(), *(_MODES.values() if is_root else ())):
        if (number := numbers[at]) is not None:
            yield _step(_EQUAL, number, 0, 1)
            yield _step(_RETURN, _REFUSE)
    yield _step(_EQUAL, _CLONE3[at], 0, 1)  # its flags are in memory, where no filter sees them; clone is called then
    yield _step(_RETURN, _NOT_THERE)
    yield from _where_called(_IOCTL[at], _SECOND_AT, _refused_if(_EQUAL, _CONTROLS))
    yield from _where_called(_CLONE[at], _FIRST_AT, _refused_if(_ANY_OF, [_NAMESPACES]))
    families = (_INET, _INET6) if allows_network else ()
    for both in _OF_ITSELF.values():
        yield from _where_called(both[at], _FIRST_AT, _allowed_if([0]))
    yield from _where_called(_SOCKETPAIR[at], _SECOND_AT, [_step(_AND, 0xF), *_allowed_if([_STREAM, _SEQPACKET])])
    yield from _where_called(_SOCKET[at], _FIRST_AT, _allowed_if(families))
    yield _step(_RETURN, _ALLOW)


def _where_called(number: int, argument_at: int, body: "Sequence[bytes]") -> "Iterator[bytes]":
    """Yield *body*, which returns in any case, for one call, with one of its arguments loaded."""
    yield _step(_EQUAL, number, 0, len(body) + 1)
    yield _step(_LOAD, argument_at)
    yield from body


def _refused_if(code: int, values: "Iterable[int]") -> "list[bytes]":
    body = [part for value in values for part in (_step(code, value, 0, 1), _step(_RETURN, _REFUSE))]
    return [*body, _step(_RETURN, _ALLOW)]


def _allowed_if(values: "Iterable[int]") -> "list[bytes]":
    body = [part for value in values for part in (_step(_EQUAL, value, 0, 1), _step(_RETURN, _ALLOW))]
    return [*body, _step(_RETURN, _REFUSE)]
