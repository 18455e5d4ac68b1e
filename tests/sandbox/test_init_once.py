"""Functions with `init = "once"`: runs are forked from a process that has executed their top-level code."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from sandbox import ImageTemplateLimits, InitOnce, RunOutcome, RunRequest
from sandbox.host.image_templates import ImageTemplates
from sandbox.host.template_keys import TemplateKey
from tests.sandbox import images
from tests.sandbox.conftest import KINDS
from tests.sandbox.hosts import Host, wait_until

BOTH = [kind for kind in KINDS if kind in ("root", "user_namespace")]
everywhere = pytest.mark.parametrize("kind", BOTH, scope="session")
somewhere = pytest.mark.parametrize("kind", BOTH[:1], scope="session")  # the kinds differ in nothing that matters here
LANGUAGES = ("python", "javascript")
_numbers = itertools.count(1)


def new_function() -> InitOnce:
    number = next(_numbers)
    return InitOnce("project", f"function-{number}", 1)


def run(host: Host, language: str, code: str, once: InitOnce, payload: str = "{}", **options: Any) -> RunOutcome:
    return host.run(language, code, payload, whole=True, init_once=once, **options)


def forked(host: Host, language: str, code: str, once: InitOnce, payload: str = "{}", **options: Any) -> RunOutcome:
    """The first run that was forked; those before load their code by themselves."""
    outcomes: list[RunOutcome] = []

    def is_forked() -> bool:
        outcomes.append(run(host, language, code, once, payload, **options))
        if outcomes[-1].packages != "forked":
            wait_until(lambda: host.state()["making"] == 0, 60)  # more runs meanwhile would only hold it up
        return outcomes[-1].packages == "forked"

    wait_until(is_forked, 40, lambda: (outcomes[-1], host.said()[-2000:]))
    return outcomes[-1]


def refused(host: Host, language: str, code: str, **options: Any) -> str:
    """Why runs of this code are not forked."""
    once = new_function()
    run(host, language, code, once, **options)
    wait_until(lambda: host.state()["making"] == 0, 60)
    outcome = run(host, language, code, once, **options)
    assert (outcome.packages, outcome.refused) == ("imported", True)
    return outcome.why_imported or ""


STATE = {
    "python": """
        import os, random, time
        state, pid, loaded_at = [], os.getpid(), time.monotonic_ns()

        def handler(payload, zmesh):
            state.append(payload)
            return [state, str(loaded_at), pid == os.getpid(), [os.environ["NAME"], zmesh.env.NAME], random.random()]
    """,
    "javascript": """
        const state = [], pid = process.pid, loadedAt = String(process.hrtime.bigint());

        exports.handler = (payload, zmesh) => {
          state.push(payload);
          return [state, loadedAt, pid === process.pid, [process.env.NAME, zmesh.env.NAME], Math.random()];
        };
    """,
}


@everywhere
@pytest.mark.parametrize("language", LANGUAGES)
def test_what_top_level_code_has_made_is_in_every_run_and_what_a_run_changes_in_no_other(
    host: Host, language: str
) -> None:
    once, code = new_function(), STATE[language]

    first = run(host, language, code, once, "0", env={"NAME": "Ada"})
    outcomes = [forked(host, language, code, once, str(n), env={"NAME": "Ada"}) for n in (1, 2, 3)]

    assert (first.packages, first.why_imported, first.refused) == ("imported", "its code was not loaded yet", False)
    assert json.loads(first.result_json or "")[2] is True  # loaded by itself
    states, loaded, same_process, names, random = zip(
        *(json.loads(one.result_json or "") for one in outcomes), strict=True
    )
    assert states == ([1], [2], [3])
    assert len(set(loaded)) == 1
    assert same_process == (False, False, False)
    assert names == (["Ada", "Ada"],) * 3
    assert len(set(random)) == 3


FOLDER = {
    "python": (
        """
        import logging, random, sys
        from helpers import greeting
        logging.basicConfig(level=logging.DEBUG)
        by_chance = random.Random()
        words = open("words.txt").read()

        def handler(payload, zmesh):
            import late
            logging.debug("logged")
            print("printed")
            return [greeting, words, open("words.txt").read(), late.LATE, by_chance.random(), __name__, sys.argv]
        """,
        "main.py",
        {"helpers/__init__.py": "greeting = 'hello'", "late.py": "LATE = 'late'", "words.txt": "ä"},
        ["main", ["main.py"]],
    ),
    "typescript": (
        """
        import { readFileSync } from "node:fs";
        import { greeting } from "./helpers/greeting";
        const words: string = readFileSync("words.txt", "utf8");
        const { random } = Math;
        const { log, debug } = console;
        await Promise.resolve();

        export async function handler(payload: unknown) {
          const { LATE } = await import("./late.ts");
          debug("logged");
          log("printed");
          return [greeting, words, readFileSync("words.txt", "utf8"), LATE, random(), typeof zmesh, [process.argv[1]]];
        }
        """,
        "index.ts",
        {
            "helpers/greeting.ts": "enum Word { Hello = 'hello' }\nexport const greeting: string = Word.Hello;",
            "late.ts": "export const LATE = 'late';",
            "words.txt": "ä",
        },
        ["object", ["/workspace/index.ts"]],
    ),
}


@somewhere
@pytest.mark.parametrize("language", FOLDER)
def test_folders_have_their_files_in_each_run_and_print_into_its_log(host: Host, language: str) -> None:
    code, entry_file, files, rest = FOLDER[language]
    once, options = new_function(), {"entry_file": entry_file, "files": files}

    outcomes = [forked(host, language, code, once, **options) for _ in range(2)]

    for outcome in outcomes:
        found = json.loads(outcome.result_json or "")
        assert found[:4] == ["hello", "ä", "ä", "late"]
        assert found[5:] == rest
        assert [(line.level, line.message) for line in outcome.logs] == [("debug", "logged"), ("info", "printed")]
    assert len({json.loads(outcome.result_json or "")[4] for outcome in outcomes}) == 2


@somewhere
@pytest.mark.parametrize("language", LANGUAGES)
def test_packages_are_imported_by_the_top_level_code_that_is_executed_once(
    host: Host, language: str, tmp_path: Any
) -> None:
    files = {"python/counted.py": "started = []\n", "node_modules/counted/index.js": "exports.started = [];"}
    image = images.place(host, images.write(tmp_path / f"init-{language}", files))
    code = {
        "python": "import counted\ncounted.started.append(1)\ndef handler(payload, zmesh): return counted.started",
        "javascript": "const c = require('counted');\nc.started.push(1);\nexports.handler = () => c.started;",
    }[language]

    outcome = forked(host, language, code, new_function(), image=image)

    assert outcome.result_json == "[1]"


TOP_LEVEL_ROLLS = """
import numpy, rolls
numpy.random.random()

def handler(payload, zmesh):
    return rolls.roll()
"""


@somewhere
def test_generators_of_packages_are_seeded_anew_below_top_level_code_that_is_executed_once(
    host: Host, numpy_folder: Path
) -> None:
    image = images.place(host, numpy_folder, ("rolls",))  # imported before the code is executed
    once = new_function()

    drawn = [json.loads(forked(host, "python", TOP_LEVEL_ROLLS, once, image=image).result_json or "") for _ in range(4)]

    for name in drawn[0][0]:
        assert len({fresh[name] for fresh, _ in drawn}) == len(drawn), (name, drawn)
    assert len({json.dumps(chosen) for _, chosen in drawn}) == 1


HANDLER = {"python": "def handler(payload, zmesh): return 1", "javascript": "exports.handler = () => 1;"}
WHOSE = "packages or top-level code: "
HARMFUL = {
    "a thread": (
        "python",
        "import threading, time\nthreading.Thread(target=time.sleep, args=(1e6,), daemon=True).start()",
        "they started a thread",
    ),
    "a socket": ("python", "import socket\ns = socket.socket()", "they opened sockets"),
    "an open file": ("python", "file = open('kept', 'w')", "they left /workspace/kept open"),
    "shared memory": (
        "python",
        "import multiprocessing\nlock = multiprocessing.Lock()",
        "they created memory that all runs would share",
    ),
    "an error": ("python", "raise ValueError('no model')", "ValueError: no model"),
    "a variable": (
        "python",
        "import os\nNAME = os.environ.get('NAME')",
        "NotInTopLevelCode: top-level code cannot read the environment variable NAME with init = once: "
        "read it in the handler",
    ),
    "threads of Node.js": ("javascript", "require('fs').readFile(__filename, () => {});", "they started 4 threads"),
    "a rejection": ("javascript", "Promise.reject(new RangeError('later'));", "RangeError: later"),
    "a variable of Node.js": (
        "javascript",
        "const { NAME } = process.env;",
        "Error: top-level code cannot read the environment variable NAME with init = once: read it in the handler",
    ),
    "zmesh": (
        "javascript",
        "zmesh.db.query('select 1');",
        "Error: top-level code cannot use zmesh with init = once: use it in the handler",
    ),
}


@somewhere
@pytest.mark.parametrize("what", HARMFUL)
def test_code_is_loaded_by_each_run_where_a_fork_would_differ(host: Host, what: str) -> None:
    language, code, why = HARMFUL[what]

    found = refused(host, language, f"{code}\n{HANDLER[language]}", env={"NAME": "Ada"})

    assert found.startswith(WHOSE)
    assert found.endswith(why)
    host.assert_clean()


@somewhere
def test_a_top_level_await_that_never_settles_ends_the_attempt(host: Host) -> None:
    code = "await new Promise(() => {});\nexport const handler = () => 1;"

    assert refused(host, "javascript", code).endswith(
        "its top-level await can never settle: nothing is left to wait for"
    )


@somewhere
def test_each_version_and_each_set_of_variables_has_its_own(host: Host) -> None:
    once, code = new_function(), STATE["python"]
    later = InitOnce(once.project, once.function, 2)

    def loaded_at(version: InitOnce, **env: str) -> object:
        return json.loads(forked(host, "python", code, version, env=env).result_json or "")[1]

    first = loaded_at(once, NAME="a")
    assert loaded_at(once, NAME="b") == first  # values do not matter, since no template knows them
    assert len({first, loaded_at(once, NAME="b", OTHER="c"), loaded_at(later, NAME="b")}) == 3


class Process:
    """A template that is ready."""

    facts, ready, runs, last_words = "0 0", True, frozenset[int](), ""

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    async def close(self) -> None:
        self.gone.set()


def test_code_of_a_project_that_takes_long_holds_up_its_own_templates_only() -> None:
    async def ready() -> list[str]:
        slow = asyncio.Event()

        async def start(key: TemplateKey, _: Any) -> Any:
            if key.project == "slow":
                await slow.wait()
            return Process()

        templates = ImageTemplates(ImageTemplateLimits(), start, lambda _: None, lambda _: None, lambda _: None)
        keys = [
            TemplateKey(project, "", "python", 0, "open", init_once=InitOnce(project, str(number), 1))
            for number, project in enumerate(("slow", "slow", "slow", "quick"))
        ]
        for key in keys:
            templates.wanted(key)
        while templates.use(keys[-1]) is None:
            await asyncio.sleep(0)
        found = [state.project for state in templates.states()]
        slow.set()
        await templates.close()
        return found

    assert asyncio.run(asyncio.wait_for(ready(), 30)) == ["quick"]


def test_what_a_later_version_has_replaced_ends_a_minute_after_its_last_use() -> None:
    async def ended() -> list[int]:
        async def start(*_: Any) -> Any:
            return Process()

        closed: list[int] = []
        templates = ImageTemplates(
            ImageTemplateLimits(),
            start,
            lambda key: closed.append(key.init_once.version),
            lambda _: None,
            lambda _: None,
        )
        request = RunRequest("python", "", "handler", "f", "{}")
        for version in (1, 2, 3):
            key = TemplateKey("p", "", "python", 0, "open", init_once=InitOnce("p", "f", version))
            templates.wanted(key, request)
            while templates.use(key) is None:
                await asyncio.sleep(0)
        for age, template in zip((61, 59, 61), templates._ready.values(), strict=True):
            template.used -= age
        templates._sweep()
        found = list(closed)
        await templates.close()
        return found

    assert asyncio.run(ended()) == [1]
