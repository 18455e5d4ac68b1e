"""Attacks as functions that somebody has deployed, and a neighbour at work while they run."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.attacks.catalogue import STATEMENTS, Attack
from tests.attacks.conftest import Arena
from tests.conftest import API_PASSWORD, LISTENER_PASSWORD
from tests.processes import descendants

AT_ONCE = 6
WORD = "the-neighbours-secret-word"
# What a neighbour does again and again: leave secrets where it can, and look whether they are as it left them.
VICTIM = {
    "python": """
import os, time
def handler(payload, zmesh):
    word = os.environ["WORD"]
    for name in ("mine.txt", "tmp/mine.txt"):
        with open(name, "w") as file:
            file.write(word)
    zmesh.db.query("update notes set n = n + 1")
    time.sleep(0.1)
    return {
        "n": payload["n"],
        "kept": [open(name).read() == word for name in ("mine.txt", "tmp/mine.txt")],
        "files": sorted(os.listdir()),
        "variables": sorted(set(os.environ) - {"LC_CTYPE"}),
    }
""",
    "javascript": """
const fs = require("fs");
exports.handler = async (payload, zmesh) => {
  const word = process.env.WORD, names = ["mine.txt", "tmp/mine.txt"];
  for (const name of names) fs.writeFileSync(name, word);
  await zmesh.db.query("update notes set n = n + 1");
  await new Promise((resolve) => setTimeout(resolve, 100));
  return {
    n: payload.n,
    kept: names.map((name) => fs.readFileSync(name, "utf8") === word),
    files: fs.readdirSync(".").sort(),
    variables: Object.keys(process.env).filter((name) => !["LC_CTYPE", "NODE_PATH"].includes(name)).sort(),
  };
};
""",
}
UNHARMED = {
    "kept": [True, True],
    "files": [".shm", "mine.txt", "tmp"],
    "variables": ["HOME", "LANG", "MALLOC_ARENA_MAX", "PATH", "TMPDIR", "WORD"],
}


@dataclass(frozen=True)
class Battle:
    """What came of all attacks, made at the same time."""

    answers: dict[str, httpx.Response]
    logs: dict[str, str]
    victims: list[Any]
    secrets: list[str]


def fight(arena: Arena, attacks: Sequence[Attack]) -> Battle:
    """All attacks at the same time as far as they fit, and the neighbour at work."""
    arena.victim.sql("drop table if exists notes")
    arena.victim.sql("create table notes as select 0 as n")
    for language, code in VICTIM.items():
        arena.victim.deploy(f"victim-{language}", code, language, env_vars={"WORD": WORD})
    with socket.socket(socket.AF_UNIX) as abstract, ThreadPoolExecutor(AT_ONCE + 2) as pool:
        abstract.bind(f"\0zmesh-attacked-{os.getpid()}")
        abstract.listen()
        payload = knowledge(arena)
        over = threading.Event()
        victims = [pool.submit(work, arena, language, over) for language in VICTIM]
        answers = dict(pool.map(lambda attack: (attack.slug, carry_out(arena, attack, payload)), attacks))
        over.set()
        results = [result for victim in victims for result in victim.result()]
    logs = {slug: arena.attacker.request("GET", f"/functions/{slug}/invocations").text for slug in answers}
    return Battle(answers, logs, results, secrets_of(arena))


def carry_out(arena: Arena, attack: Attack, payload: dict[str, Any]) -> httpx.Response:
    arena.attacker.deploy(attack.slug, attack.code, attack.language, **attack.settings)
    return arena.attacker.invoke(attack.slug, {**payload, "script": attack.script})


def work(arena: Arena, language: str, over: threading.Event) -> list[Any]:
    results = []
    while not over.is_set():
        n = len(results)
        answer = arena.victim.invoke(f"victim-{language}", {"n": n}).json()
        results.append(answer["result"] == {"n": n, **UNHARMED} or answer)
    return results


def knowledge(arena: Arena) -> dict[str, Any]:
    """What somebody who attacks may know, or guess."""
    here = [os.getpid(), *descendants(os.getpid())]
    database = urlsplit(arena.attacker.database_url)
    victim = urlsplit(arena.victim.database_url)
    schema = arena.database.value("select schema_name from zmesh.projects where role_name = %s", victim.username)
    names = {"VICTIM_SCHEMA": schema, "VICTIM": victim.username or ""}
    statements = STATEMENTS
    for name, value in names.items():
        statements = [statement.replace(name, value) for statement in statements]
    repository = Path(__file__).parents[2]
    data = f"/proc/{here[0]}/cwd"
    return {
        "python": os.path.realpath(sys.executable),  # runs see the interpreter, not the virtual environment
        "pids": here,
        "paths": [str(path) for path in (
            *(repository / name for name in ("pyproject.toml", "listener/settings.py", "sql/migrate.py", ".env")),
            *arena.parts.folder.glob("*"), "/etc/shadow", Path("~root/.bashrc").expanduser(), "/proc/1/environ",
            "/proc/kcore", "/dev/mem", data)],
        "patterns": [f"{secret[:-1]}[{secret[-1]}]" for secret in secrets_of(arena)],
        "abstract": f"zmesh-attacked-{os.getpid()}",
        "ports": [urlsplit(arena.attacker.url).port, database.port],
        "sockets": [f"/proc/{pid}/cwd/.s.PGSQL.{database.port}" for pid in here],
        "postgres": database.port,
        "database": database.path[1:],
        "roles": ["postgres", "zmesh_api", "zmesh_listener", "zmesh_owner", victim.username],
        "statements": statements,
    }  # fmt: skip


def secrets_of(arena: Arena) -> list[str]:
    """Texts that only the platform or the neighbour has."""
    victim = arena.victim
    password = urlsplit(victim.database_url).password
    assert password is not None
    return [
        *(arena.parts.jwt_key, arena.database.secret_key, API_PASSWORD, LISTENER_PASSWORD),
        *(password, victim.api_key, victim.token, WORD),
    ]


def assert_repelled(battle: Battle, attack: Attack) -> None:
    """Its caller got the answer listed in the catalogue, and neither that nor its logs contain a secret."""
    answer = battle.answers[attack.slug]
    envelope = answer.json()
    assert attack.check(envelope), json.dumps(envelope)[:3000]
    assert not [secret for secret in battle.secrets if secret in answer.text + battle.logs[attack.slug]]


def assert_unharmed(battle: Battle, arena: Arena) -> None:
    """Each result of the neighbour was correct, and so is the count in its database."""
    harmed = [result for result in battle.victims if result is not True]
    assert harmed == []
    assert len(battle.victims) > 10
    assert arena.victim.sql("select n from notes") == [{"n": len(battle.victims)}]
