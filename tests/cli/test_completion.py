"""Completion in real shells: what somebody who types and presses the tab key is offered."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.platform import Platform, clean_environment

SECONDS = 60
FOLDER = Path(sys.executable).parent  # where the command is installed
BASH = """source <(zmesh completion bash)
COMP_WORDS=({words}); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
_zmesh_completion zmesh; printf '%s\\n' "${{COMPREPLY[@]}}"
"""
FISH = "zmesh completion fish | source; complete --do-complete '{words}'"
ZSH = """PS1='> '; unsetopt zle_bracketed_paste; autoload -Uz compinit; compinit -u -D; source <(zmesh completion zsh)
zstyle ':completion:*' list-prompt ''; echo rea''dy
"""


def environment(folder: Path, **given: str) -> dict[str, str]:
    path = f"{FOLDER}{os.pathsep}{os.environ['PATH']}"
    return {**clean_environment(), "PATH": path, "XDG_CONFIG_HOME": str(folder), "TERM": "dumb", **given}


def offered(shell: str, words: str, folder: Path, **given: str) -> str:
    """What the shell offers for the last of these words."""
    variables = environment(folder, **given)
    if shell == "zsh":
        return offered_by_zsh(words, folder, variables)
    command = {"bash": ["bash", "--norc", "-c", BASH], "fish": ["fish", "--no-config", "-c", FISH]}[shell]
    command[-1] = command[-1].format(words=words)
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=SECONDS)
    assert done.stderr == ""
    return done.stdout


def offered_by_zsh(words: str, folder: Path, variables: dict[str, str]) -> str:
    """zsh completes in its line editor only, so the words and a tab are typed on a terminal."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execvpe("zsh", ["zsh", "--no-rcs", "-i"], variables)
    try:
        os.write(terminal, ZSH.encode())
        read_until(terminal, "ready")
        os.write(terminal, f"{words}\t".encode())
        os.write(terminal, b"\x01echo '\x05'; echo do''ne\n")  # the completed line is quoted and printed
        return read_until(terminal, "\ndone").rpartition("echo '")[2]
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)


def read_until(terminal: int, word: str) -> str:
    text, deadline = "", time.monotonic() + SECONDS
    while word not in text:
        assert time.monotonic() < deadline, text
        if select.select([terminal], [], [], 1)[0]:
            text += os.read(terminal, 65536).decode(errors="replace")
    return text


@pytest.fixture(params=["bash", "zsh", "fish"])
def shell(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed: apt-get install {name}")
    return name


def test_a_command_is_completed(shell: str, tmp_path: Path) -> None:
    assert "functions" in offered(shell, "zmesh func", tmp_path)


def test_the_value_of_an_option_is_completed_after_its_sign(shell: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    value = "json" if shell == "bash" else "--output=json"  # bash takes the sign for the end of a word
    assert value in offered(shell, "zmesh functions list --output=j", tmp_path)
    if shell != "bash":  # which completes paths by itself
        assert "--watch=folder" in offered(shell, "zmesh dev --watch=fol", tmp_path)


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed: apt-get install fish")
def test_fish_shows_the_help_of_a_command_with_its_commas(tmp_path: Path) -> None:
    assert offered("fish", "zmesh functi", tmp_path) == "functions\tDeploy, invoke and manage functions.\n"


def test_the_name_of_a_function_is_completed(shell: str, tmp_path: Path, running_platform: Platform) -> None:
    running_platform.deploy("offered-in-a-shell", "def handler(payload, zmesh): return 1")
    there = {"ZMESH_URL": running_platform.url, "ZMESH_TOKEN": running_platform.token}
    assert "offered-in-a-shell" in offered(shell, "zmesh logs offered-in", tmp_path, **there)


def test_an_expired_session_is_renewed_and_stored(tmp_path: Path, running_platform: Platform) -> None:
    running_platform.deploy("offered-later", "def handler(payload, zmesh): return 1")
    facts = json.loads((running_platform.folder / ".zmesh" / "dev.json").read_text())
    log_in = [FOLDER / "zmesh", "login", "--url", running_platform.url, "--email", facts["admin_email"]]
    given = environment(tmp_path, ZMESH_PASSWORD=facts["admin_password"])
    subprocess.run(log_in, cwd=tmp_path, env=given, check=True, capture_output=True)
    stored = tmp_path / "zmesh" / "login.json"
    session = json.loads(stored.read_text())
    stored.write_text(json.dumps({**session, "token": "expired"}))
    assert "offered-later" in offered("bash", "zmesh logs offered-l", tmp_path)
    renewed = json.loads(stored.read_text())
    assert renewed["token"] != "expired"
    assert renewed["refresh_token"] != session["refresh_token"]
    listed = subprocess.run(
        [FOLDER / "zmesh", "functions", "list"], cwd=tmp_path, env=environment(tmp_path), check=True
    )
    assert listed.returncode == 0, "the session goes on"


def test_a_server_that_is_not_there_is_not_complained_about(shell: str, tmp_path: Path) -> None:
    there = {"ZMESH_URL": "http://127.0.0.1:1", "ZMESH_TOKEN": "x"}
    said = offered(shell, "zmesh logs offered", tmp_path, **there).lower()
    assert not any(word in said for word in ("error", "traceback", "reach", "hint"))


def test_nothing_is_printed_between_what_somebody_types(tmp_path: Path) -> None:
    words = {"COMP_WORDS": "zmesh run ma", "COMP_CWORD": "2", "_ZMESH_COMPLETE": "bash_complete"}
    terminal, errors = pty.openpty()
    done = subprocess.run(
        ["zmesh"], env=environment(tmp_path, **words), stdout=subprocess.PIPE, stderr=errors, check=True
    )
    os.write(errors, b"end")
    assert (bool(done.stdout), os.read(terminal, 4096)) == (True, b"end")
    os.close(errors)
    os.close(terminal)
