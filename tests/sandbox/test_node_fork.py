"""JavaScript behaves the same in a process forked from a booted Node.js and in one started for the run."""

from __future__ import annotations

import asyncio
import http.server
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from sandbox import Limits, RunOutcome, RunRequest, Sandbox, native

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["forked", "started"])
async def sandbox(request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    """One that forks Node.js, and one that starts it for each run."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "started":
            patch.setattr(native, "NODE_ADDON", "/nowhere")
        sandbox = Sandbox(slots=4)
        await sandbox.start()
    if request.param == "forked" and not sandbox._settings.native:
        pytest.skip(f"Node.js cannot be forked here: {sandbox.report().gaps}")
    assert sandbox._settings.native == (request.param == "forked")
    yield sandbox
    await sandbox.close()


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    """The port of an HTTP server on this machine that answers `hello`."""

    class Hello(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hello) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield listening.server_port
        listening.shutdown()


async def outcome_of(sandbox: Sandbox, body: str, payload: Any = None, limits: Limits | None = None) -> RunOutcome:
    code = "exports.handler = async (payload, zmesh) => {\n" + body + "\n};"
    limits = limits or Limits()
    return await sandbox.run(RunRequest("javascript", code, "handler", "user.js", json.dumps(payload), limits=limits))


async def value_of(sandbox: Sandbox, body: str, payload: Any = None) -> Any:
    outcome = await outcome_of(sandbox, body, payload)
    assert outcome.result_json is not None, outcome
    return json.loads(outcome.result_json)


# What works, and what it gives
ABILITIES = {
    "timers": ("await new Promise((r) => setTimeout(r, 20)); return 1", 1),
    "setImmediate": ("return await new Promise((r) => setImmediate(r, 2))", 2),
    "queueMicrotask": ("return await new Promise((r) => queueMicrotask(() => r(3)))", 3),
    "import()": ("return typeof (await import('node:path')).join", "function"),
    "import() of pg": ("return typeof (await import('pg')).default.Client", "function"),
    "require of a file": (
        "require('fs').writeFileSync('a.js', 'module.exports = 4'); return require('./a.js')",
        4,
    ),
    "import() of a file": (
        "require('fs').writeFileSync('b.mjs', 'export default 5'); return (await import(process.cwd() + '/b.mjs')).default",
        5,
    ),
    "the thread pool": (
        "const fs = require('fs').promises; await fs.writeFile('c', 'six'); return await fs.readFile('c', 'utf8')",
        "six",
    ),
    "streams": (
        "const { pipeline } = require('stream/promises'), fs = require('fs'), zlib = require('zlib');"
        "fs.writeFileSync('d', 'x'.repeat(1e6));"
        "await pipeline(fs.createReadStream('d'), zlib.createGzip(), fs.createWriteStream('e'));"
        "await pipeline(fs.createReadStream('e'), zlib.createGunzip(), fs.createWriteStream('f'));"
        "return fs.statSync('f').size",
        1_000_000,
    ),
    "zlib": (
        "const z = require('zlib'), { promisify } = require('util');"
        "return (await promisify(z.gunzip)(await promisify(z.gzip)('seven'))).toString()",
        "seven",
    ),
    "dns": ("return (await require('dns').promises.lookup('localhost')).family > 0", True),
    "WebCrypto": ("return (await crypto.subtle.digest('SHA-256', Buffer.from('x'))).byteLength", 32),
    "scrypt": ("return require('util').promisify(require('crypto').scrypt)('a', 'b', 8).then((k) => k.length)", 8),
    "a child process": (
        "return (await require('util').promisify(require('child_process').execFile)('echo', ['nine'])).stdout",
        "nine\n",
    ),
    "spawnSync": ("return require('child_process').spawnSync('sh', ['-c', 'exit 7']).status", 7),
    "another Node.js": (
        "return require('child_process').execFileSync(process.execPath, ['-p', '5 + 5'], { encoding: 'utf8' })",
        "10\n",
    ),
    "child_process.fork": (
        "require('fs').writeFileSync('g.js', 'process.send(11)');"
        "return await new Promise((r) => require('child_process').fork('./g.js').on('message', r))",
        11,
    ),
    "a worker thread": (
        "const { Worker } = require('worker_threads');"
        "const w = new Worker('require(\"worker_threads\").parentPort.postMessage(12)', { eval: true });"
        "return await new Promise((r, j) => w.on('message', r).on('error', j))",
        12,
    ),
    "wasm": ("new WebAssembly.Module(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0])); return 13", 13),
    "wasm, compiled in the background": (
        "return (await WebAssembly.instantiate(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]))).instance !== null",
        True,
    ),
    "code that gets compiled": ("let s = 0; for (let i = 0; i < 3e7; i++) s = (s + i) | 0; return s", -918_471_104),
    "garbage": (
        "let a; for (let k = 0; k < 50; k++) a = Array.from({ length: 1e5 }, (_, i) => ({ i })); return a.length",
        100_000,
    ),
    "finalizers": (
        "require('v8').setFlagsFromString('--expose-gc'); const gc = require('vm').runInNewContext('gc'); let n = 0;"
        "globalThis.registry = new FinalizationRegistry(() => n++); (() => registry.register({}, 1))();"
        "while (n === 0) { gc(); await new Promise((r) => setTimeout(r, 5)) } return n",
        1,
    ),
    "a server of its own": (
        "const s = require('http').createServer((q, a) => a.end('own'));"
        "await new Promise((r) => s.listen(0, '127.0.0.1', r));"
        "return await (await fetch('http://127.0.0.1:' + s.address().port)).text()",
        "own",
    ),
    "AbortSignal.timeout": (
        "setTimeout(() => {}, 1e3);"
        "return await new Promise((r) => AbortSignal.timeout(20).addEventListener('abort', () => r(14)))",
        14,
    ),
    "AsyncLocalStorage": (
        "const { AsyncLocalStorage } = require('async_hooks'), s = new AsyncLocalStorage();"
        "return await s.run(15, async () => { await null; return s.getStore() })",
        15,
    ),
    "a signal to itself": (
        "setTimeout(() => {}, 1e3); const got = new Promise((r) => process.on('SIGUSR2', r));"
        "process.kill(process.pid, 'SIGUSR2'); return await got",
        "SIGUSR2",
    ),
    "an inspector": (
        "const { Session } = require('inspector'), s = new Session(); s.connect();"
        "return await new Promise((r) => s.post('Runtime.evaluate', { expression: '16' }, (e, v) => r(v.result.value)))",
        16,
    ),
    "a fresh context": ("return require('vm').runInNewContext('16 + 1')", 17),
    "structuredClone": ("return structuredClone(new Map([[1, 18]])).get(1)", 18),
    "Intl": ("return new Intl.NumberFormat('de').format(1234.5)", "1.234,5"),
}


@pytest.mark.parametrize("ability", ABILITIES)
async def test_what_a_started_node_can_do_works(sandbox: Sandbox, ability: str) -> None:
    body, expected = ABILITIES[ability]
    assert await value_of(sandbox, body) == expected


async def test_fetch_works(sandbox: Sandbox, server: int) -> None:
    assert (
        await value_of(sandbox, "return await (await fetch(payload)).text()", f"http://127.0.0.1:{server}") == "hello"
    )


# What it is


async def test_it_knows_its_own_process_number_and_its_parents(sandbox: Sandbox) -> None:
    seen = await value_of(
        sandbox,
        "const stat = require('fs').readFileSync('/proc/self/stat', 'utf8').split(' ');"
        "return [process.pid, process.ppid, Number(stat[0]), Number(stat[3]), Object.getOwnPropertyDescriptor(process, 'pid')]",
    )
    pid, parent, real_pid, real_parent, property_ = seen
    assert (pid, parent) == (real_pid, real_parent)
    assert parent == 1
    assert property_ == {"value": pid, "writable": False, "enumerable": True, "configurable": True}


async def test_arguments_folder_and_environment_are_those_of_a_start(sandbox: Sandbox) -> None:
    seen = await value_of(
        sandbox,
        "return [process.argv.length, process.argv[1], process.execArgv, process.cwd(), Object.keys(process.env).sort(), process.title]",
    )
    count, file, flags, folder, names, _ = seen
    assert count == 2
    assert file == "/workspace/user.js"
    assert [flag.partition("=")[0] for flag in flags] == [
        "--max-old-space-size",
        "--max-semi-space-size",
        "--disable-wasm-trap-handler",
        "--disable-sigusr1",
        "--enable-source-maps",
    ]
    assert folder == "/workspace"
    assert names == ["HOME", "LANG", "MALLOC_ARENA_MAX", "PATH", "TMPDIR"]


async def test_no_two_runs_draw_the_same_random_numbers(sandbox: Sandbox) -> None:
    body = """
    const { randomUUID, randomBytes, randomInt, getRandomValues } = require('crypto');
    return [
      Math.random(),
      require('vm').runInNewContext('Math.random()'),
      randomUUID(),
      crypto.randomUUID(),
      randomBytes(8).toString('hex'),
      randomInt(2 ** 47),
      getRandomValues(new Uint32Array(2)).join(),
      require('crypto').generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' }).d,
    ];
    """
    drawn = await asyncio.gather(*(value_of(sandbox, body) for _ in range(8)))
    for numbers in zip(*drawn, strict=True):
        assert len(set(numbers)) == len(drawn), numbers


async def test_clocks_agree(sandbox: Sandbox) -> None:
    before = time.time() * 1000
    seen = await value_of(
        sandbox,
        "performance.mark('m'); const now = performance.now();"
        "return { off: performance.timeOrigin + now - Date.now(), now, uptime: process.uptime() * 1000,"
        " mark: performance.getEntriesByName('m')[0].startTime, event: new Event('e').timeStamp,"
        " origin: performance.timeOrigin, json: performance.toJSON().timeOrigin }",
    )
    assert abs(seen["off"]) < 50
    for name in ("uptime", "mark", "event"):
        assert abs(seen[name] - seen["now"]) < 200, (name, seen)
    assert seen["origin"] == seen["json"]
    assert seen["origin"] < before + 60_000


async def test_no_two_runs_were_born_at_the_same_time(sandbox: Sandbox) -> None:
    born = [await value_of(sandbox, "return performance.timeOrigin") for _ in range(6)]
    assert len(set(born)) == len(born)


async def test_a_timer_waits_its_time_however_long_the_process_was_parked(sandbox: Sandbox) -> None:
    body = "const t = Date.now(); await new Promise((r) => setTimeout(r, 100)); return Date.now() - t"
    await value_of(sandbox, body)  # the next process is parked meanwhile
    parked_until = time.monotonic() + 0.5
    while time.monotonic() < parked_until:
        await asyncio.sleep(0.05)
    assert await value_of(sandbox, body) >= 99


async def test_stack_traces_have_the_users_lines(sandbox: Sandbox) -> None:
    outcome = await outcome_of(sandbox, "const fail = () => {\n  throw new TypeError('no');\n};\nfail();")
    assert outcome.error is not None
    assert (outcome.error.type, outcome.error.message) == ("TypeError", "no")
    assert outcome.error.stack is not None
    assert "user.js:3:" in outcome.error.stack
    assert "user.js:5:" in outcome.error.stack


async def test_source_maps_lead_to_the_original_lines(sandbox: Sandbox) -> None:
    body = """
    const map = { version: 3, sources: ['original.ts'], names: [], mappings: 'AAUA' };
    const url = 'data:application/json;base64,' + Buffer.from(JSON.stringify(map)).toString('base64');
    require('fs').writeFileSync('built.js', 'module.exports = new Error("x").stack;\\n//# sourceMappingURL=' + url);
    return require('./built.js');
    """
    assert "original.ts:11" in await value_of(sandbox, body)


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        ("process.exit(3)", "exited", "exit code 3"),
        ("process.on('exit', () => console.log('bye')); process.exit(0)", "exited", "exit code 0"),
        ("process.abort()", "crashed", "SIGABRT"),
        ("process.kill(process.pid, 'SIGKILL'); await new Promise(() => {})", "crashed", "SIGKILL"),
        ("process.kill(process.pid, 'SIGTERM'); await new Promise((r) => setTimeout(r, 5e3))", "crashed", "SIGTERM"),
        ("Promise.reject(new RangeError('late')); await new Promise((r) => setTimeout(r, 5e3))", "RangeError", "late"),
        (
            "setTimeout(() => { throw new Error('later') }, 5); await new Promise((r) => setTimeout(r, 5e3))",
            "Error",
            "later",
        ),
        ("await new Promise(() => {})", "no_result", "can never settle"),
    ],
)
async def test_every_end_is_told_as_it_was(sandbox: Sandbox, body: str, kind: str, message: str) -> None:
    outcome = await outcome_of(sandbox, body)
    assert outcome.error is not None
    assert outcome.error.type == kind
    assert message in outcome.error.message
    assert outcome.duration_ms < 4_000


async def test_process_exit_waits_for_no_thread(sandbox: Sandbox) -> None:
    outcome = await outcome_of(
        sandbox,
        "const { Worker } = require('worker_threads'); new Worker('for (;;);', { eval: true });"
        "await new Promise((r) => setTimeout(r, 50)); process.exit(5)",
    )
    assert outcome.error is not None
    assert "exit code 5" in outcome.error.message


async def test_standard_streams_and_the_console_become_log_lines(sandbox: Sandbox) -> None:
    outcome = await outcome_of(
        sandbox,
        "console.log('one %d', 1); console.error({ a: 2 }); process.stdout.write('three\\n');"
        "process.stderr.write('four\\n'); require('fs').writeSync(1, 'five\\n');"
        "require('child_process').execSync('echo six >&2', { stdio: 'inherit' }); return process.stdout.isTTY ?? false",
    )
    assert outcome.result_json == "false"
    lines = [(line.level, line.message) for line in outcome.logs]
    assert lines[:4] == [("info", "one 1"), ("error", "{ a: 2 }"), ("info", "three"), ("error", "four")]
    assert set(lines[4:]) == {("info", "five"), ("error", "six")}


async def test_standard_input_is_at_its_end(sandbox: Sandbox) -> None:
    assert await value_of(sandbox, "let n = 0; for await (const _ of process.stdin) n++; return n") == 0


@pytest.mark.parametrize(
    "attack",
    [
        "const keep = []; for (;;) keep.push({ a: [1, 2, 3], s: 'x'.repeat(10) + keep.length })",
        "const keep = []; for (;;) keep.push(Buffer.alloc(1 << 20, 1))",
        "const m = new WebAssembly.Memory({ initial: 1, maximum: 65536 });"
        "for (;;) { const old = m.grow(16); new Uint8Array(m.buffer, old << 16).fill(1) }",
        "const keep = []; for (;;) keep.push('x'.repeat(1 << 20) + keep.length + Math.random()), Buffer.from(keep.at(-1))",
    ],
    ids=["heap", "buffers", "wasm", "strings"],
)
@pytest.mark.parametrize("memory_mb", [64, 128, 300])
async def test_the_memory_limit_holds(sandbox: Sandbox, attack: str, memory_mb: int) -> None:
    outcome = await outcome_of(sandbox, attack, limits=Limits(memory_mb=memory_mb, timeout_ms=20_000))
    assert outcome.error is not None
    assert outcome.error.type in ("memory_limit", "RangeError"), outcome
    # 110 MB are the runtime's own; the rest is what can be filled before a busy machine lets the watchdog look.
    assert outcome.peak_memory_bytes < (memory_mb * 1.1 + 110 + 200) * 1024 * 1024


async def test_memory_within_the_limit_can_be_used(sandbox: Sandbox) -> None:
    body = "const b = Buffer.alloc(100 << 20, 1); const a = Array.from({ length: 2e6 }, (_, i) => i); return b.length + a.length"
    outcome = await outcome_of(sandbox, body, limits=Limits(memory_mb=192))
    assert outcome.result_json == str((100 << 20) + 2_000_000), outcome
