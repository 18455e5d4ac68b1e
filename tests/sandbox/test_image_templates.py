"""Runs are forked from processes that have imported the packages of their image: as if they had imported them, faster,
and never at the cost of anybody else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandbox import Image, ImageTemplateLimits, ImageTemplateState, Preload, RunOutcome
from tests.sandbox import images
from tests.sandbox.conftest import KINDS, MakeHost
from tests.sandbox.hosts import Host, wait_until

WITH_NAMESPACES = [kind for kind in KINDS if not kind.startswith("process")]
BOTH = [kind for kind in WITH_NAMESPACES if kind != "covered_root"]
everywhere = pytest.mark.parametrize("kind", BOTH, scope="session")
somewhere = pytest.mark.parametrize("kind", BOTH[:1], scope="session")  # the kinds differ in nothing that matters here

COUNTS = {
    "python/counted.py": "import os, time\nstarted = time.monotonic()\npid = os.getpid()\nvalue = object()\n",
    "node_modules/counted/index.js": "exports.pid = process.pid; exports.at = process.hrtime.bigint().toString();\n",
}
USE = {
    "python": "import counted, os; return [counted.pid == os.getpid(), id(counted.value)]",
    "javascript": "const c = require('counted'); return [c.pid === process.pid, c.at]",
}
LANGUAGES = ("python", "javascript")


@pytest.fixture
def make_image(host: Host, tmp_path: Path) -> Callable[..., Image]:
    """An image of these files, of a name of its own."""
    made = 0

    def make(files: dict[str, str], preload: tuple[str, ...] = (), project: str = "") -> Image:
        nonlocal made
        made += 1
        source = images.write(tmp_path / f"image-{tmp_path.name}-{made}", files)
        return replace(images.place(host, source, preload), project=project)

    return make


def state_of(host: Host, image: Image) -> list[ImageTemplateState]:
    found = [one for one in host.state()["image_templates"] if (one.image, one.project) == (image.id, image.project)]
    assert all(isinstance(one, ImageTemplateState) for one in found)
    return found


def forked(host: Host, language: str, body: str, image: Image, **options: Any) -> RunOutcome:
    """The first run that was forked from a template; those before import by themselves."""
    outcomes: list[RunOutcome] = []

    def is_forked() -> bool:
        outcomes.append(host.run(language, body, image=image, **options))
        if outcomes[-1].packages != "forked":
            wait_until(lambda: host.state()["making"] == 0, 60)  # more runs meanwhile would only hold it up
        return outcomes[-1].packages == "forked"

    wait_until(is_forked, 60, lambda: (outcomes[-1], host.said()[-2000:]))
    return outcomes[-1]


def refused(host: Host, image: Image) -> str:
    """Why the image has no template."""
    wait_until(lambda: state_of(host, image) != [], 60)
    [state] = state_of(host, image)
    assert state.why_not is not None
    return state.why_not.removeprefix("packages: ")


@everywhere
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_first_run_imports_by_itself_and_later_ones_are_forked_with_what_it_imported(
    host: Host, language: str, make_image: Any
) -> None:
    image = make_image(COUNTS)

    first = host.run(language, USE[language], image=image)
    outcome = forked(host, language, USE[language], image)

    assert first.packages == "imported"
    assert first.why_imported == "its packages were not imported yet"
    assert [name.rpartition(":")[2] for name in first.imported] == ["counted"]
    assert json.loads(first.result_json or "")[0] is True
    assert json.loads(outcome.result_json or "")[0] is False  # imported in another process
    again = forked(host, language, USE[language], image)
    assert again.result_json == outcome.result_json


@somewhere
@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_declared_is_loaded_and_names_that_are_not_in_the_image_are_not(
    host: Host, language: str, make_image: Any
) -> None:
    image = make_image(COUNTS, ("counted", "os", "../etc", "not-there"))

    outcome = forked(host, language, USE[language], image)

    assert json.loads(outcome.result_json or "")[0] is False


@somewhere
def test_functions_that_share_an_image_each_have_what_they_import_loaded(host: Host, make_image: Any) -> None:
    module = "import os\npid = os.getpid()\n"
    image = make_image({f"python/{name}.py": module for name in ("one", "two", "three")})
    body = "import os, {} as a, {} as b; return [a.pid == os.getpid(), b.pid == os.getpid()]"
    first, second = (replace(image, preload=Preload(learned_by=name)) for name in ("first", "second"))

    mine = forked(host, "python", body.format("one", "two"), first)
    theirs = forked(host, "python", body.format("three", "two"), second)

    assert mine.result_json == theirs.result_json == "[false,false]"
    again = forked(host, "python", body.format("one", "two"), first)
    assert (again.result_json, again.imported) == ("[false,false]", ())
    known = replace(image, preload=Preload(("one",), "first", learn=True))
    assert forked(host, "python", body.format("one", "three"), known).imported == ("one", "three")


PARTS = {
    "python/large/__init__.py": "def __getattr__(name):\n    import importlib\n"
    "    return importlib.import_module(f'large.{name}')\n",
    "python/large/part.py": "import large.inner, helping.tool\n",
    "python/large/inner.py": "",
    "python/large/lazy.py": "",
    "python/large/unused.py": "",
    "python/helping/__init__.py": "",
    "python/helping/tool.py": "",
}
USES_PARTS = """
import sys
names = ("large.part", "large.inner", "helping.tool", "large.lazy", "large.unused")
there = [name in sys.modules for name in names]
import large.part
try:
    import large.missing
except ImportError:
    large.lazy
return there
"""


@somewhere
def test_parts_of_packages_are_imported_beforehand_if_the_function_imports_them(host: Host, make_image: Any) -> None:
    image = make_image(PARTS)

    first = host.run("python", USES_PARTS, image=image)
    outcome = forked(host, "python", USES_PARTS, image)

    assert list(first.imported) == ["large.lazy", "large.part"]
    assert json.loads(outcome.result_json or "") == [True, True, True, True, False]


@somewhere
def test_imports_of_modules_are_learned_as_imports(host: Host, make_image: Any) -> None:
    image = make_image(
        {
            "node_modules/dual/index.js": "exports.kind = 'require';",
            "node_modules/dual/index.mjs": "export const kind = 'import', pid = process.pid;",
        }
    )
    manifest = {"name": "dual", "exports": {"import": "./index.mjs", "require": "./index.js"}}
    (image.path / "node_modules" / "dual" / "package.json").write_text(json.dumps(manifest))
    body = "const dual = await import('dual'); return [dual.kind, dual.pid === process.pid]"

    first = host.run("javascript", body, image=image)
    outcome = forked(host, "javascript", body, image)

    assert list(first.imported) == ["import:dual"]
    assert outcome.result_json == '["import",false]'


@everywhere
@pytest.mark.parametrize("language", LANGUAGES)
def test_two_projects_never_share_a_template(host: Host, language: str, make_image: Any) -> None:
    ours = make_image(COUNTS, ("counted",), project="ours")
    theirs = replace(ours, project="theirs")

    values = [forked(host, language, USE[language], image).result_json for image in (ours, theirs)]

    assert len(set(values)) == 2
    assert [len(state_of(host, image)) for image in (ours, theirs)] == [1, 1]


@everywhere
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_forked_run_is_confined_and_has_a_workspace_and_processes_of_its_own(
    host: Host, language: str, make_image: Any
) -> None:
    image = make_image(COUNTS, ("counted",))
    body = {
        "python": """
        import counted, os, time
        time.sleep(0.05)  # what has forked the run is gone by then
        found = sorted(os.listdir(".")), sorted(filter(str.isdigit, os.listdir("/proc")), key=int), os.getppid()
        open("left", "w").close()
        status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
        return [*found, status["CapEff"], status["NoNewPrivs"], status["Seccomp"], os.getuid() != 0, str(os.getpid())]
        """,
        "javascript": """
        require('counted');
        await new Promise((resolve) => setTimeout(resolve, 50)); // what has forked the run is gone by then
        const fs = require('fs');
        const found = [fs.readdirSync('.').sort(), fs.readdirSync('/proc').filter(Number).sort((a, b) => a - b), process.ppid];
        fs.writeFileSync('left', '');
        const status = Object.fromEntries(fs.readFileSync('/proc/self/status', 'utf8').split('\\n').map((line) => line.split(':\\t')));
        return [...found, status.CapEff, status.NoNewPrivs, status.Seccomp, process.getuid() !== 0, String(process.pid)];
        """,
    }[language]

    for _ in range(2):
        files, processes, parent, capabilities, no_new, seccomp, ordinary, pid = json.loads(
            forked(host, language, body, image).result_json or ""
        )
        assert files == [".shm", "tmp"]
        assert processes == ["1", pid]
        assert parent == 1
        assert int(capabilities, 16) == 0
        assert (no_new, seccomp, ordinary) == ("1", "2", True)


ATTEMPTS = """
import errno, os, ctypes, socket
libc = ctypes.CDLL(None, use_errno=True)
def tried(call, *arguments):
    return errno.errorcode.get(ctypes.get_errno(), "?") if libc.syscall(call, *arguments) < 0 else "done"
def read(path):
    try:
        return bool(os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(1))
    except OSError as error:
        return errno.errorcode[error.errno]
MOUNT, UNSHARE, PTRACE, PIVOT, SETNS, BPF, KEYCTL, CHROOT = 165, 272, 101, 155, 308, 321, 250, 161
ns = [os.open(f"/proc/self/ns/{name}", os.O_RDONLY) for name in ("user", "net")]
found = {
    "mount": tried(MOUNT, b"none", b"/workspace", b"tmpfs", 0, 0),
    "unshare mount": tried(UNSHARE, 0x00020000),
    "unshare user and mount": tried(UNSHARE, 0x10020000),
    "unshare net": tried(UNSHARE, 0x40000000),
    "setns user": tried(SETNS, ns[0], 0x10000000),
    "setns any": tried(SETNS, ns[1], 0),
    "setns net": tried(SETNS, ns[1], 0x40000000),
    "ptrace": tried(PTRACE, 16, 1, 0, 0),
    "pivot_root": tried(PIVOT, b".", b"."),
    "chroot": tried(CHROOT, b"/"),
    "bpf": tried(BPF, 0, 0, 0),
    "keyctl": tried(KEYCTL, 0, 0, 0),
    "memory of process 1": read("/proc/1/mem"),
    "environment of process 1": read("/proc/1/environ"),
    "descriptors of process 1": read("/proc/1/fd"),
    "root of process 1": read("/proc/1/root/etc"),
    "images": read("/images"),
    "environment": sorted(os.environ),
    "capabilities": [line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")],
}
for fd in ns:
    os.close(fd)
"""


@everywhere
def test_packages_are_confined_while_a_template_imports_them(host: Host, make_image: Any) -> None:
    image = make_image({"python/attempts.py": ATTEMPTS}, ("attempts",))

    found = json.loads(forked(host, "python", "import attempts; return attempts.found", image).result_json or "")

    for name in (
        "mount",
        "unshare mount",
        "unshare user and mount",
        "unshare net",
        "setns user",
        "setns any",
        "setns net",
    ):
        assert found[name] == "EPERM", found
    for name in ("ptrace", "pivot_root", "chroot", "bpf", "keyctl"):
        assert found[name] == "EPERM", found
    for name in ("memory of process 1", "environment of process 1", "descriptors of process 1", "root of process 1"):
        assert found[name] in ("EACCES", "EPERM"), found
    assert found["images"] is False
    assert {"PLATFORM", "JWT_SECRET_KEY"}.isdisjoint(found["environment"])
    assert int(found["capabilities"][0], 16) == 1 << 18 | 1 << 21 | 1 << 31


HARMFUL = {
    "a thread": (
        "import threading, time\nthreading.Thread(target=time.sleep, args=(1e6,), daemon=True).start()\n",
        "they started a thread",
    ),
    "a daemon": (
        "import subprocess\nsubprocess.Popen(['sleep', '1000'], start_new_session=True)\n",
        "they started processes",
    ),
    "an orphan": (
        "import os\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        import time\n        time.sleep(1e6)\n    os._exit(0)\nos.wait()\n",
        "they started processes",
    ),
    "a socket": ("import socket\ns = socket.socket()\n", "they opened sockets"),
    "a handler": (
        "import signal\nsignal.signal(signal.SIGTERM, lambda *a: None)\n",
        "they changed how signals are handled",
    ),
    "a large file": (
        "open('/workspace/cache', 'wb').write(bytes(2**20 + 1))\n",
        "they wrote files into the working folder",
    ),
    "many files": (
        "for n in range(65): open(f'/workspace/{n}', 'w').close()\n",
        "they wrote files into the working folder",
    ),
    "a link": ("import os\nos.symlink('/etc', '/workspace/link')\n", "they wrote files into the working folder"),
    "an open file": ("file = open('/workspace/cache', 'w+')\n", "they wrote files into the working folder"),
    "a temporary file": ("open('/workspace/tmp/x', 'w').close()\n", "they wrote temporary files"),
    "an exit": ("import sys\nsys.exit(3)\n", "importing harmful raised SystemExit: 3"),
    "an end": ("import os\nos._exit(3)\n", "they ended the process (exit code 3)"),
    "a crash": ("import ctypes\nctypes.string_at(0)\n", "the process was ended by SIGSEGV"),
    "an error": ("raise ValueError('no')\n", "importing harmful raised ValueError: no"),
}


@somewhere
@pytest.mark.parametrize("what", HARMFUL)
def test_a_template_is_not_used_where_forks_of_it_would_not_be_like_imports(
    host: Host, what: str, make_image: Any
) -> None:
    code, why = HARMFUL[what]
    image = make_image({"python/harmful.py": code}, ("harmful",))
    body = "return 1"  # what it would do by itself is its own affair

    assert host.run("python", body, image=image).packages == "imported"

    assert refused(host, image) == why
    after = host.run("python", body, image=image)
    assert (after.result_json, after.packages, after.why_imported) == ("1", "imported", f"packages: {why}")


CACHES = """
import os, threading
timer = threading.Timer(60, print)  # as Matplotlib has one while it looks for fonts
timer.start()
timer.cancel()
timer.join()
os.makedirs('/workspace/.cache/fonts/empty')
with open('/workspace/.cache/fonts/list.json', 'w') as file:
    file.write('[1]')
with open('/workspace/mine.txt', 'w') as file:
    file.write('of the package')
"""
READS = """
import caches, os
from pathlib import Path
home = Path('/workspace')
found = [(home / '.cache/fonts/list.json').read_text(), (home / 'mine.txt').read_text()]
(home / '.cache/fonts/list.json').write_text('changed')
(home / '.cache/fonts/empty/new').write_text('x')
return [*found, sorted(os.listdir(home / '.cache/fonts/empty'))]
"""


@somewhere
def test_each_run_has_its_own_copy_of_the_caches_that_packages_have_written(host: Host, make_image: Any) -> None:
    image = make_image({"python/caches.py": CACHES}, ("caches",))

    for _ in range(2):
        outcome = forked(host, "python", READS, image)
        assert json.loads(outcome.result_json or "") == ["[1]", "of the package", ["new"]], outcome


@somewhere
def test_a_functions_own_file_takes_precedence_over_one_that_packages_have_written(host: Host, make_image: Any) -> None:
    image = make_image({"python/caches.py": CACHES}, ("caches",))
    options = {"entry_file": "main.py", "files": {"mine.txt": "of the function"}}

    outcome = forked(host, "python", READS, image, **options)

    assert json.loads(outcome.result_json or "") == ["[1]", "of the function", ["new"]], outcome


HARMFUL_JAVASCRIPT = {
    "a worker": (
        "new (require('worker_threads').Worker)('setInterval(() => {}, 1e6)', { eval: true }).unref()",
        "thread",
    ),
    "a child": (
        "require('child_process').spawn('sleep', ['1000'], { detached: true, stdio: 'ignore' }).unref()",
        "processes",
    ),
    "a server": ("require('net').createServer().listen(0, '127.0.0.1')", "they opened sockets"),
    "a handler": ("process.on('SIGUSR2', () => {})", "they changed how signals are handled"),
    "an exit": ("process.exit(4)", "they ended the process (exit code 4)"),
    "an error": ("throw new TypeError('no')", "importing harmful threw TypeError: no"),
}


@somewhere
@pytest.mark.parametrize("what", HARMFUL_JAVASCRIPT)
def test_a_template_of_javascript_is_not_used_either(host: Host, what: str, make_image: Any) -> None:
    code, why = HARMFUL_JAVASCRIPT[what]
    image = make_image({"node_modules/harmful/index.js": code}, ("require:harmful",))

    assert host.run("javascript", "return 1", image=image).packages == "imported"

    assert why in refused(host, image)


SMALL = ImageTemplateLimits(count=2, each_mb=128, memory_mb=256)


@pytest.fixture
def small_host(kind: str, make_host: MakeHost) -> Iterator[Host]:
    """A sandbox with room for two templates of images."""
    host = make_host(kind, image_limits=SMALL)
    yield host
    host.close()


@pytest.fixture
def hasty_host(kind: str, make_host: MakeHost) -> Iterator[Host]:
    """A sandbox that gives imports one second."""
    host = make_host(kind, image_limits=replace(SMALL, import_seconds=1.0))
    yield host
    host.close()


def why_harmful(host: Host, folder: Path, code: str) -> str:
    """Why a package of this code gets no template, while runs that use it go on."""
    image = images.place(host, images.write(folder / "harmful", {"python/harmful.py": code}), ("harmful",))
    assert host.run("python", "return 1", image=image).result_json == "1"
    reason = refused(host, image)
    host.assert_clean()
    return reason


@somewhere
def test_an_import_that_hangs_is_ended(hasty_host: Host, tmp_path: Path) -> None:
    assert why_harmful(hasty_host, tmp_path, "while True: pass\n") == "they took too long"


@somewhere
def test_an_import_that_takes_all_memory_is_ended(small_host: Host, tmp_path: Path) -> None:
    code = "taken = []\nwhile True: taken.append(bytearray(1 << 20))\n"
    assert "at most 128 are allowed" in why_harmful(small_host, tmp_path, code)


@somewhere
def test_there_are_never_more_templates_than_allowed(small_host: Host, tmp_path: Path) -> None:
    made = [images.place(small_host, images.write(tmp_path / f"one-{n}", COUNTS), ("counted",)) for n in range(4)]
    for image in made[:2]:
        forked(small_host, "python", USE["python"], image)

    outcomes = [small_host.run("python", USE["python"], image=image) for image in (*made, *made)]

    assert [outcome.packages for outcome in outcomes] == ["forked", "forked", "imported", "imported"] * 2
    assert outcomes[-1].why_imported == "as many templates of images are in use as are allowed"
    assert len([state for state in small_host.state()["image_templates"] if state.why_not is None]) == 2
    small_host.assert_clean()


@everywhere
def test_a_template_that_ends_is_replaced_by_imports_and_made_anew_later(host: Host, make_image: Any) -> None:
    image = make_image(COUNTS, ("counted",))
    forked(host, "python", USE["python"], image)

    host.end_image_template(image.id)

    assert host.run("python", USE["python"], image=image).status == "success"
    wait_until(lambda: [state.why_not for state in state_of(host, image)] == ["the process ended"], 15)
    assert host.run("python", USE["python"], image=image).packages == "imported"


PATCHES = """
import json, os, sys
loads, heard = json.loads, []
def patched(text, *args, **kwargs):
    value = loads(text, *args, **kwargs)
    heard.append(value)
    return value
json.loads = patched
"""


@everywhere
def test_a_package_that_patches_the_runtime_hears_of_no_other_run(host: Host, make_image: Any) -> None:
    image = make_image({"python/patches.py": PATCHES}, ("patches",))
    body = "import patches; return [one for one in patches.heard if isinstance(one, dict) and 'secret' in one]"

    forked(host, "python", body, image, payload='{"secret": 1}')
    outcome = forked(host, "python", body, image, payload='{"secret": 2}')

    assert json.loads(outcome.result_json or "") == [{"secret": 2}]  # its own payload, and none of the run before


ROLLS_JAVASCRIPT = """
const crypto = require('crypto');
const { random } = Math, { randomUUID, randomInt } = crypto;
const uuid = globalThis.crypto.randomUUID.bind(globalThis.crypto);
random(); randomUUID(); randomInt(2 ** 40); uuid(); crypto.getRandomValues(new Uint8Array(8)); // fills what is kept for later
exports.roll = () => ({
  'Math.random': Math.random(),
  'Math.random, held': random(),
  'another context': require('vm').runInNewContext('Math.random()'),
  randomUUID: crypto.randomUUID(),
  'randomUUID, held': randomUUID(),
  'crypto.randomUUID': globalThis.crypto.randomUUID(),
  'crypto.randomUUID, held': uuid(),
  randomInt: crypto.randomInt(2 ** 40),
  'randomInt, held': randomInt(2 ** 40),
  randomBytes: crypto.randomBytes(8).toString('hex'),
  getRandomValues: crypto.getRandomValues(new Uint32Array(2)).join(),
  born: performance.timeOrigin,
  now: process.hrtime.bigint().toString(),
});
"""


@somewhere
def test_generators_of_packages_are_seeded_anew_in_each_run(host: Host, numpy_folder: Path) -> None:
    image = images.place(host, numpy_folder, ("rolls",))

    drawn = [
        json.loads(forked(host, "python", "import rolls; return rolls.roll()", image).result_json or "")
        for _ in range(4)
    ]

    for name in drawn[0][0]:
        assert len({fresh[name] for fresh, _ in drawn}) == len(drawn), (name, drawn)
    assert len({json.dumps(chosen) for _, chosen in drawn}) == 1  # a package that chose a seed has its reasons


@somewhere
def test_nothing_random_is_kept_by_a_template_of_javascript(host: Host, make_image: Any) -> None:
    image = make_image({"node_modules/rolls/index.js": ROLLS_JAVASCRIPT}, ("require:rolls",))

    body = "return require('rolls').roll()"
    drawn = [json.loads(forked(host, "javascript", body, image).result_json or "") for _ in range(4)]

    for name in drawn[0]:
        assert len({one[name] for one in drawn}) == len(drawn), (name, drawn)


CONNECTS = """
import errno, os, socket
def connect():
    try:
        socket.create_connection(("127.0.0.1", 9), timeout=1)
    except OSError as error:
        return errno.errorcode[error.errno]
found, pid = connect(), os.getpid()
"""


@everywhere
def test_a_template_of_runs_without_network_has_none_while_it_imports(host: Host, make_image: Any) -> None:
    image = make_image({"python/connects.py": CONNECTS}, ("connects",))
    body = "import connects, os; return [connects.found, connects.connect(), connects.pid == os.getpid()]"

    without = forked(host, "python", body, image, network="none").result_json
    with_network = forked(host, "python", body, image).result_json

    assert without == '["ENETDOWN","ENETDOWN",false]'
    assert with_network == '["ECONNREFUSED","ECONNREFUSED",false]'


STARTS_LATER = """
import os, threading, time
os.register_at_fork(before=lambda: threading.Thread(target=time.sleep, args=(1e6,), daemon=True).start())
"""


@somewhere
def test_a_template_that_does_more_than_forking_later_on_is_ended(host: Host, make_image: Any) -> None:
    image = make_image({"python/later.py": STARTS_LATER}, ("later",))
    assert host.run("python", "return 1", image=image).packages == "imported"
    wait_until(lambda: state_of(host, image) != [], 60)

    def reasons() -> list[str | None]:
        host.run("python", "return 1", image=image)
        return [state.why_not for state in state_of(host, image)]

    wait_until(lambda: reasons() == ["packages: they started threads later on"], 20, reasons)
