"""Which files a folder is as a function: entry file, shared folders, ignored names, links and limits."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest

from cli.errors import CliError
from cli.functions.deploying import read_function, sources_of

HANDLER = "def handler(payload, zmesh): ...\n"


def put(folder: Path, path: str, content: str | bytes = "") -> None:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)


def refusal(path: Path) -> CliError:
    def deploy() -> None:
        for source in sources_of([path]):
            read_function(source)

    with pytest.raises(CliError) as refused:
        deploy()
    return refused.value


@pytest.mark.parametrize(
    ("files", "entry", "language"),
    [
        ({"index.ts": "", "a.js": ""}, "index.ts", "typescript"),
        ({"main.py": "", "index.html": ""}, "main.py", "python"),
        ({"zmesh.toml": 'entry = "./src/app.py"', "src/app.py": "", "main.py": ""}, "src/app.py", "python"),
        ({"package.json": '{"main": "./src/x.mjs"}', "src/x.mjs": ""}, "src/x.mjs", "javascript"),
    ],
)
def test_a_folder_with_an_entry_file_is_one_function(
    tmp_path: Path, files: dict[str, str], entry: str, language: str
) -> None:
    folder = tmp_path / "hello"
    for path, content in files.items():
        put(folder, path, content)
    assert sources_of([folder]) == [folder]
    function = read_function(folder)
    assert (function["name"], function["entry_file"], function["language"]) == ("hello", entry, language)
    assert function["files"] == files


def test_any_other_folder_is_a_folder_of_functions(tmp_path: Path) -> None:
    for path in ("one.js", "two/index.js", "three/main.py", "data/a.csv", "_shared/index.js", ".git/index.js"):
        put(tmp_path, path)
    put(tmp_path, "node_modules/index.js")
    put(tmp_path, "zmesh.toml", 'name = "shop"')
    assert [source.name for source in sources_of([tmp_path])] == ["one.js", "three", "two"]


def test_bytes_are_kept_as_they_are(tmp_path: Path) -> None:
    put(tmp_path, "main.py", "a = 1\r\n")
    put(tmp_path, "empty")
    put(tmp_path, "logo.png", b"\x89PNG\xff")
    put(tmp_path, "nul.txt", b"a\x00b")
    assert read_function(tmp_path)["files"] == {
        "main.py": "a = 1\r\n",
        "empty": "",
        "logo.png": {"base64": base64.b64encode(b"\x89PNG\xff").decode()},
        "nul.txt": {"base64": "YQBi"},
    }


def test_hidden_installed_and_ignored_files_stay_away(tmp_path: Path) -> None:
    for path in ("main.py", "lib/a.py", "lib/a.pyc", "lib/__pycache__/a.pyc", ".env", ".git/config", ".venv/x.py"):
        put(tmp_path, path)
    for path in ("node_modules/x/index.js", "notes.md", "docs/notes.md", "build/x", "lib/build", "tests/data/x.csv"):
        put(tmp_path, path)
    put(tmp_path, ".zmeshignore", "# not these\n\n*.md\nbuild/\n/tests/data\n")
    assert sorted(read_function(tmp_path)["files"]) == ["lib/a.py", "lib/build", "main.py"]
    put(tmp_path, ".zmeshignore", "!lib\n")
    assert "! and ** are not supported" in refusal(tmp_path).message


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ("index.ts", 'import { cors } from "../_shared/cors.ts";\n'),
        ("index.js", "const { cors } = require('../_shared/cors.js');\n"),
        ("main.py", "from _shared.cors import headers\n" + HANDLER),
        ("main.py", "import os\nimport _shared\n" + HANDLER),
    ],
)
def test_a_shared_folder_keeps_its_place_beside_the_functions_that_import_it(
    tmp_path: Path, entry: str, text: str
) -> None:
    put(tmp_path, f"hello/{entry}", text)
    put(tmp_path, "hello/src/a.txt", "a")
    put(tmp_path, "other/index.js", "exports.handler = () => 1;")
    put(tmp_path, "_shared/cors.ts", "import '../_more/x.ts';")
    put(tmp_path, "_more/x.ts")
    put(tmp_path, "_unused/x.ts")
    function = read_function(tmp_path / "hello")
    assert function["entry_file"] == f"hello/{entry}"
    assert sorted(function["files"]) == ["_more/x.ts", "_shared/cors.ts", f"hello/{entry}", "hello/src/a.txt"]
    assert sorted(read_function(tmp_path / "other")["files"]) == ["index.js"]


def test_a_single_file_takes_the_shared_folders_along_that_it_imports(tmp_path: Path) -> None:
    put(tmp_path, "one.js", "require('./_shared/a.js');")
    put(tmp_path, "two.js", "exports.handler = () => 1;")
    put(tmp_path, "_shared/a.js")
    one, two = read_function(tmp_path / "one.js"), read_function(tmp_path / "two.js")
    assert (one["name"], one["entry_file"], sorted(one["files"])) == ("one", "one.js", ["_shared/a.js", "one.js"])
    assert (two["entry_file"], two["files"], two["code"]) == (None, {}, "exports.handler = () => 1;")


def test_links_may_not_leave_the_folder(tmp_path: Path) -> None:
    put(tmp_path, "secret", "s")
    put(tmp_path, "hello/main.py", HANDLER)
    put(tmp_path, "hello/data/a.txt", "a")
    (tmp_path / "hello" / "inside.txt").symlink_to("data/a.txt")
    assert read_function(tmp_path / "hello")["files"]["inside.txt"] == "a"
    for name, target in (("out", "../secret"), ("loop", "."), ("up", ".."), ("etc", "/etc"), ("gone", "nothing")):
        link = tmp_path / "hello" / name
        link.symlink_to(target)
        assert refusal(tmp_path / "hello").code in ("link_outside", "unreadable_file"), name
        link.unlink()
    (tmp_path / "_shared").symlink_to("/etc")
    put(tmp_path, "hello/main.py", "import _shared\n")
    assert refusal(tmp_path / "hello").code == "link_outside"


@pytest.mark.parametrize(
    ("files", "code", "said"),
    [
        ({"index.js": "", "index.ts": ""}, "no_entry_file", "has several entry files: index.js, index.ts"),
        ({"package.json": "{}"}, "no_entry_file", "has no entry file"),
        ({"package.json": "[", "requirements.txt": ""}, "no_entry_file", "has no entry file"),
        ({"zmesh.toml": 'entry = "../x.py"'}, "bad_settings_file", "entry is not a file of this folder"),
        ({"zmesh.toml": "entry = 1"}, "bad_settings_file", "entry is not a file of this folder"),
        ({"zmesh.toml": "entry = "}, "bad_settings_file", "cannot be read"),
        ({"zmesh.toml": 'entri = "main.py"', "app.py": ""}, "bad_settings_file", 'unknown key "entri"'),
        ({"zmesh.toml": 'entry_pont = "run"', "main.py": ""}, "bad_settings_file", 'unknown key "entry_pont"'),
        ({"zmesh.toml": 'entry = "a.rb"', "a.rb": ""}, "unknown_language", "unsupported file extension"),
        ({"main.py": b"\xff"}, "unreadable_file", "main.py, the entry file, is not UTF-8 text"),
        ({"main.py": b"#" * 1_048_577}, "too_large", "the limit is 1.0 MiB"),
        ({"main.py": "", "a": b"x" * 8_388_609}, "too_large", "the files have 8.0 MiB together"),
        ({"main.py": "", **{str(n): "" for n in range(1000)}}, "too_many_files", "1001 files; the limit is 1000"),
        ({"main.py": "", "d/" * 130 + "x": ""}, "path_too_long", "longer than 255 bytes"),
        ({"notes.md": ""}, "file_not_found", "contains no functions"),
    ],
)
def test_what_cannot_be_deployed_is_refused_with_a_reason(
    tmp_path: Path, files: dict[str, Any], code: str, said: str
) -> None:
    for path, content in files.items():
        put(tmp_path / "hello", path, content)
    refused = refusal(tmp_path / "hello")
    assert (refused.code, said in refused.message) == (code, True), refused.message


def test_a_single_file_that_is_too_large_is_refused_by_its_name(tmp_path: Path) -> None:
    put(tmp_path, "large.py", b"#" * 1_048_577)
    refused = refusal(tmp_path / "large.py")
    assert refused.code == "too_large"
    assert refused.message.endswith("large.py has 1.0 MiB; the limit for a single file is 1.0 MiB.")
    assert refused.hint is not None


def test_the_settings_of_a_folder_may_name_the_entry_point_without_the_entry_file(tmp_path: Path) -> None:
    put(tmp_path, "zmesh.toml", 'entry_point = "run"\n')
    put(tmp_path, "main.py")
    assert read_function(tmp_path)["entry_file"] == "main.py"


def test_a_missing_path_is_called_missing_whatever_its_ending(tmp_path: Path) -> None:
    put(tmp_path, "report/main.py", HANDLER)
    for name in ("reprot", "reprot/", "nothing.py", "nothing.txt"):
        assert refusal(tmp_path / name).message.endswith(f"{name.rstrip('/')} does not exist."), name
    assert refusal(tmp_path / "reprot").hint == "Did you mean report?"


def test_a_folder_without_an_entry_file_is_told_which_file_may_be_it(tmp_path: Path) -> None:
    for path in ("app.py", "a.py", "requirements.txt"):
        put(tmp_path, path)
    assert 'entry = "app.py"' in refusal(tmp_path).hint


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "main.py", HANDLER)
    os.mkfifo(tmp_path / "pipe")
    assert "is not a regular file" in refusal(tmp_path).message
