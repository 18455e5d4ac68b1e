"""The system calls a run may not make, as a BPF program."""

from __future__ import annotations

import errno
import struct
from collections.abc import Mapping

from sandbox.confinement import kernel
from sandbox.confinement.plan import Plan
from sandbox.protocol.table import PRETENDED_ADDRESS_BYTES

# Classic BPF opcodes (linux/bpf_common.h) and seccomp's answers (linux/seccomp.h).
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_MASK = 0x54
_ALLOW, _KILL, _ERRNO, _NOTIFY = 0x7FFF0000, 0x80000000, 0x00050000, 0x7FC00000
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENT_0_AT, _ARGUMENT_1_AT, _ARGUMENT_2_AT, _ARGUMENT_3_AT = 0, 4, 16, 24, 32, 40
_X32_BIT = 0x40000000
_NAMESPACE_FLAGS = 0x7E020080  # every CLONE_NEW… that clone(2) takes
_NEW_USER, _OF_RUNS = 0x10000000, (0x00020000, 0x04000000, 0x08000000, 0x20000000)  # mount, UTS, IPC, PID
_SET_MODE_FILTER = 1
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_SHARED_ANONYMOUS = 0x21  # MAP_SHARED (as in MAP_SHARED_VALIDATE) and MAP_ANONYMOUS
_UNIX, _IPV4, _IPV6, _NETLINK = 1, 2, 10, 16
_LEVEL_IP, _LOCAL_PORT_RANGE = 0, 51
_INTERNET_PROTOCOLS = (0, 1, 6, 17, 58)  # the family's own, ICMP, TCP, UDP, ICMPv6

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# Refused with EPERM: what reaches other processes, the kernel's configuration, mounts, namespaces or keys, and
# memory that no limit counts (System V and POSIX IPC objects outlive the mapping, memfd has no file system).
_FORBIDDEN = {
    "x86_64": {
        "ptrace": 101, "syslog": 103, "personality": 135, "vhangup": 153, "pivot_root": 155, "adjtimex": 159,
        "chroot": 161, "acct": 163, "settimeofday": 164, "mount": 165, "umount2": 166, "swapon": 167,
        "swapoff": 168, "reboot": 169, "sethostname": 170, "setdomainname": 171, "iopl": 172, "ioperm": 173,
        "init_module": 175, "delete_module": 176, "quotactl": 179, "nfsservctl": 180, "lookup_dcookie": 212,
        "clock_settime": 227, "mbind": 237, "set_mempolicy": 238, "kexec_load": 246, "add_key": 248,
        "request_key": 249, "keyctl": 250, "migrate_pages": 256, "unshare": 272, "move_pages": 279,
        "perf_event_open": 298, "fanotify_init": 300, "name_to_handle_at": 303, "open_by_handle_at": 304,
        "clock_adjtime": 305, "setns": 308, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312,
        "finit_module": 313, "memfd_create": 319, "kexec_file_load": 320, "bpf": 321, "userfaultfd": 323,
        "shmget": 29, "shmat": 30, "shmctl": 31, "semget": 64, "semop": 65, "semctl": 66, "semtimedop": 220,
        "msgget": 68, "msgsnd": 69, "msgrcv": 70, "msgctl": 71, "mq_open": 240, "mq_unlink": 241,
        "uselib": 134, "modify_ldt": 154, "io_setup": 206,
    },
    "aarch64": {
        "ptrace": 117, "syslog": 116, "personality": 92, "vhangup": 58, "pivot_root": 41, "adjtimex": 171,
        "chroot": 51, "acct": 89, "settimeofday": 170, "mount": 40, "umount2": 39, "swapon": 224,
        "swapoff": 225, "reboot": 142, "sethostname": 161, "setdomainname": 162, "init_module": 105,
        "delete_module": 106, "quotactl": 60, "nfsservctl": 42, "lookup_dcookie": 18, "clock_settime": 112,
        "mbind": 235, "set_mempolicy": 237, "kexec_load": 104, "add_key": 217, "request_key": 218, "keyctl": 219,
        "migrate_pages": 238, "unshare": 97, "move_pages": 239, "perf_event_open": 241, "fanotify_init": 262,
        "name_to_handle_at": 264, "open_by_handle_at": 265, "clock_adjtime": 266, "setns": 268,
        "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272, "finit_module": 273, "memfd_create": 279,
        "kexec_file_load": 294, "bpf": 280, "userfaultfd": 282, "shmget": 194, "shmctl": 195, "shmat": 196,
        "semget": 190, "semctl": 191, "semtimedop": 192, "semop": 193, "msgget": 186, "msgctl": 187, "msgrcv": 188,
        "msgsnd": 189, "mq_open": 180, "mq_unlink": 181, "io_setup": 0,
    },
}  # fmt: skip
_FORBIDDEN_EVERYWHERE = {
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
    "pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442, "quotactl_fd": 443, "memfd_secret": 447,
    "open_tree_attr": 467,
}  # fmt: skip
# Answered as if the kernel did not have them, so that libraries take the older way.
_IO_URING = {"io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427}
_ABSENT = _IO_URING | {"clone3": 435}
_CLONE = {"x86_64": 56, "aarch64": 220}
_IOCTL = {"x86_64": 16, "aarch64": 29}
_MMAP = {"x86_64": 9, "aarch64": 222}
# Limits and priority of another process: prlimit64, sched_setparam, sched_setscheduler, sched_setaffinity,
# sched_setattr, setpriority (which kind, and who), and ioprio_set (who).
_ONLY_OF_ITSELF = {
    machine: [(n, _ARGUMENT_0_AT) for n in numbers[:6]] + [(n, _ARGUMENT_1_AT) for n in numbers[5:]]
    for machine, numbers in {
        "x86_64": (302, 142, 144, 203, 314, 141, 251),
        "aarch64": (261, 118, 119, 122, 274, 140, 30),
    }.items()
}
# Locks of open file descriptions: the kernel shows no owner, so they could not be counted.
_FCNTL = {"x86_64": 72, "aarch64": 25}
_OFD_LOCKS = (36, 37, 38)
_SOCKET = {"x86_64": 41, "aarch64": 198}
_SOCKETPAIR = {"x86_64": 53, "aarch64": 199}
_SETSOCKOPT = {"x86_64": 54, "aarch64": 208}
_CONNECT = {"x86_64": 42, "aarch64": 203}
_NAMING = {"x86_64": {"bind": 49, "listen": 50}, "aarch64": {"bind": 200, "listen": 201}}
# Calls that send, and where their flags are: sendto, sendmmsg, sendmsg.
_SENDING = {
    machine: list(zip(numbers, (_ARGUMENT_3_AT, _ARGUMENT_3_AT, _ARGUMENT_2_AT), strict=True))
    for machine, numbers in {"x86_64": (44, 307, 46), "aarch64": (206, 269, 211)}.items()
}
_MSG_FASTOPEN = 0x20000000
_STREAM, _SEQUENCED, _TYPE_MASK = 1, 5, 0xF
_TCP = 6
NO_NETWORK = errno.ENETDOWN  # what a run without network gets for each attempt


def _step(code: int, if_true: int, if_false: int, value: int) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value & 0xFFFFFFFF)


def _answer(numbers: Mapping[str, int], number: int) -> bytes:
    refuse = _step(_RETURN, 0, 0, _ERRNO | number)
    return b"".join(_step(_JUMP_EQUAL, 0, 1, n) + refuse for n in sorted(numbers.values()))


def _only_zero(number: int, argument: int) -> bytes:
    """Refuses a call with another value than 0 in that argument; the number is loaded, before and after."""
    return b"".join(
        (
            _step(_JUMP_EQUAL, 0, 4, number),
            _step(_LOAD, 0, 0, argument),
            _step(_JUMP_EQUAL, 1, 0, 0),
            _step(_RETURN, 0, 0, _ERRNO | errno.EPERM),
            _step(_LOAD, 0, 0, _NUMBER_AT),
        )
    )


def _only(values: tuple[int, ...], argument: int, otherwise: int) -> bytes:
    """Answers a call that has another value in that argument; goes on behind if not."""
    count = len(values)
    return b"".join(
        (
            _step(_LOAD, 0, 0, argument),
            *(_step(_JUMP_EQUAL, count - n, 0, value) for n, value in enumerate(values)),
            _step(_RETURN, 0, 0, _ERRNO | otherwise),
        )
    )


def _sockets(number: int) -> bytes:
    """socket(2): what talks to the kernel or the host is refused, as are protocols that the kernel would load first.

    Of netlink only routing is left, which getaddrinfo(3) asks for addresses. The number is loaded; no test follows.
    """
    allow = _step(_RETURN, 0, 0, _ALLOW)
    internet = _only(_INTERNET_PROTOCOLS, _ARGUMENT_2_AT, errno.EPROTONOSUPPORT) + allow
    netlink = _only((0,), _ARGUMENT_2_AT, errno.EPROTONOSUPPORT) + allow
    past_internet = len(internet) // len(allow)
    past_both = past_internet + len(netlink) // len(allow)
    return b"".join(
        (
            _step(_JUMP_EQUAL, 0, 6 + past_both, number),
            _step(_LOAD, 0, 0, _ARGUMENT_0_AT),
            _step(_JUMP_EQUAL, 4 + past_both, 0, _UNIX),
            _step(_JUMP_EQUAL, 3 + past_internet, 0, _NETLINK),
            _step(_JUMP_EQUAL, 2, 0, _IPV4),
            _step(_JUMP_EQUAL, 1, 0, _IPV6),
            _step(_RETURN, 0, 0, _ERRNO | errno.EAFNOSUPPORT),
            internet,
            netlink,
        )
    )


def _of(number: int, *steps: bytes) -> bytes:
    """Steps for this call only; the number is loaded, before and after."""
    body = b"".join((*steps, _step(_LOAD, 0, 0, _NUMBER_AT)))
    return _step(_JUMP_EQUAL, 0, len(body) // len(_step(0, 0, 0, 0)), number) + body


def deny_list(machine: str) -> bytes:
    """The filter of runs for one kind of machine. Raises KeyError for a kind it does not know.

    Kills on system calls of another architecture (i386, x32): the numbers mean something else there.
    """
    return _deny_list(machine, _FORBIDDEN[machine], b"")


def deny_list_of_template(machine: str) -> bytes:
    """The same for a template that has loaded packages: its forks go to the namespaces of their runs, and make a user
    namespace, which is where their processes are counted."""
    numbers = dict(_FORBIDDEN[machine])
    eperm = _step(_RETURN, 0, 0, _ERRNO | errno.EPERM)
    load_number = _step(_LOAD, 0, 0, _NUMBER_AT)
    more = (
        _step(_JUMP_EQUAL, 0, 4, numbers.pop("unshare")),
        _step(_LOAD, 0, 0, _ARGUMENT_0_AT),
        _step(_JUMP_EQUAL, 1, 0, _NEW_USER),
        eperm,
        load_number,
        _step(_JUMP_EQUAL, 0, 7, numbers.pop("setns")),
        _step(_LOAD, 0, 0, _ARGUMENT_1_AT),
        *(_step(_JUMP_EQUAL, len(_OF_RUNS) - n, 0, kind) for n, kind in enumerate(_OF_RUNS)),
        eperm,
        load_number,
    )
    return _deny_list(machine, numbers, b"".join(more))


def _deny_list(machine: str, forbidden: Mapping[str, int], more: bytes) -> bytes:
    """`more` is for calls that are allowed in part; the number is loaded, before and after."""
    eperm = _step(_RETURN, 0, 0, _ERRNO | errno.EPERM)
    load_number = _step(_LOAD, 0, 0, _NUMBER_AT)
    kill = _step(_RETURN, 0, 0, _KILL)
    return b"".join(
        (
            _step(_LOAD, 0, 0, _ARCHITECTURE_AT),
            _step(_JUMP_EQUAL, 1, 0, _ARCHITECTURES[machine]),
            kill,
            load_number,
            _step(_JUMP_AT_LEAST, 0, 1, _X32_BIT),
            kill,
            _answer({**forbidden, **_FORBIDDEN_EVERYWHERE}, errno.EPERM),
            more,
            _answer(_ABSENT, errno.ENOSYS),
            # clone(2) with a new namespace
            _step(_JUMP_EQUAL, 0, 4, _CLONE[machine]),
            _step(_LOAD, 0, 0, _ARGUMENT_0_AT),
            _step(_JUMP_ANY_BIT, 0, 1, _NAMESPACE_FLAGS),
            eperm,
            load_number,
            # ioctl(2) that types into a terminal
            _step(_JUMP_EQUAL, 0, 4, _IOCTL[machine]),
            _step(_LOAD, 0, 0, _ARGUMENT_1_AT),
            _step(_JUMP_EQUAL, 1, 0, _TIOCSTI),
            _step(_JUMP_EQUAL, 0, 1, _TIOCLINUX),
            eperm,
            load_number,
            # mmap(2) of memory that stays the run's when no process of it has it mapped, so that no limit counts it
            _step(_JUMP_EQUAL, 0, 5, _MMAP[machine]),
            _step(_LOAD, 0, 0, _ARGUMENT_3_AT),
            _step(_MASK, 0, 0, _SHARED_ANONYMOUS),
            _step(_JUMP_EQUAL, 0, 1, _SHARED_ANONYMOUS),
            eperm,
            load_number,
            # fcntl(2) as of a kernel without such locks
            _step(_JUMP_EQUAL, 0, 6, _FCNTL[machine]),
            _step(_LOAD, 0, 0, _ARGUMENT_1_AT),
            *(_step(_JUMP_EQUAL, 2 - n, n == 2, command) for n, command in enumerate(_OFD_LOCKS)),
            _step(_RETURN, 0, 0, _ERRNO | errno.EINVAL),
            load_number,
            # what else reaches a process of the same user: 0 is the caller itself
            *(_only_zero(number, argument) for number, argument in _ONLY_OF_ITSELF[machine]),
            # setsockopt(2) that narrows the range from which the kernel chooses a port: to a single one, for instance
            _of(
                _SETSOCKOPT[machine],
                _step(_LOAD, 0, 0, _ARGUMENT_1_AT),
                _step(_JUMP_EQUAL, 0, 3, _LEVEL_IP),
                _step(_LOAD, 0, 0, _ARGUMENT_2_AT),
                _step(_JUMP_EQUAL, 0, 1, _LOCAL_PORT_RANGE),
                _step(_RETURN, 0, 0, _ERRNO | errno.ENOPROTOOPT),
            ),
            # socketpair(2) of families whose module the kernel would load first
            _of(_SOCKETPAIR[machine], _only((_UNIX,), _ARGUMENT_0_AT, errno.EAFNOSUPPORT)),
            _sockets(_SOCKET[machine]),
            _step(_RETURN, 0, 0, _ALLOW),
        )
    )


def without_network(machine: str) -> bytes:
    """A second filter, for runs without network: no socket can be connected or named, and none may send to an address.

    That holds for sockets that the run was given as well: a TCP socket can be disconnected, and connected elsewhere.
    Datagram sockets of any family are refused, since each message may have another address. What remains are pairs of
    sockets within the run. libpq, which cannot be given a socket, is told by EINPROGRESS that it connects, where the
    address has a length that is agreed on with the SDK; no connection is made.
    """
    refuse = _step(_RETURN, 0, 0, _ERRNO | NO_NETWORK)
    load_type = _step(_LOAD, 0, 0, _ARGUMENT_1_AT) + _step(_MASK, 0, 0, _TYPE_MASK)
    return b"".join(
        (
            _step(_LOAD, 0, 0, _NUMBER_AT),
            _answer(_NAMING[machine], NO_NETWORK),
            _of(
                _CONNECT[machine],
                _step(_LOAD, 0, 0, _ARGUMENT_2_AT),
                _step(_JUMP_EQUAL, 0, 1, PRETENDED_ADDRESS_BYTES),
                _step(_RETURN, 0, 0, _ERRNO | errno.EINPROGRESS),
                refuse,
            ),
            _of(
                _SOCKET[machine],
                _only((_UNIX,), _ARGUMENT_0_AT, NO_NETWORK),
                load_type,
                _step(_JUMP_EQUAL, 1, 0, _STREAM),
                refuse,
            ),
            _pairs_of_streams(machine, refuse),
            _no_fast_open(machine, refuse),
            _step(_RETURN, 0, 0, _ALLOW),
        )
    )


def connect_filter(*, notify: bool) -> bytes:
    """A second filter, which a run may install for what it starts: those processes can connect only by TCP, and cannot
    listen. Refused are datagrams, protocols other than TCP that Landlock does not cover, and named Unix sockets.
    With `notify`, each connect(2) waits for the holder of the filter's descriptor."""
    machine = kernel.MACHINE
    refuse = _step(_RETURN, 0, 0, _ERRNO | errno.EACCES)
    allow = _step(_RETURN, 0, 0, _ALLOW)
    answer = _step(_RETURN, 0, 0, _NOTIFY) if notify else allow
    load_type = _step(_LOAD, 0, 0, _ARGUMENT_1_AT) + _step(_MASK, 0, 0, _TYPE_MASK)
    return b"".join(
        (
            _step(_LOAD, 0, 0, _NUMBER_AT),
            _answer(_NAMING[machine], errno.EACCES),
            _of(_CONNECT[machine], answer),
            _of(
                _SOCKET[machine],
                _step(_LOAD, 0, 0, _ARGUMENT_0_AT),
                _step(_JUMP_EQUAL, 0, 1, _NETLINK),  # asked for addresses of this host
                allow,
                _only((_IPV4, _IPV6), _ARGUMENT_0_AT, errno.EACCES),
                load_type,
                _step(_JUMP_EQUAL, 1, 0, _STREAM),
                refuse,
                _only((0, _TCP), _ARGUMENT_2_AT, errno.EACCES),
            ),
            _pairs_of_streams(machine, refuse),
            _no_fast_open(machine, refuse),
            allow,
        )
    )


def _pairs_of_streams(machine: str, refuse: bytes) -> bytes:
    """Refuses pairs of datagram sockets, each message of which may have another address."""
    return _of(
        _SOCKETPAIR[machine],
        _step(_LOAD, 0, 0, _ARGUMENT_1_AT) + _step(_MASK, 0, 0, _TYPE_MASK),
        _step(_JUMP_EQUAL, 2, 0, _STREAM),
        _step(_JUMP_EQUAL, 1, 0, _SEQUENCED),
        refuse,
    )


def _no_fast_open(machine: str, refuse: bytes) -> bytes:
    """Refuses messages that open a connection."""
    return b"".join(
        _of(number, _step(_LOAD, 0, 0, flags_at), _step(_JUMP_ANY_BIT, 0, 1, _MSG_FASTOPEN), refuse)
        for number, flags_at in _SENDING[machine]
    )


def without_io_uring() -> bytes:
    """A filter for processes of the platform: rings are memory that a fork would share with its parent."""
    load_number = _step(_LOAD, 0, 0, _NUMBER_AT)
    return load_number + _answer(_IO_URING, errno.ENOSYS) + _step(_RETURN, 0, 0, _ALLOW)


def add_filter(plan: Plan, program: bytes) -> None:
    """Put the process and its children under a filter, for good."""
    head = plan.put(struct.pack("=H6xQ", len(program) // 8, 0))
    plan.point(head + 8, plan.put(program))
    plan.call("seccomp", _SET_MODE_FILTER, 0, head)
