"""Whether the console fits the API: OpenAPI document and types are up to date, and the console uses the types rightly.

python -m tests.console.types           checks all three; a part of `make lint`
python -m tests.console.types --write   writes document and types (console: `npm run types`)
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from api.openapi import make_document
from api.pages.reference import DOCUMENT
from tests.console.test_computing import CONSOLE, NODE

TYPES = CONSOLE / "src" / "api" / "schema.d.ts"
MODULES = CONSOLE / "node_modules"
GENERATOR = MODULES / "openapi-typescript" / "bin" / "cli.js"
# What it found is kept beside the packages: where nothing changed, the next check takes a second.
CHECK = [MODULES / "typescript" / "bin" / "tsc", "--incremental", "--tsBuildInfoFile", MODULES / ".tsbuildinfo"]


def types_of(document: bytes) -> bytes:
    """The types that the document says."""
    command = [NODE, GENERATOR, "--default-non-nullable"]
    return subprocess.run(command, cwd=CONSOLE, input=document, stdout=subprocess.PIPE, check=True).stdout


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write both instead")
    write = parser.parse_args().write
    document = make_document()
    for path, content in ((DOCUMENT, document), (TYPES, types_of(document))):
        if write:
            path.write_bytes(content)
        elif path.read_bytes() != content:
            print(f"{path.relative_to(CONSOLE.parent)} is out of date with the API's code.", file=sys.stderr)
            print("hint: generate it again: python -m tests.console.types --write", file=sys.stderr)
            return 1
    return subprocess.run([NODE, *CHECK], cwd=CONSOLE, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
