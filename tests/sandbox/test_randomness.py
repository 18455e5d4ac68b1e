"""Each run draws fresh randomness for protocols: two forks of one template share no secret."""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.processes import children_of, descendants
from tests.sandbox.conftest import KINDS
from tests.sandbox.hosts import Host, name_of

RUNS = 4
WITH_NAMESPACES = [kind for kind in KINDS if not kind.startswith("process")]

# A server of the run's own, which only wants to hear what a driver says first.
PYTHON = """
import base64, os, random, secrets, socket, ssl, tempfile, threading, uuid

OFFER = b"R\\x00\\x00\\x00\\x17\\x00\\x00\\x00\\nSCRAM-SHA-256\\x00\\x00"

def first_words(connect, scram):
    server = socket.create_server(("127.0.0.1", 0))
    heard = []
    def listen():
        with server, server.accept()[0] as peer:
            peer.settimeout(5)
            peer.recv(4096)
            peer.sendall(OFFER if scram else b"S")
            heard.append(peer.recv(8192))
    thread = threading.Thread(target=listen)
    thread.start()
    mode = "disable" if scram else "require"
    try:
        connect(f"host=127.0.0.1 port={server.getsockname()[1]} user=u password=p dbname=d sslmode={mode} gssencmode=disable")
    except Exception:
        pass
    thread.join()
    return base64.b64encode(heard[0]).decode()

def authkey():
    try:
        import multiprocessing
    except ImportError:  # where the template has not loaded it, and the user of runs cannot
        return secrets.token_hex(8)
    return multiprocessing.current_process().authkey.hex()

def hello_of_ssl():
    sent = ssl.MemoryBIO()
    context = ssl.create_default_context()
    try:
        context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname="example.com").do_handshake()
    except ssl.SSLWantReadError:
        return base64.b64encode(sent.read()).decode()

def handler(payload, zmesh):
    import psycopg, psycopg2
    return {
        "tls": {
            "ssl": hello_of_ssl(),
            "psycopg": first_words(psycopg.connect, False),
            "psycopg2": first_words(psycopg2.connect, False),
        },
        "scram": {
            "psycopg": first_words(psycopg.connect, True),
            "psycopg2": first_words(psycopg2.connect, True),
        },
        "other": {
            "ssl.RAND_bytes": ssl.RAND_bytes(8).hex(),
            "random": random.random(),
            "secrets": secrets.token_hex(8),
            "uuid1": str(uuid.uuid1()),
            "uuid4": str(uuid.uuid4()),
            "tempfile": os.path.basename(tempfile.mktemp()),
            "sqlite": __import__("sqlite3").connect(":memory:").execute("select random()").fetchone()[0],
            "authkey": authkey(),
        },
    }
"""
JAVASCRIPT = """
const crypto = require('crypto');
const net = require('net');
const tls = require('tls');
const { Client } = require('pg');
const OFFER = Buffer.from('R\\0\\0\\0\\x17\\0\\0\\0\\nSCRAM-SHA-256\\0\\0', 'latin1');

/** What a client says, in answer to this if there is such. */
async function firstWords(connect, offer) {
  const { promise, resolve } = Promise.withResolvers();
  const server = net.createServer((socket) => {
    let offered = !offer;
    socket.on('error', () => {}).on('data', (data) => {
      if (offered) return resolve(data.toString('base64')), socket.destroy();
      offered = true;
      socket.write(offer);
    });
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  connect(server.address().port);
  const words = await promise;
  server.close();
  return words;
}

exports.handler = async () => ({
  tls: {
    tls: await firstWords((port) => tls.connect(port, '127.0.0.1').on('error', () => {})),
    pg: await firstWords((port) => pg(port, { rejectUnauthorized: false }), Buffer.from('S')),
  },
  scram: { pg: await firstWords((port) => pg(port, false), OFFER) },
  other: {
    random: Math.random(),
    randomBytes: crypto.randomBytes(8).toString('hex'),
    asynchronousRandomBytes: (await new Promise((got) => crypto.randomBytes(8, (_, b) => got(b)))).toString('hex'),
    randomUUID: crypto.randomUUID(),
    getRandomValues: crypto.getRandomValues(new Uint32Array(2)).join(),
    randomInt: crypto.randomInt(2 ** 47),
    key: crypto.generateKeyPairSync('x25519').publicKey.export({ type: 'spki', format: 'der' }).toString('hex'),
  },
});

function pg(port, ssl) {
  const client = new Client({ host: '127.0.0.1', port, user: 'u', password: 'p', database: 'd', ssl });
  client.on('error', () => {});
  client.connect().catch(() => {});
}
"""


def test_no_two_runs_draw_the_same_nonces_keys_or_numbers(host: Host, language: str) -> None:
    assert_all_different(host, language)


@pytest.mark.parametrize("kind", WITH_NAMESPACES)
def test_runs_without_native_code_draw_different_values_too(kind: str, make_host: Callable[..., Host]) -> None:
    host = make_host(kind, forked=False)

    for language in ("python", "javascript"):
        assert_all_different(host, language)
    host.close()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "process_of_user"])
def test_each_template_has_a_hash_seed_of_its_own(kind: str, host: Host, make_host: Callable[..., Host]) -> None:
    """Whatever the listener's is: keys that were made beforehand to collide do not."""
    another = make_host(kind)
    hosts = [host, another]

    seen = [host.value("python", "import sys\nreturn [hash('key'), sys.flags.hash_randomization]") for host in hosts]

    assert len({hash_of_key for hash_of_key, _ in seen}) == len(hosts)
    assert [randomized for _, randomized in seen] == [1, 1]
    another.close()


def test_no_run_has_the_process_number_of_its_template(host: Host, language: str) -> None:
    """By which a library that we do not know would notice the fork."""
    body = {"python": "import os\nreturn os.getpid()", "javascript": "return process.pid;"}[language]

    numbers = {host.value(language, body) for _ in range(RUNS)}

    templates = {own_number(pid) for pid in templates_of(host, language)}
    assert templates
    assert not numbers & templates


def templates_of(host: Host, language: str) -> list[int]:
    """The processes that runs of a language are forked from."""
    holders = [pid for pid in descendants(host.process.pid) if name_of(pid).startswith("zmesh-template")]
    if host.report.node == "started":
        return holders
    program = {"python": "python", "javascript": "node"}[language]
    return [pid for holder in holders for pid in children_of(holder) if program_of(pid).startswith(program)]


def program_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        return os.path.basename(os.readlink(f"/proc/{pid}/exe"))
    return "gone"


def own_number(pid: int) -> int:
    """The number that a process has in its own namespace."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("NSpid:")]
    return int(line.split()[-1])


def assert_all_different(host: Host, language: str) -> None:
    code = {"python": PYTHON, "javascript": JAVASCRIPT}[language]
    runs = [drawn(host.value(language, code, whole=True)) for _ in range(RUNS)]

    counts = {name: len({str(run[name]) for run in runs}) for name in runs[0]}
    assert counts == dict.fromkeys(runs[0], RUNS)


def drawn(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Each thing by name that must differ from run to run."""
    found = dict(answer["other"])
    for driver, text in answer["scram"].items():
        found[f"{driver}: nonce"] = nonce(base64.b64decode(text))
    for driver, text in answer["tls"].items():
        hello = base64.b64decode(text)
        found |= {f"{driver}: {part}": value for part, value in parts_of_client_hello(hello).items()}
    return found


def nonce(message: bytes) -> bytes:
    """Of a SCRAM client's first message."""
    assert b",r=" in message
    return message.partition(b",r=")[2]


def parts_of_client_hello(record: bytes) -> dict[str, bytes]:
    """The random, and the key shares (RFC 8446, 4.1.2 and 4.2.8)."""
    assert record[0] == 22
    assert record[5] == 1
    at = 43  # after the heads of record and message, the version, and the random of 32 bytes
    at += 1 + record[at]  # the session's id
    at += 2 + int.from_bytes(record[at : at + 2])  # ciphers
    at += 1 + record[at] + 2  # compressions, and the length of what follows
    extensions = {}
    while at < len(record):
        kind, size = int.from_bytes(record[at : at + 2]), int.from_bytes(record[at + 2 : at + 4])
        extensions[kind] = record[at + 4 : at + 4 + size]
        at += 4 + size
    return {"random": record[11:43], "key share": extensions[51]}
