"""Draws terminal.svg from a real session: python docs/images/terminal.py"""

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

import psycopg
from rich.console import Console
from rich.text import Text

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
WIDTH = 112
WELCOME = """\
def handler(payload, zmesh):
    user = zmesh.db.insert("users", {"name": payload["name"]})
    print("new user", user["id"])
    return {"message": f"Welcome {user['name']}"}
"""
SESSION = [
    "cat welcome.py",
    "zmesh functions deploy welcome.py",
    'zmesh functions invoke welcome --data \'{"name": "Rahul"}\'',
    """curl -sX POST $ZMESH_URL/api/functions/welcome -H "x-api-key: $KEY" -d '{"name": "Ada"}'""",
    "sed -i s/Welcome/Hello/ welcome.py && zmesh functions deploy welcome.py",
    """psql $DATABASE_URL -c "insert into zmesh.invocations (function, payload)
                       values ('welcome', jsonb_build_object('name', 'Grace'))\"""",
    "zmesh functions logs welcome",
    "zmesh functions rollback welcome 1",
]


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = subprocess.Popen([BIN / "zmesh", "dev", "--port", "0"], cwd=folder, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            assert server.stdout.readline().startswith("ready")
            draw(folder)
        finally:
            server.terminate()
            server.wait()


def draw(folder: Path) -> None:
    facts = json.loads((folder / ".zmesh" / "dev.json").read_text())
    (folder / "welcome.py").write_text(WELCOME)
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "TERM": "xterm-256color", "COLUMNS": str(WIDTH)}
    environment |= {"KEY": facts["api_key"], "ZMESH_URL": facts["url"], "DATABASE_URL": facts["database_url"]}
    with psycopg.connect(facts["database_url"]) as connection:
        connection.execute("create table users (id serial, name text)")
    console = Console(record=True, width=WIDTH, force_terminal=True, file=io.StringIO())
    for command in SESSION:
        console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
        console.print(Text.from_ansi(in_terminal(["bash", "-c", command], folder, environment)))
        if command.startswith("psql"):
            time.sleep(1)
    svg = console.export_svg(title="zMesh Edge Functions")
    # The reader's own monospace font; rich would have it fetched from elsewhere.
    (HERE / "terminal.svg").write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL))


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
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"{shlex.join(command)}: {said.decode()}"
    return said.decode().replace("\r\n", "\n").rstrip()


if __name__ == "__main__":
    main()
