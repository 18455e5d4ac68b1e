"""Draws terminal.svg from a real session: python docs/images/terminal.py

The commands run in a terminal, one after the other, against a `zmesh dev` of their own; what they print is the picture.
tests/docs/test_terminal.py runs them too, and compares.
"""

from __future__ import annotations

import io
import json
import os
import pty
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console
from rich.text import Text

PICTURE = Path(__file__).parent / "terminal.svg"
BIN = Path(sys.executable).parent
WIDTH = 100
WAIT_SECONDS = 60
WELCOME = """\
def handler(payload, zmesh):
    user = zmesh.db.insert("users", {"name": payload["name"]})
    print("new user", user["id"])
    return {"message": f"Welcome {user['name']}"}
"""
ENQUEUE = """\
psql $ZMESH_DATABASE_URL -c "insert into zmesh.invocations (function, payload)
                             values ('welcome', jsonb_build_object('name', 'Grace'))\""""
SESSION = [
    "cat welcome.py",
    "zmesh functions deploy welcome.py",
    'zmesh functions invoke welcome --data \'{"name": "Rahul"}\'',
    """curl -s $ZMESH_URL/api/functions/welcome -H "x-api-key: $ZMESH_API_KEY" -d '{"name": "Ada"}'""",
    "sed -i s/Welcome/Hello/ welcome.py && zmesh functions deploy welcome.py",
    ENQUEUE,
    "zmesh functions logs welcome",
    "zmesh functions rollback welcome 1",
]
INVOCATIONS = 3


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [BIN / "zmesh", "dev", "--port", "0", "--no-examples"]
        server = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            assert server.stdout.readline().startswith("ready")
            draw(run_session(folder, json.loads((folder / ".zmesh" / "dev.json").read_text())))
        finally:
            server.terminate()
            server.wait()


def run_session(folder: Path, facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Each command with what it printed, escape sequences included; in a folder with a .zmesh."""
    (folder / "welcome.py").write_text(WELCOME)
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "TERM": "xterm-256color", "COLUMNS": str(WIDTH)}
    environment |= {"ZMESH_HOME": str(folder / ".zmesh"), "ZMESH_DATABASE_URL": facts["database_url"]}
    environment.pop("NO_COLOR", None)
    shell = {"ZMESH_URL": facts["url"], "ZMESH_API_KEY": facts["api_key"]}
    with psycopg.connect(facts["database_url"], autocommit=True) as connection:
        connection.execute("create table users (id serial, name text)")
        session = []
        for command in SESSION:
            variables = shell if command.startswith("curl") else {}  # the others find dev.json by themselves
            printed = in_terminal(["bash", "-c", command], folder, {**environment, **variables})
            session.append((command, printed))
            if command == ENQUEUE:
                wait_for_the_last(connection)
    return session


def wait_for_the_last(connection: psycopg.Connection) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    query = "select count(*) from zmesh.invocations where function = 'welcome' and status = 'success'"
    while connection.execute(query).fetchone() != (INVOCATIONS,):
        assert time.monotonic() < deadline, "the invocation by SQL does not end"
        time.sleep(0.05)


def draw(session: list[tuple[str, str]]) -> None:
    console = Console(record=True, width=WIDTH, force_terminal=True, file=io.StringIO())
    for number, (command, printed) in enumerate(session):
        if number:
            console.print()
        console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
        for line in Text.from_ansi(printed).split():
            for piece in line.divide(range(WIDTH, len(line), WIDTH)):  # as a terminal does, not at words
                console.print(piece)
    svg = console.export_svg(title="zMesh Edge Functions")
    # The reader's own monospace font; rich would have it fetched from elsewhere.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    PICTURE.write_text("".join(f"{line.rstrip()}\n" for line in svg.splitlines()))


def in_terminal(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    """What a command prints to a terminal, colours included."""
    said = bytearray()
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execvpe(command[0], command, environment)
    while True:
        try:
            data = os.read(fd, 4096)
        except OSError:
            break
        if not data:
            break
        said.extend(data)
    os.close(fd)
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"{shlex.join(command)}: {said.decode()}"
    return said.decode().replace("\r\n", "\n").rstrip()


if __name__ == "__main__":
    main()
