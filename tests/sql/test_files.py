"""Folders as functions, in plain SQL: what is stored, snapshotted and refused."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from tests.databases import Database, Row

FILES = {"helpers.py": "ONE = 1\n", "data/logo.png": {"base64": "iVBORw0="}}

REFUSED: tuple[tuple[Any, str], ...] = (
    ({"/etc/passwd": ""}, 'path "/etc/passwd" is not a normalized relative path'),
    ({"../x": ""}, "not a normalized"),
    ({"a/../../x": ""}, "not a normalized"),
    ({"a/..": ""}, "not a normalized"),
    ({"./a": ""}, "not a normalized"),
    ({"a/./b": ""}, "not a normalized"),
    ({"a//b": ""}, "not a normalized"),
    ({"a/": ""}, "not a normalized"),
    ({"": ""}, "not a normalized"),
    ({"a\\b": ""}, "not a normalized"),
    ({"a\nb": ""}, "not a normalized"),
    ({"a\x7f": ""}, "not a normalized"),
    ({"tmp": ""}, 'path "tmp" is taken: the working directory of a run has a folder "tmp"'),
    ({".shm/a": ""}, 'path ".shm/a" is taken'),
    ({"é" * 128: ""}, "longer than 255 bytes"),
    ({"main.py": ""}, '"main.py" is the entry file'),
    ({"Main.py": ""}, '"Main.py" and "main.py" differ only in case'),
    ({"src/a": "", "SRC/b": ""}, '"SRC" and "src" differ only in case'),
    ({"caf\u00e9": "", "cafe\u0301": ""}, "differ only in case or Unicode normalization"),
    ({"a": "", "a/b": ""}, '"a" is a file and also a folder'),
    ({"main.py/b": ""}, '"main.py" is a file and also a folder'),
    ({"a": 1}, 'the content of "a" is neither text nor'),
    ({"a": None}, 'the content of "a" is neither text nor'),
    ({"a": {}}, 'the content of "a" is neither text nor'),
    ({"a": {"base64": 1}}, 'the content of "a" is neither text nor'),
    ({"a": {"base64": "%"}}, 'the content of "a" is neither text nor'),
    ({"a": {"base64": "", "text": ""}}, 'the content of "a" is neither text nor'),
    (["a"], "not an object of paths"),
    ({str(n): "" for n in range(1000)}, "at most 1000 files, not 1001"),
    ({"a": "x" * (8 * 1024 * 1024)}, "8388611 bytes in total"),
)


def folder(database: Database, files: Any = FILES, entry_file: str | None = "main.py", **columns: Any) -> object:
    return database.function(database.project(), code="one", files=json.dumps(files), entry_file=entry_file, **columns)


def current(database: Database, function: object) -> Row:
    return database.row("select version, entry_file, files, file_sizes from zmesh.functions where id = %s", function)


def test_a_plain_sql_update_of_the_files_is_snapshotted(database: Database) -> None:
    function = folder(database)
    database.rows("""update zmesh.functions set files = files || '{"b.txt": "b"}' where id = %s""", function)
    [saved] = database.rows("select * from zmesh.function_versions where function_id = %s", function)
    assert (saved["version"], saved["entry_file"], saved["files"]) == (1, "main.py", FILES)
    assert current(database, function) == {
        "version": 2,
        "entry_file": "main.py",
        "files": {**FILES, "b.txt": "b"},
        "file_sizes": {"main.py": 3, "helpers.py": 8, "data/logo.png": 5, "b.txt": 1},
    }


def test_a_rollback_restores_every_file_and_can_be_rolled_back(database: Database) -> None:
    function = folder(database)
    database.rows("update zmesh.functions set files = '{}', entry_file = null where id = %s", function)
    assert current(database, function)["file_sizes"] == {}
    database.rows("select zmesh.rollback(%s, 1)", function)
    assert (current(database, function)["files"], current(database, function)["entry_file"]) == (FILES, "main.py")
    database.rows("select zmesh.rollback(%s, 2)", function)
    assert (current(database, function)["files"], current(database, function)["entry_file"]) == ({}, None)


def test_nobody_chooses_the_sizes_and_a_change_of_settings_keeps_the_version(database: Database) -> None:
    function = folder(database)
    before = current(database, function)
    database.rows("""update zmesh.functions set file_sizes = '{"x": 1}', timeout_ms = 5 where id = %s""", function)
    assert current(database, function) == before


def test_a_claim_says_that_there_are_files_and_a_listener_reads_those_of_the_version(database: Database) -> None:
    project = database.project()
    function = database.function(project, code="one")
    database.rows(
        "update zmesh.functions set entry_file = 'main.py', files = %s where id = %s", json.dumps(FILES), function
    )
    database.rows("update zmesh.functions set files = '{}' where id = %s", function)
    for version in (1, 2, 3):
        database.enqueue(project, version=version)
    jobs = database.claim(database.listener())
    assert sorted((job["version"], job["entry_file"]) for job in jobs) == [(1, None), (2, "main.py"), (3, "main.py")]
    found = [
        database.value("select zmesh.files_of(%s, %s)", function, version, url=database.listener_url)
        for version in (1, 2, 3, 4)
    ]
    assert found == [{}, FILES, {}, None]


def test_files_that_no_disk_could_keep_are_refused_with_their_path(database: Database) -> None:
    project = database.project()
    for files, said in REFUSED:
        with pytest.raises(psycopg.Error) as refused:
            database.function(project, code="one", files=json.dumps(files), entry_file="main.py")
        assert refused.value.sqlstate == "ZM422"
        assert said in str(refused.value)


def test_what_any_disk_can_keep_is_stored(database: Database) -> None:
    files = {
        **{f"many/{n}": "" for n in range(985)},
        **dict.fromkeys(
            ("__proto__", "...", "..a", "a b", "a:b", "ｆ.txt", "zmesh.py", "pg/index.js", "-", "'\"$(x)"), "x"
        ),
        "é" * 127: "\r\n",
        "deep/" * 50 + "x": {"base64": "AP8="},
    }
    function = folder(database, files)
    assert current(database, function)["files"] == files
    assert current(database, function)["file_sizes"]["__proto__"] == 1


def test_files_need_an_entry_file_with_a_path(database: Database) -> None:
    project = database.project()
    for entry_file in (None, "", "/main.py", "../main.py"):
        with pytest.raises(psycopg.Error, match=r"need an entry file|not a normalized"):
            database.function(project, files=json.dumps(FILES), entry_file=entry_file)


def test_an_update_is_checked_as_an_insert_is(database: Database) -> None:
    function = folder(database)
    for change in ('files = \'{"../x": ""}\'', "entry_file = 'helpers.py'", "entry_file = null", "files = 'null'"):
        with pytest.raises(psycopg.Error) as refused:
            database.rows(f"update zmesh.functions set {change} where id = %s", function)
        assert refused.value.sqlstate == "ZM422"
    assert current(database, function)["version"] == 1
