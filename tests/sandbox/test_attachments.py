"""What a run was given ends with the run, whoever holds a copy."""

from __future__ import annotations

import socket

from sandbox import Attachment, RunRequest, Sandbox

TAKES_IT = """
import os, socket, struct

def handler(payload, zmesh):
    os.write(3, struct.pack("!cI", b"D", 0))
    channel = socket.socket(fileno=os.dup(3))
    _, descriptors, *_ = socket.recv_fds(channel, 65536, 1)
    socket.socket(fileno=descriptors[0]).sendall(b"hello")
    return len(descriptors)
"""


async def test_a_database_session_is_over_with_its_run_even_for_a_copy_that_outlives_it() -> None:
    server, client = socket.socketpair()
    copy = client.dup()  # as a process that outlives the run may hold, such as the template of its packages

    async def attach() -> Attachment:
        return Attachment(client, b"")

    sandbox = Sandbox(slots=1)
    await sandbox.start()
    outcome = await sandbox.run(RunRequest("python", TAKES_IT, "handler", "f.py", "{}", attach=attach))
    await sandbox.close()

    with server, copy:
        server.settimeout(5)
        assert outcome.result_json == "1", outcome
        assert (server.recv(100), server.recv(100)) == (b"hello", b"")
