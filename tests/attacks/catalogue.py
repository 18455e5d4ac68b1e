"""The attacks, each as the code of a function, with what it may and may not get."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.sandbox import attacks
from tests.sandbox.test_attacks import CHANNEL, DAEMONS, FLOODS, GARBAGE, TREES
from tests.sandbox.test_limits import BUSY, IGNORING, MEMORY

Envelope = dict[str, Any]
Check = Callable[[Envelope], bool]

# In JavaScript what needs system calls is done by a child: it is confined as its parent is.
BY_CHILD = """
const { spawnSync } = require("child_process");
exports.handler = (payload) => {
  const child = spawnSync(payload.python, ["-I", "-c", payload.script, JSON.stringify(payload)], { encoding: "utf8" });
  if (child.status !== 0) throw new Error(child.stderr || `signal ${child.signal}`);
  return JSON.parse(child.stdout);
};
"""


@dataclass(frozen=True)
class Attack:
    """`check` looks at the envelope that the attacker's caller got; `script` is what a child of JavaScript runs."""

    name: str
    language: str
    code: str
    check: Check
    script: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def slug(self) -> str:
        return re.sub("[^a-z0-9]+", "-", f"{self.language} {self.name}".lower())


def handler(language: str, body: str) -> str:
    body = textwrap.dedent(body).strip("\n")
    if language == "python":
        return "def handler(payload, zmesh):\n" + textwrap.indent(body, "    ")
    return "exports.handler = async (payload, zmesh) => {\n" + body + "\n};"


def fails_with(*types: str) -> Check:
    """The caller is told one of these types of error."""
    return lambda envelope: (envelope["error"] or {}).get("type") in types


def gets(expected: Callable[[Any], bool]) -> Check:
    return lambda envelope: envelope["status"] == "success" and expected(envelope["result"])


def all_refused(*errors: str) -> Check:
    return gets(lambda result: bool(result) and set(result.values()) <= set(errors))


def in_both(name: str, body: str, check: Check, **settings: Any) -> list[Attack]:
    """An attack in Python, and the same by a child of JavaScript."""
    code = attacks.python(body)
    script = f"{code}\nimport json\nprint(json.dumps(handler(json.loads(sys.argv[1]), None)))"
    return [
        Attack(name, "python", code, check, settings=settings),
        Attack(name, "javascript", BY_CHILD, check, script, settings),
    ]


def of_each(name: str, bodies: dict[str, str], check: Check, **settings: Any) -> list[Attack]:
    return [
        Attack(name, language, handler(language, body), check, settings=settings) for language, body in bodies.items()
    ]


# Secrets. What they find is returned; the tests look whether anything in it is secret.

PROCESSES = """
found = []
there = {int(name) for name in os.listdir("/proc") if name.isdigit()}
for pid in sorted(there | set(payload["pids"]) | set(range(1, 60))):
    if pid == os.getpid():
        continue
    for name in ("environ", "cmdline", "maps", "mem", "fd", "cwd", "root"):
        path = f"/proc/{pid}/{name}"
        try:
            if name == "fd":
                found += [os.readlink(f"{path}/{fd}") for fd in os.listdir(path)]
            elif name in ("cwd", "root"):
                found += os.listdir(path) if pid > 1 else []
            else:
                found.append(open(path, "rb").read(1 << 20).decode("latin-1"))
        except OSError:
            pass
return {"text": "\\n".join(found)[:1_000_000]}
"""
OWN_MEMORY = """
import re
secret = re.compile("|".join(payload["patterns"]).encode())
count = 0
with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
    for line in maps:
        start, end, mode = re.match("([0-9a-f]+)-([0-9a-f]+) (....)", line).groups()
        if mode[0] != "r" or "[v" in line:
            continue
        for at in range(int(start, 16), int(end, 16), 1 << 20):
            try:
                memory.seek(at)
                count += len(secret.findall(memory.read(min(1 << 20, int(end, 16) - at))))
            except (OSError, ValueError, OverflowError):
                break
return {"found": count}
"""
FILES = """
found = []
for path in payload["paths"]:
    for attempt in (lambda: open(path, errors="replace").read(100_000), lambda: "\\n".join(os.listdir(path))):
        try:
            found.append(attempt())
        except OSError:
            pass
for folder in ("/workspace", "/tmp", "/var", "/run", "/root", "/home", "/dev/shm", "/mnt", "/opt", "/srv", "/etc"):
    for current, folders, files in os.walk(folder):
        found += [f"{current}/{name}" for name in files]
return {"text": "\\n".join(found)[:1_000_000], "mine": any("mine.txt" in name for name in found)}
"""
NEIGHBOURS = """
answers = {}
for pid in payload["pids"]:
    answers[f"ptrace {pid}"] = syscall(101, 16, pid, 0, 0)
    answers[f"process_vm_readv {pid}"] = syscall(310, pid, 0, 0, 0, 0, 0)
    answers[f"pidfd_open {pid}"] = syscall(434, pid, 0)
    for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM):
        answers[f"kill {pid} {number}"] = error_of(lambda: os.kill(pid, number))
answers["kill init"] = error_of(lambda: os.kill(1, signal.SIGKILL))
return answers
"""
ABSTRACT_SOCKETS = """
import socket
return {"connect": error_of(lambda: socket.socket(socket.AF_UNIX).connect("\\0" + payload["abstract"]))}
"""
SERVICES = """
import re, socket
ports = {int(line.split()[1].rpartition(":")[2], 16) for name in ("tcp", "tcp6") if os.path.exists(f"/proc/net/{name}")
         for line in open(f"/proc/net/{name}").readlines()[1:] if line.split()[3] == "0A"} | set(payload["ports"])
found = []
for port in sorted(ports):
    for path in ("/functions", "/invocations/00000000-0000-0000-0000-000000000000", "/console/", "/schema"):
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as server:
                server.settimeout(0.3)
                server.sendall(f"GET {path} HTTP/1.0\\r\\nhost: localhost\\r\\n\\r\\n".encode())
                found.append(f"{port} " + server.recv(65536).decode("latin-1"))
        except OSError:
            pass
return {"text": "\\n".join(found), "ports": sorted(ports)}
"""
SOCKETS_OF_POSTGRES = """
import glob, socket
answers = {}
paths = payload["sockets"] + glob.glob("/var/run/postgresql/.s.*") + glob.glob("/tmp/.s.*") + glob.glob("/run/*/.s.*")
for path in paths:
    answers[path] = error_of(lambda: socket.socket(socket.AF_UNIX).connect(path))
return answers
"""
PASSWORDS = """
import psycopg
answers = {}
for role in payload["roles"]:
    for password in ("", role, "postgres", "zmesh", "password"):
        try:
            psycopg.connect(host="127.0.0.1", port=payload["postgres"], dbname=payload["database"], user=role,
                            password=password, connect_timeout=5).close()
            answers[f"{role} {password}"] = "done"
        except psycopg.OperationalError as error:
            answers[f"{role} {password}"] = "refused"
return answers
"""
STATEMENTS = [
    *(f"set role {role}" for role in ("zmesh_owner", "zmesh_api", "zmesh_listener", "postgres", "VICTIM")),
    "set session authorization postgres",
    *(f"select * from zmesh.{name}" for name in (
        "queue", "history", "waiters", "functions", "function_versions", "projects", "project_databases", "api_keys",
        "users", "memberships", "webhooks", "settings", "listeners", "idempotency_keys", "clock")),
    "select * from VICTIM_SCHEMA.notes",
    "create table VICTIM_SCHEMA.mine (id integer)",
    "select rolpassword from pg_authid",
    "copy (select 1) to program 'id'",
    "copy (select 1) to '/tmp/zmesh-was-here'",
    "select pg_read_file('/etc/passwd')",
    "select pg_ls_dir('.')",
    "select lo_import('/etc/passwd')",
    "select pg_reload_conf()",
    "select pg_terminate_backend(pid) from pg_stat_activity where usename <> current_user and usename is not null",
    "alter system set work_mem = '1GB'",
    "alter role current_user superuser",
    "alter role current_user createrole",
    "alter role current_user connection limit -1",
    "alter role current_user set session_preload_libraries = 'x'",
    "create extension dblink",
    "create schema mine",
    "create table zmesh.mine (id integer)",
    "create function zmesh.now() returns timestamptz language sql return null",
    "create trigger mine before insert on zmesh.invocations for each row execute function tsvector_update_trigger()",
    "create event trigger mine on ddl_command_start execute function zmesh.notify_unless_congested()",
    "create publication mine",
    "select pg_create_physical_replication_slot('mine')",
    "select * from zmesh.claim(gen_random_uuid(), 1)",
    "select zmesh.cancel(array[gen_random_uuid()])",
    "select zmesh.end_harmful_sessions()",
    "insert into zmesh.invocations (project_id, function) values (gen_random_uuid(), 'victim')",
    "update zmesh.invocations set payload = '{}'",
    "delete from zmesh.invocations",
    "set row_security = off; select * from zmesh.invocations",
    "lock table zmesh.invocations in exclusive mode",
]  # fmt: skip
OWN_ROLE = {
    "python": """
        answers = {}
        for statement in payload["statements"]:
            try:
                with zmesh.db.transaction() as transaction:
                    for part in statement.split("; "):
                        transaction.query(part)
                answers[statement] = "done"
            except Exception as error:
                answers[statement] = "refused"
        rows = zmesh.db.query("select * from zmesh.invocations") + zmesh.db.query("select * from zmesh.schedules")
        rows += zmesh.db.query("select * from zmesh.logs") + zmesh.db.query("select query from pg_stat_activity")
        return {"answers": answers, "text": repr(rows)[:500_000]}
    """,
    "javascript": """
        const answers = {};
        for (const statement of payload.statements) {
          try {
            await zmesh.db.transaction(async (db) => {
              for (const part of statement.split("; ")) await db.query(part);
            });
            answers[statement] = "done";
          } catch (error) {
            answers[statement] = "refused";
          }
        }
        const rows = [];
        for (const name of ["zmesh.invocations", "zmesh.schedules", "zmesh.logs", "pg_stat_activity"])
          rows.push(await zmesh.db.query(`select * from ${name}`));
        return { answers, text: JSON.stringify(rows).slice(0, 500000) };
    """,
}


def finds_nothing(result: Any) -> bool:
    return isinstance(result, dict) and not result.get("mine") and not result.get("found")


SECRETS = [
    *in_both("memory of processes", PROCESSES, gets(finds_nothing)),
    *in_both("own memory", OWN_MEMORY, gets(finds_nothing)),
    *in_both("files", FILES, gets(finds_nothing)),
    *in_both("neighbours", NEIGHBOURS, all_refused("EPERM", "ESRCH")),
    *in_both("shared objects", attacks.SHARED_OBJECTS, all_refused("EPERM")),
    *in_both("abstract sockets", ABSTRACT_SOCKETS, all_refused("EPERM")),
    *in_both("services", SERVICES, gets(lambda result: bool(result["text"]))),
    *in_both("sockets of postgres", SOCKETS_OF_POSTGRES, all_refused("ENOENT", "EACCES", "ECONNREFUSED")),
    Attack("passwords", "python", attacks.python(PASSWORDS), all_refused("refused")),
    *of_each("own role", OWN_ROLE, gets(lambda result: set(result["answers"].values()) == {"refused"})),
]  # fmt: skip

EVERY_ESCAPE = [
    *in_both("system calls out", attacks.SYSTEM_CALLS_OUT,
             gets(lambda r: set(r["refused"].values()) == {"EPERM"} and set(r["absent"].values()) == {"ENOSYS"})),
    *in_both("other architectures", attacks.OTHER_ARCHITECTURES,
             gets(lambda r: r == {"x32": 31, "x32 mount": 31, "i386": 31, "own": -7})),
    *in_both("other users", attacks.OTHER_USERS, gets(lambda r: r["still"] and set(r["capabilities"]) == {"0" * 16})),
    *in_both("terminals", attacks.TERMINALS, all_refused("EPERM")),
    Attack("higher limits", "python", attacks.python(attacks.HIGHER_LIMITS), all_refused("refused", "EPERM", "EACCES")),
    *in_both("socket protocols", attacks.SOCKET_PROTOCOLS, all_refused("EPROTONOSUPPORT")),
    *in_both("uncounted memory", attacks.UNCOUNTED_MEMORY, all_refused("EPERM", "ENODEV", "EACCES")),
]  # fmt: skip
ESCAPES = [attack for attack in EVERY_ESCAPE if attack.language == "python"]

# One of each kind; the others, which take the machine's time, are HEAVY.
RESOURCES = [
    *of_each("busy loop", BUSY, fails_with("timeout"), timeout_ms=700),
    *of_each("ignoring signals", IGNORING, fails_with("timeout"), timeout_ms=700),
    *of_each("one file", {
        "python": "open('big', 'wb').write(bytes(11 << 20))",
        "javascript": "require('fs').writeFileSync('big', Buffer.alloc(11 << 20));"}, fails_with("file_size_limit")),
    *of_each("open files", {
        "python": "kept = [open('/dev/null') for _ in range(1000)]",
        "javascript": "for (let n = 0; n < 1000; n++) require('fs').openSync('/dev/null');"},
        fails_with("open_files_limit")),
    *of_each("processes", {
        "python": "import os, time\nfor _ in range(60):\n    if os.fork() == 0:\n        time.sleep(20)",
        "javascript": """
            const { spawn } = require("child_process");
            await Promise.all(Array.from({ length: 80 }, () => new Promise((resolve, reject) => {
              spawn("/bin/sleep", ["20"]).on("error", reject);
            })));"""}, fails_with("process_limit")),
    *of_each("a cycle", {"python": "a = []\na.append(a)\nreturn a", "javascript": "const a = []; a.push(a); return a;"},
             fails_with("invalid_result")),
    *of_each("no number", {"python": "return float('nan')", "javascript": "return 1n;"}, fails_with("invalid_result")),
    *of_each("telling of no memory", {
        "python": "import os\nos.write(2, b'FATAL ERROR: heap out of memory')\nos._exit(0)",
        "javascript": "console.error('FATAL ERROR: heap out of memory'); process.exit(0);"}, fails_with("exited")),
    *of_each("killing its parent", {
        "python": "import os\nos.kill(os.getppid() or 1, 9)\nreturn 1",
        "javascript": "process.kill(process.ppid || 1, 'SIGKILL'); return 1;"},
        fails_with("PermissionError", "Error")),
    *of_each("a child that stays", {
        "python": f"import os, time, signal\n{DAEMONS['holding standard output open']}\nreturn 'done'",
        "javascript": """
            const { spawn } = require("child_process");
            spawn("/bin/sh", ["-c", "trap '' TERM HUP; setsid sleep 60 & sleep 60"],
                  { detached: true, stdio: "ignore" }).unref();
            setInterval(() => {}, 1000);
            return "done";"""}, gets(lambda result: result == "done")),
    Attack("two results", "python", CHANNEL + handler("python", """
        send(frame(b"R", b'"first"') + frame(b"R", b'"second"') + frame(b"E", b'{"type": "x", "message": "y"}'))
        return "third" """), gets(lambda result: result == "first")),
    Attack("a result of a child", "javascript", handler("javascript", """
        const { spawnSync } = require("child_process");
        const frame = "R\\\\0\\\\0\\\\0\\\\7" + JSON.stringify("child");
        spawnSync("/bin/sh", ["-c", `printf '${frame}' >&3`], { stdio: ["ignore", "pipe", "pipe", 3] });
        return "parent"; """), gets(lambda result: result in ("parent", "child"))),
]  # fmt: skip

HEAVY = [
    *(attack for attack in EVERY_ESCAPE if attack not in ESCAPES),
    *(Attack(f"memory by {what}", language, handler(language, body), fails_with("memory_limit", "RangeError"),
             settings={"timeout_ms": 10_000, "memory_mb": 128}) for language, what, body in MEMORY),
    *of_each("all files", {
        "python": "for n in range(1000):\n    open(f'f{n}', 'wb').write(bytes(9 << 20))",
        "javascript": "for (let n = 0; n < 1000; n++) require('fs').writeFileSync(`f${n}`, Buffer.alloc(9 << 20));"},
        fails_with("workspace_limit")),
    *of_each("a huge result", {"python": "return 'x' * (9 << 20)", "javascript": "return 'x'.repeat(9 << 20);"},
             fails_with("result_too_large")),
    *(Attack(f"daemon {name}", "python", handler("python", f"import os, time, signal\n{body}\nreturn 'done'"),
             gets(lambda result: result == "done")) for name, body in DAEMONS.items()),
    *(Attack(f"channel {what}", "python", CHANNEL + handler("python", f"{body}\nimport time\ntime.sleep(20)"),
             fails_with(error), settings={"timeout_ms": 15_000}) for what, body, error in GARBAGE),
    *(Attack(f"tree {name}", "python", handler("python", f"import os\n{TREES[name]}\nreturn 1"),
             gets(lambda result: result == 1), settings={"timeout_ms": 20_000}) for name in TREES),
    *(Attack(f"flood of {what}", "python", CHANNEL + handler("python", body), lambda envelope: True,
             settings={"timeout_ms": 1500}) for what, body in FLOODS.items()),
    *of_each("a fork bomb", {
        "python": "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass",
        "javascript": """
            const { spawn } = require("child_process");
            while (true) {
              spawn("/bin/sh", ["-c", "while :; do (:) & done"], { stdio: "ignore" }).on("error", () => {});
              await new Promise((resolve) => setTimeout(resolve, 1));
            }"""}, fails_with("timeout", "cpu_limit", "memory_limit"), timeout_ms=2000),
    Attack("fifty children with memory", "python", handler("python", """
        import os, time
        for _ in range(50):
            if os.fork() == 0:
                data = bytearray(b"x") * (60 << 20)
                time.sleep(20)
        time.sleep(20) """), fails_with("memory_limit"), settings={"timeout_ms": 10_000, "memory_mb": 128}),
    *of_each("a million files", {
        "python": "for n in range(1_000_000):\n    open(f'f{n}', 'x').close()",
        "javascript": "for (let n = 0; n < 1e6; n++) require('fs').writeFileSync(`f${n}`, '');"},
        fails_with("workspace_limit")),
    *of_each("time of children", {
        "python": "import os, time\nfor _ in range(8):\n    if os.fork() == 0:\n        while True:\n            pass\n"
                  "time.sleep(20)",
        "javascript": """
            const { spawn } = require("child_process");
            for (let n = 0; n < 8; n++) spawn("/bin/sh", ["-c", "while :; do :; done"]);
            await new Promise((resolve) => setTimeout(resolve, 20000));"""},
        fails_with("cpu_limit", "timeout"), timeout_ms=4000),
]  # fmt: skip
