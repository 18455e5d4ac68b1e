"""The declarations in sdk/javascript, with the compiler: strict, and with no package but the compiler."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cli.project.initialising import write_project
from tests.platform import REPOSITORY
from tests.types.compiler import HERE, MODULES, complaints, complaints_about_project, install_compiler

EXAMPLES = sorted(
    path
    for path in (REPOSITORY / "examples").iterdir()
    if path.suffix in (".ts", ".js") or (path / "index.ts").is_file()
)
CHECK_JAVASCRIPT = ("--allowJs", "--checkJs", "--noImplicitAny", "false")  # JavaScript does not name its types


TABLES = """import './zmesh';
declare module './zmesh' {
  interface Tables { orders: { row: { item: string }; insert: { item: string } } }
}
"""
TYPED_TEST = """
import { withZmesh } from 'zmesh/testing';
export default withZmesh(async (zmesh) => {
  const [order] = await zmesh.db.select('orders');
  return [zmesh.clock.now, order?.item, order?.price, zmesh.clock.then];
});
"""


@pytest.fixture(scope="module", autouse=True)
def compiler() -> None:
    install_compiler()


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
    assert (
        complaints(tmp_path, *(HERE / f"{name}.ts" for name in ("helpers", "modules", "testing")), options=MODULES)
        == ""
    )


def test_mistakes_do_not_compile(complaints_about_files: str) -> None:
    assert [line for line in complaints_about_files.splitlines() if line.startswith((MISTAKES.name, " "))] == []


def test_the_snippet_of_the_guide_compiles_strictly(tmp_path: Path) -> None:
    guide = (REPOSITORY / "docs" / "guides" / "functions.md").read_text()
    [snippet] = re.findall(r'```js\n(/\*\* @type \{import\("./zmesh"\).*?)```', guide, re.DOTALL)
    (tmp_path / "given").mkdir()
    file = tmp_path / "given" / "snippet.js"
    file.write_text(snippet)
    assert complaints(tmp_path, file, options=("--allowJs", "--checkJs")) == ""


@pytest.mark.parametrize(("language", "config"), [("javascript", "jsconfig.json"), ("typescript", "tsconfig.json")])
def test_editors_know_the_types_in_every_file_of_a_new_project(tmp_path: Path, language: str, config: str) -> None:
    write_project(tmp_path, language, "github")
    assert complaints_about_project(tmp_path, config) == ""
    (tmp_path / "zmesh-tables.d.ts").write_text(TABLES)
    (tmp_path / "tests" / ("typed.test.mjs" if language == "javascript" else "typed.test.ts")).write_text(TYPED_TEST)
    found = complaints_about_project(tmp_path, config)
    assert re.findall(r"Property '(\w+)' does not exist", found) == ["price", "then"]
