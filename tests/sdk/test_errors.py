"""What the caller learns when user code fails."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from tests.sdk.conftest import wrapped
from tests.sdk.runtimes import SDK, run


@pytest.mark.parametrize(
    ("language", "code", "stack"),
    [
        (
            "python",
            "def inner():\n    raise ValueError('bad')\n\ndef handler(payload, zmesh):\n    inner()\n",
            'Traceback (most recent call last):\n  File "send-welcome.py", line 5, in handler\n    inner()\n'
            "  File \"send-welcome.py\", line 2, in inner\n    raise ValueError('bad')\nValueError: bad",
        ),
        (
            "python",
            "import json\nasync def handler(payload, zmesh):\n    json.loads('{')\n",
            "Traceback (most recent call last):\n  File \"send-welcome.py\", line 3, in handler\n    json.loads('{')\n"
            "json.decoder.JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        ),
        (
            "javascript",
            "const inner = () => {\n  throw new TypeError('bad');\n};\nexports.handler = async () => {\n"
            "  await null;\n  inner();\n};",
            "TypeError: bad\n    at inner (send-welcome.js:2:9)\n    at exports.handler (send-welcome.js:6:3)",
        ),
        (
            "typescript",
            "exports.handler = async (\n  payload: unknown\n): Promise<void> => {\n  throw new TypeError('bad');\n};",
            "TypeError: bad\n    at exports.handler (send-welcome.ts:4:9)",
        ),
    ],
)
def test_the_stack_shows_the_users_own_lines_and_no_others(language: str, code: str, stack: str) -> None:
    assert run(language, code).error["stack"] == stack


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("python", "class PaymentRefused(Exception): pass\ndef handler(p, z): raise PaymentRefused('no')"),
        (
            "javascript",
            "class PaymentRefused extends Error {}\nexports.handler = () => { throw new PaymentRefused('no') }",
        ),
    ],
)
def test_an_exception_of_ones_own_is_named_by_its_class(language: str, code: str) -> None:
    error = run(language, code).error
    assert (error["type"], error["message"]) == ("PaymentRefused", "no")


@pytest.mark.parametrize(
    ("language", "code"),
    [
        (
            "python",
            "def handler(p, z):\n  try: {}['x']\n  except KeyError as e: raise ValueError('outer') from e",
        ),
        (
            "javascript",
            "exports.handler = () => {\n  try { null.x }\n  catch (cause) { throw new Error('outer', { cause }) }\n}",
        ),
    ],
)
def test_the_cause_of_an_exception_is_told_with_its_line(language: str, code: str) -> None:
    stack = run(language, code).error["stack"]
    assert "outer" in stack
    assert {"python": "KeyError: 'x'", "javascript": "caused by: TypeError: Cannot read properties"}[language] in stack
    assert {"python": "line 2", "javascript": "send-welcome.js:2:"}[language] in stack


@pytest.mark.parametrize(
    ("thrown", "type", "message"),
    [
        ("'plain text'", "Error", "plain text"),
        ("null", "Error", "null"),
        ("undefined", "Error", "undefined"),
        ("{ code: 5 }", "Error", "{ code: 5 }"),
        ("Symbol('s')", "Error", "Symbol(s)"),
        ("12n", "Error", "12n"),
        ("new AggregateError([new Error('inner')], 'all')", "AggregateError", "all"),
        ("Object.defineProperty(new Error('x'), 'message', { get() { throw 1 } })", "Error", "<the message could"),
        ("Object.defineProperty(new Error('x'), 'stack', { get() { throw 1 } })", "Error", "x"),
        ("new Proxy({}, { get() { throw new Error('trap') }, getPrototypeOf() { throw 1 } })", "Error", ""),
        ("Object.assign(new Error('x'), { name: { toString() { throw 1 } } })", "Error", "x"),
        ("(() => { const e = new Error('loop'); e.cause = e; return e })()", "Error", "loop"),
        ("new DOMException('stopped', 'AbortError')", "AbortError", "stopped"),
    ],
)
@pytest.mark.parametrize("how", ["throw {}", "await Promise.reject({})"])
def test_whatever_javascript_throws_is_an_error(thrown: str, type: str, message: str, how: str) -> None:
    error = run("javascript", wrapped("javascript", how.format(thrown).replace("throw (", "throw ("))).error
    assert error["type"] == type
    assert error["message"].startswith(message)


@pytest.mark.parametrize(
    ("code", "type", "message"),
    [
        ("raise SystemExit(3)", "SystemExit", "sys.exit(3) was called"),
        ("import sys; sys.exit()", "SystemExit", "sys.exit() was called"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt", ""),
        ("raise GeneratorExit", "GeneratorExit", ""),
        ("class Odd(Exception):\n  def __str__(self): raise ValueError\nraise Odd", "Odd", "<Odd whose text"),
        ("class Odd(Exception):\n  def __str__(self): return 5\nraise Odd", "Odd", "<Odd whose text"),
        ("raise ValueError('\\ud800')", "ValueError", "\ud800"),
        ("def again(): again()\nagain()", "RecursionError", "maximum recursion depth"),
        ("raise ExceptionGroup('two', [ValueError('a'), KeyError('b')])", "ExceptionGroup", "two (2 sub-exceptions)"),
        ("import asyncio\nasync def late(): raise asyncio.CancelledError\nreturn late()", "CancelledError", ""),
        ("raise ValueError('x' * 10**8)", "ValueError", "xxx"),
    ],
)
def test_whatever_python_raises_is_an_error(code: str, type: str, message: str) -> None:
    error = run("python", wrapped("python", code)).error
    assert error["type"] == type
    assert error["message"].startswith(message)
    assert len(error["stack"]) < 100_000


def test_a_failure_in_the_background_ends_a_javascript_run() -> None:
    rejected = "Promise.reject(new RangeError('lost')); await new Promise((r) => setTimeout(r, 5000))"
    thrown = "setTimeout(() => { throw new RangeError('lost') }); await new Promise((r) => setTimeout(r, 5000))"
    for body in (rejected, thrown):
        error = run("javascript", wrapped("javascript", body)).error
        assert (error["type"], error["message"]) == ("RangeError", "lost")
        assert "send-welcome.js" in error["stack"]


def test_a_promise_that_can_never_settle_is_told() -> None:
    assert run("javascript", "exports.handler = () => new Promise(() => {})").error["type"] == "no_result"


def test_leaving_the_process_is_no_result() -> None:
    assert run("javascript", "exports.handler = () => process.exit(3)").finals == []
    assert run("python", "import os\ndef handler(p, z): os._exit(3)").finals == []


@pytest.mark.parametrize(
    ("body", "type"),
    [
        ("import errno; raise OSError(errno.EFBIG, 'File too large')", "file_size_limit"),
        ("import errno; raise OSError(errno.ENOSPC, 'No space left on device')", "workspace_limit"),
        ("files = []\nwhile True: files.append(open('/dev/null'))", "open_files_limit"),
        ('raise RuntimeError("can\'t start new thread")', "process_limit"),
        ("import socket\na, b = socket.socketpair()\na.setblocking(False)\na.recv(1)", "BlockingIOError"),
    ],
)
def test_a_limit_hit_in_python_is_named(body: str, type: str) -> None:
    assert run("python", wrapped("python", body), preexec=few_files).error["type"] == type


@pytest.mark.parametrize(
    ("body", "type"),
    [
        ("const fs = require('fs'); for (;;) fs.openSync('/dev/null')", "open_files_limit"),
        ("throw Object.assign(new Error('x'), { code: 'ENOSPC' })", "workspace_limit"),
        ("throw Object.assign(new Error('x'), { code: 'EAGAIN', syscall: 'spawn sh' })", "process_limit"),
        ("throw Object.assign(new Error('x'), { code: 'EAGAIN', syscall: 'read' })", "Error"),
    ],
)
def test_a_limit_hit_in_javascript_is_named(body: str, type: str) -> None:
    assert run("javascript", wrapped("javascript", body), preexec=few_files).error["type"] == type


def few_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def file_size_of_1_mb() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))


def address_space_of_256_mb() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (2**28, 2**28))


def test_a_file_that_grows_too_large_is_named(tmp_path: object) -> None:
    body = f"with open('{tmp_path}/big', 'wb') as file: file.write(bytes(2 * 2**20))"
    assert run("python", wrapped("python", body), preexec=file_size_of_1_mb).error["type"] == "file_size_limit"


@pytest.mark.parametrize(
    "body",
    [
        "return len('x' * 10**9)",
        "kept = []\nwhile True: kept.append(bytes(10**6))",
        "kept = []\nwhile True: kept.append(object())",
        "kept = {}\nwhile True: kept[len(kept)] = str(len(kept))",
        "def nested():\n  kept = []\n  while True: kept.append([None] * 100)\nnested()",
        "import json\nreturn json.loads('[' + '1,' * 30_000_000 + '1]')",
        "import asyncio\nasync def eat():\n  kept = []\n  while True: kept.append(bytearray(10**6))\nreturn eat()",
    ],
)
def test_running_out_of_memory_in_python_is_named_with_its_line(body: str) -> None:
    ending = run("python", wrapped("python", body), preexec=address_space_of_256_mb)
    assert ending.error["type"] == "memory_limit"
    assert 'File "send-welcome.py", line ' in ending.error["stack"]


def test_a_library_that_does_not_fit_into_memory_is_reported_as_that() -> None:
    for raised in (
        "ImportError('libscipy_openblas.so: failed to map segment from shared object')",
        "ImportError('libx.so: cannot create shared object descriptor: Cannot allocate memory')",
    ):
        ending = run("python", wrapped("python", f"raise {raised}"))
        assert ending.error["type"] == "memory_limit"
        assert "raise memory_mb" in ending.error["message"]
    other = run("python", wrapped("python", "raise ImportError('x.so: cannot allocate memory in static TLS block')"))
    assert other.error["type"] == "ImportError"


def test_running_out_of_memory_again_while_an_error_is_passed_on_keeps_the_line_of_the_function() -> None:
    program = """if True:
        from zmesh_runtime.failures import Code, out_of_memory
        scope = {}
        exec(compile("def handler():\\n  raise MemoryError", "send-welcome.py", "exec"), scope)
        try:
            try:
                scope["handler"]()
            finally:
                raise MemoryError
        except MemoryError as error:
            print(out_of_memory(error, Code("send-welcome.py", None)).stack)
    """
    printed = subprocess.run(
        [sys.executable, "-c", program], cwd=SDK / "python", capture_output=True, text=True, check=True
    )
    assert 'File "send-welcome.py", line 2, in handler' in printed.stdout


def test_a_payload_that_python_cannot_hold_is_an_error() -> None:
    assert (
        run("python", "handler = len", payload_text=b"[" * 100_000 + b"]" * 100_000).error["type"] == "invalid_payload"
    )
    assert run("python", "handler = len", payload_text=b"9" * 5000).error["type"] == "invalid_payload"


def test_a_function_handles_what_nobody_else_does_by_listeners_of_its_own() -> None:
    body = """
        const seen = [];
        process.on('unhandledRejection', (reason) => seen.push(`rejected ${reason}`));
        process.on('uncaughtException', (error, origin) => seen.push(`${origin} ${error.message}`));
        Promise.reject('plainly');
        setTimeout(() => { throw new Error('thrown') }, 1);
        await new Promise((resolve) => setTimeout(resolve, 30));
        return seen;
    """
    assert run("javascript", wrapped("javascript", body)).result == ["rejected plainly", "uncaughtException thrown"]


def test_a_listener_for_exceptions_gets_rejections_as_in_any_program() -> None:
    body = """
        const seen = [];
        process.on('uncaughtException', (error, origin) => seen.push(`${origin} ${error.message}`));
        Promise.reject(new Error('late'));
        await new Promise((resolve) => setTimeout(resolve, 10));
        return seen;
    """
    assert run("javascript", wrapped("javascript", body)).result == ["unhandledRejection late"]


@pytest.mark.parametrize("reason", ["'plainly'", "new Error('plainly')"])
def test_a_rejection_that_nobody_handles_is_told_as_it_is(reason: str) -> None:
    body = f"process.removeAllListeners(); Promise.reject({reason}); await new Promise((r) => setTimeout(r, 5000))"
    error = run("javascript", wrapped("javascript", body)).error
    assert (error["type"], error["message"]) == ("Error", "plainly")


def test_work_that_begins_when_the_event_loop_is_empty_goes_on() -> None:
    body = "return new Promise((r) => process.once('beforeExit', () => setTimeout(r, 5, 'revived')))"
    assert run("javascript", wrapped("javascript", body)).result == "revived"


# What ends a line for str.splitlines() or for V8, and for no editor.
ODD_ENDS = "\u2028 \u2029 \u0085 \x1c \v \f"


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("language", "lines", "place"),
    [
        (
            "python",
            ["# ODD", "x = '''ODD'''", "def handler(p, z):", "    raise ValueError(x)  # ODD"],
            "line 4, in handler",
        ),
        ("python", ["# ODD", "def handler(:"], "line 2"),
        (
            "javascript",
            ["// ODD", "const x = `ODD`; /*ODD*/", "exports.handler = () => {", "  /*ODD*/ throw Error(x);", "}"],
            "send-welcome.js:4:25)",
        ),
        ("javascript", ["/*ODD*/ const x = `ODD`;", "const y = ;"], "send-welcome.js:2"),
        ("typescript", ["const x: string = `ODD`;", "exports.handler = () => {", "  throw Error(x);", "}"], "ts:3:9)"),
    ],
)
def test_lines_in_stacks_are_those_of_an_editor(language: str, lines: list[str], place: str, newline: str) -> None:
    code = newline.join(lines)
    stack = run(language, code.replace("// ODD", "// \f\x1c").replace("ODD", ODD_ENDS)).error["stack"]
    assert place in stack
    if "raise" in code:
        assert "    raise ValueError(x)  #" in stack
