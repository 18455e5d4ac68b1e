"""What the default seccomp profile of a current Docker engine refuses to our listener, for use with an older engine.

Written after the rules that Docker documents, for the capabilities of docker-compose.yml: system calls that need
another capability, and those that no capability gives. What is not named here is allowed there.
"""

from __future__ import annotations

import json

# Never allowed, whatever the capabilities.
NEVER = (
    "add_key", "create_module", "get_kernel_syms", "io_uring_enter", "io_uring_register", "io_uring_setup",
    "kexec_file_load", "kexec_load", "keyctl", "nfsservctl", "pivot_root", "query_module", "request_key", "swapoff",
    "swapon", "sysfs", "_sysctl", "uselib", "userfaultfd", "ustat", "vm86", "vm86old",
)  # fmt: skip
# Allowed with capabilities that the listener does not have.
NEED_OTHERS = (
    "acct", "clock_settime", "clock_settime64", "delete_module", "finit_module", "get_mempolicy", "init_module",
    "ioperm", "iopl", "kcmp", "mbind", "migrate_pages", "move_pages", "open_by_handle_at", "pidfd_getfd",
    "process_madvise", "reboot", "set_mempolicy", "set_mempolicy_home_node", "settimeofday", "stime", "vhangup",
)  # fmt: skip
# Kernels before 4.8 let ptrace(2) leave the filter; engines refuse these there, so a profile may always do.
OF_OLD_KERNELS = ("process_vm_readv", "process_vm_writev", "ptrace")
REFUSED_FAMILIES = (38, 40)  # socket(2): AF_ALG, AF_VSOCK


def newest_profile() -> str:
    """The JSON that `--security-opt seccomp=` takes."""
    refused = {"names": [*NEVER, *NEED_OTHERS, *OF_OLD_KERNELS], "action": "SCMP_ACT_ERRNO"}
    families = [
        {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": family, "op": "SCMP_CMP_EQ"}]}
        for family in REFUSED_FAMILIES
    ]
    return json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [refused, *families]})
