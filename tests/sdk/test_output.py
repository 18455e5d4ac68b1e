"""What a run prints becomes log lines, each with its level."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import time

import pytest

from tests.sdk.conftest import wrapped
from tests.sdk.runtimes import COMMANDS, run


def test_console_methods_have_their_levels() -> None:
    body = """
        console.log('a %s %d', 'b', 5, { c: [1] });
        console.info('info'); console.debug('debug'); console.warn('warn'); console.error('error');
        console.group('outer'); console.log('inner'); console.debug('too'); console.groupEnd();
        console.assert(false, 'not so'); console.dir({ a: 1 }); console.log();
    """
    assert run("javascript", wrapped("javascript", body)).lines == [
        ("info", "a b 5 { c: [ 1 ] }"),
        ("info", "info"),
        ("debug", "debug"),
        ("warning", "warn"),
        ("error", "error"),
        ("info", "outer"),
        ("info", "  inner"),
        ("debug", "  too"),
        ("warning", "Assertion failed: not so"),
        ("info", "{ a: 1 }"),
        ("info", ""),
    ]


def test_the_global_console_and_warnings_of_node_are_captured_too() -> None:
    body = """
        globalThis.console.log('global');
        require('node:process').emitWarning('careful');
        await new Promise((resolve) => setTimeout(resolve, 1));
    """
    ending = run("javascript", wrapped("javascript", body))
    assert ending.lines == [("info", "global"), ("warning", "Warning: careful")]
    assert ending.stderr == ""


def test_print_logging_and_warnings_have_their_levels() -> None:
    body = """
        import logging, sys, warnings
        print('a', 5); print('err', file=sys.stderr); sys.stdout.write('part'); print(' whole')
        log = logging.getLogger('mine')
        log.debug('unseen'); log.info('info %s', 1); log.warning('warning'); log.error('error'); log.critical('worse')
        log.setLevel(logging.DEBUG); log.debug('debug')
        warnings.warn('careful')
    """
    assert run("python", wrapped("python", body)).lines[:-1] == [
        ("info", "a 5"),
        ("error", "err"),
        ("info", "part whole"),
        ("info", "info 1"),
        ("warning", "warning"),
        ("error", "error"),
        ("error", "worse"),
        ("debug", "debug"),
        ("warning", "send-welcome.py:7: UserWarning: careful"),
    ]


def test_a_logged_exception_keeps_its_traceback() -> None:
    body = "import logging\ntry: 1/0\nexcept ZeroDivisionError: logging.exception('oh')"
    lines = run("python", wrapped("python", body)).lines
    assert lines[0] == ("error", "oh")
    assert ("error", "ZeroDivisionError: division by zero") in lines


def test_text_is_cut_into_lines_and_the_last_one_need_not_end(language: str) -> None:
    body = {
        "javascript": "console.log('one\\ntwo\\n\\nthree')",
        "python": "print('one\\ntwo\\n\\nthree', end='')",
    }[language]
    ending = run(language, wrapped(language, body))
    assert [message for _, message in ending.lines] == ["one", "two", "", "three"]


def test_a_line_has_the_time_at_which_it_was_printed(language: str) -> None:
    body = {
        "javascript": "console.log('a'); await new Promise((resolve) => setTimeout(resolve, 60)); console.log('b')",
        "python": "import time; print('a'); time.sleep(0.06); print('b')",
    }[language]
    before = time.time() * 1000
    first, second = run(language, wrapped(language, body)).logs
    assert before - 1 <= first["at"] <= second["at"] - 50 <= time.time() * 1000


@pytest.mark.parametrize("character", ["x", "ü", "😀"])
def test_a_very_long_line_is_cut_with_a_notice(language: str, character: str) -> None:
    count = 1_000_000
    body = {
        "javascript": f"console.log('{character}'.repeat({count}))",
        "python": f"print('{character}' * {count})",
    }[language]
    [(_, message)] = run(language, wrapped(language, body)).lines
    text, _, notice = message.partition(" … ")
    assert set(text) == {character}
    assert 65_530 <= len(text.encode()) <= 65_536
    assert notice == f"[line cut: {count * len(character.encode())} bytes, 65536 kept]"


def test_text_without_an_end_of_line_does_not_fill_the_memory() -> None:
    def address_space_of_256_mb() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (256 << 20, 256 << 20))

    body = "import sys\nfor _ in range(200): sys.stdout.write('x' * 1_000_000)"
    [(_, message)] = run("python", wrapped("python", body), preexec=address_space_of_256_mb).lines
    assert message.endswith("[line cut: 200000000 bytes, 65536 kept]")


def test_text_that_is_no_unicode_is_printed_escaped(language: str) -> None:
    body = {"javascript": "console.log('\\ud800')", "python": "print('\\ud800')"}[language]
    [(_, message)] = run(language, wrapped(language, body)).lines
    assert message == {"javascript": "\ud800", "python": "\\ud800"}[language]


def test_bytes_written_to_pythons_streams_are_lines_as_well() -> None:
    body = "import sys\nsys.stdout.buffer.write(b'caf\\xc3\\xa9\\r\\n\\xff\\n'); print(sys.stdout.isatty())"
    assert run("python", wrapped("python", body)).lines == [("info", "café"), ("info", "\ufffd"), ("info", "False")]


def test_child_processes_write_to_the_pipes(language: str) -> None:
    body = {
        "javascript": "require('child_process').execSync('echo out; echo err >&2', { stdio: 'inherit' })",
        "python": "import subprocess, sys; subprocess.run('echo out; echo err >&2', shell=True, stdout=sys.stdout)",
    }[language]
    ending = run(language, wrapped(language, body))
    assert (ending.stdout, ending.stderr, ending.lines) == ("out\n", "err\n", [])


def test_child_processes_do_not_get_the_channel(language: str) -> None:
    body = {
        "javascript": "return require('child_process').execSync('ls -l /proc/$$/fd').toString()",
        "python": "import subprocess; return subprocess.check_output('ls -l /proc/$$/fd', shell=True).decode()",
    }[language]
    listing = run(language, wrapped(language, body)).result
    assert " 1 -> " in listing
    assert " 3 -> " not in listing


def test_a_fork_by_user_code_neither_answers_nor_disturbs_the_channel() -> None:
    body = """
        import os
        print('before', end='')
        if os.fork() == 0:
            print('in the child')
            return 'of the child'
        os.wait()
        return 'of the parent'
    """
    ending = run("python", wrapped("python", body))
    assert ending.result == "of the parent"
    assert ending.lines == [("info", "before")]
    assert ending.stdout == "in the child\n"


def test_multiprocessing_works() -> None:
    code = """
        import multiprocessing
        def square(n):
            print('working')
            return n * n
        def handler(payload, zmesh):
            with multiprocessing.get_context('fork').Pool(2) as pool:
                return pool.map(square, [1, 2, 3])
    """
    ending = run("python", code)
    assert ending.result == [1, 4, 9]
    assert ending.stdout == "working\n" * 3


def test_threads_may_print_at_once() -> None:
    body = """
        import threading
        def work(n):
            for i in range(200):
                print(f'{n}-{i}\\n', end='')
        threads = [threading.Thread(target=work, args=[n]) for n in range(8)]
        for t in threads: t.start()
        for t in threads: t.join()
    """
    lines = [message for _, message in run("python", wrapped("python", body)).lines]
    assert sorted(lines) == sorted(f"{n}-{i}" for n in range(8) for i in range(200))


def test_an_uncaught_exception_in_a_thread_is_logged() -> None:
    body = "import threading\nt = threading.Thread(target=lambda: 1/0)\nt.start()\nt.join()\nreturn 'fine'"
    ending = run("python", wrapped("python", body))
    assert ending.result == "fine"
    assert ("error", "ZeroDivisionError: division by zero") in ending.lines


def test_a_second_answer_cannot_follow(language: str) -> None:
    body = {
        "javascript": "process.on('exit', () => console.log('late')); setImmediate(() => { throw 1 }); return 1",
        "python": "import atexit; atexit.register(lambda: print('late')); return 1",
    }[language]
    ending = run(language, wrapped(language, body))
    assert (ending.result, ending.lines, ending.exit_code) == (1, [], 0)


@pytest.mark.parametrize("name", ["python", "javascript"])
def test_a_process_whose_sandbox_is_gone_ends_quietly(name: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = subprocess.Popen(
            COMMANDS[name],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            preexec_fn=lambda: os.dup2(theirs.fileno(), 3),
            pass_fds=(3,),
        )
    assert process.communicate(timeout=20) == (None, b"")
    assert process.returncode == 0


def test_standard_streams_of_node_are_lines_in_order_with_those_of_the_console() -> None:
    body = """
        process.stdout.write('one'); console.log(' two'); process.stdout.write(Buffer.from('caf\\u00e9\\r\\n'));
        process.stderr.write('three\\nfour'); console.warn(''); console.debug('five');
        await new Promise((done) => process.stdout.write('six', done));
    """
    ending = run("javascript", wrapped("javascript", body))
    assert ending.lines == [
        ("info", "one two"),
        ("info", "café"),
        ("error", "three"),
        ("warning", "four"),
        ("debug", "five"),
        ("info", "six"),
    ]
    assert (ending.stdout, ending.stderr) == ("", "")


def test_a_function_that_replaces_what_node_writes_with_sees_what_is_printed() -> None:
    body = "const seen = []; process.stdout.write = (text) => seen.push(text); console.log('caught'); return seen"
    ending = run("javascript", wrapped("javascript", body))
    assert (ending.result, ending.lines) == (["caught\n"], [])


def test_pythons_first_streams_are_its_streams() -> None:
    body = "import sys; print('a', file=sys.__stdout__); print('b', file=sys.__stderr__); return sys.stdout.name"
    ending = run("python", wrapped("python", body))
    assert (ending.lines, ending.result) == ([("info", "a"), ("error", "b")], "<stdout>")


BOTH = [("debug", "low"), ("error", "high")]
HIGH = [("error", "high")]
ON_CONSOLE = "'version': 1, 'handlers': {'h': {'class': 'logging.StreamHandler', 'stream': 'ext://sys.stdout'}}"
LOGGING = {
    "pass": HIGH,
    "logging.basicConfig(level=logging.DEBUG)": BOTH,
    "logging.basicConfig(level='ERROR')": HIGH,
    "logging.basicConfig(format='%(name)s: %(message)s', level=10)": [("debug", "app: low"), ("error", "app: high")],
    "logging.basicConfig(stream=sys.stdout, level=10)": BOTH,
    "logging.basicConfig(filename='/dev/null', level=10)": [],
    "logging.basicConfig(level=10); logging.basicConfig(level='ERROR', force=True)": HIGH,
    "logging.root.setLevel(10)": BOTH,
    "app.setLevel(10)": BOTH,
    "logging.disable(logging.ERROR)": [],
    "app.addHandler(logging.StreamHandler()); app.setLevel(10)": BOTH,
    "logging.root.addHandler(logging.StreamHandler(sys.stdout)); app.setLevel(10)": BOTH,
    f"logging.config.dictConfig({{{ON_CONSOLE}, 'root': {{'handlers': ['h'], 'level': 'DEBUG'}},"
    "'disable_existing_loggers': False})": BOTH,
    f"logging.config.dictConfig({{{ON_CONSOLE}, 'loggers': {{'app': {{'handlers': ['h'], 'level': 10}}}}}})": BOTH,
}


@pytest.mark.parametrize("configure", LOGGING)
def test_logging_is_configured_as_in_any_program_and_each_record_is_one_line(configure: str) -> None:
    body = f"""
        import logging, logging.config, sys
        app = logging.getLogger('app')
        {configure}
        app.debug('low')
        app.error('high')
    """
    assert run("python", wrapped("python", body)).lines == LOGGING[configure]


def test_logging_by_the_modules_own_functions_needs_no_configuration() -> None:
    body = "import logging; logging.info('seen'); logging.debug('unseen'); logging.getLogger('x').warning('last')"
    assert run("python", wrapped("python", body)).lines == [("info", "seen"), ("warning", "last")]


def test_a_crash_that_faulthandler_sees_and_a_signal_that_the_function_handles_are_told() -> None:
    body = """
        import faulthandler, os, signal, sys
        signal.signal(signal.SIGUSR1, lambda number, frame: print('got', number == signal.SIGUSR1))
        os.kill(os.getpid(), signal.SIGUSR1)
        faulthandler.dump_traceback()
    """
    ending = run("python", wrapped("python", body))
    assert ending.lines == [("info", "got True")]
    assert 'File "send-welcome.py", line 5 in handler' in ending.stderr
