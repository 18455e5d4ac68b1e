"""Whether the console fits the API: its types are those of our OpenAPI document, and its code uses them right.

python -m tests.console.types           checks both; a part of `make lint`
python -m tests.console.types --write   writes the types (console: `npm run types`)
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from api.app import Parts, create_app
from api.openapi import document_of
from api.settings import Settings
from support.sealing import Sealer
from tests.console.test_computing import CONSOLE, NODE

TYPES = CONSOLE / "src" / "api" / "schema.d.ts"
MODULES = CONSOLE / "node_modules"
GENERATOR = MODULES / "openapi-typescript" / "bin" / "cli.js"
# What it found is kept beside the packages: where nothing changed, the next check takes a second.
CHECK = [MODULES / "typescript" / "bin" / "tsc", "--incremental", "--tsBuildInfoFile", MODULES / ".tsbuildinfo"]


def document() -> bytes:
    """The OpenAPI document; to make it takes no database."""
    settings = Settings(
        database_url="postgresql://127.0.0.1:1/nowhere", jwt_secret_key="x" * 32, secret_key=Sealer.new_key()
    )
    return document_of(create_app(Parts.of(settings)))


def generated() -> bytes:
    """The types that the document says."""
    command = [NODE, GENERATOR, "--default-non-nullable"]
    return subprocess.run(command, cwd=CONSOLE, input=document(), stdout=subprocess.PIPE, check=True).stdout


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the types instead")
    types = generated()
    if parser.parse_args().write:
        TYPES.write_bytes(types)
    elif TYPES.read_bytes() != types:
        print(f"{TYPES.relative_to(CONSOLE.parent)} is not what the API's OpenAPI document says.", file=sys.stderr)
        print("hint: write it anew: python -m tests.console.types --write", file=sys.stderr)
        return 1
    return subprocess.run([NODE, *CHECK], cwd=CONSOLE, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
