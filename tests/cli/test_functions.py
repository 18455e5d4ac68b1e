"""`zmesh functions …` as a person types it, against a running platform."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.platform import COMMANDS, ZMESH, Platform, clean_environment, zmesh_dev


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with zmesh_dev(tmp_path_factory.mktemp("cli"), "--no-examples") as running:
        yield running


def write(platform: Platform, name: str, code: str) -> Path:
    path = platform.folder / name
    path.write_text(code)
    return path


def test_nothing_needs_to_be_configured_beside_a_running_zmesh_dev(platform: Platform) -> None:
    done = subprocess.run(
        [*ZMESH, "functions", "list"], cwd=platform.folder, env=clean_environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert isinstance(json.loads(done.stdout), list)


def test_deploy_creates_then_skips_then_shows_what_changed(platform: Platform) -> None:
    path = write(platform, "greet-a.py", "def handler(payload, zmesh):\n    return 'one'\n")
    for action in ("created", "unchanged"):
        [deployed] = json.loads(platform.zmesh("functions", "deploy", str(path)))
        assert deployed["action"] == action
    path.write_text("def handler(payload, zmesh):\n    return 'two'\n")
    shown = platform.zmesh("functions", "deploy", str(path), "--timeout-ms", "5000", "--output", "table")
    assert "updated greet-a (version 2)" in shown
    assert "-    return 'one'" in shown
    assert "+    return 'two'" in shown
    assert "timeout_ms: 10000 → 5000" in shown


def test_invoke_prints_the_result_and_fails_with_the_function(platform: Platform) -> None:
    code = "exports.handler = async (p) => { if (p.bad) throw new TypeError('no'); return { got: p.n }; };"
    path = write(platform, "greet-b.js", code)
    platform.zmesh("functions", "deploy", str(path))
    answer = json.loads(platform.zmesh("functions", "invoke", "greet-b", "--data", '{"n": 7}'))
    assert (answer["status"], answer["result"]) == ("success", {"got": 7})
    said = platform.zmesh("functions", "invoke", "greet-b", "--data", '{"bad": 1}', "--output", "table", status=1)
    assert "TypeError: no" in said
    assert "greet-b.js:1" in said


def test_logs_end_by_themselves_and_hold_what_was_printed(platform: Platform) -> None:
    path = write(platform, "greet-c.py", "def handler(payload, zmesh):\n    print('a line')\n")
    platform.zmesh("functions", "deploy", str(path))
    platform.zmesh("functions", "invoke", "greet-c")
    [invocation] = json.loads(platform.zmesh("functions", "logs", "greet-c"))
    [line] = invocation["logs"]
    assert (line["level"], line["message"]) == ("info", "a line")


def test_a_rollback_is_a_new_version_and_can_be_undone(platform: Platform) -> None:
    path = write(platform, "greet-d.py", "def handler(payload, zmesh):\n    return 1\n")
    platform.zmesh("functions", "deploy", str(path))
    path.write_text("def handler(payload, zmesh):\n    return 2\n")
    platform.zmesh("functions", "deploy", str(path))
    assert json.loads(platform.zmesh("functions", "rollback", "greet-d", "1"))["version"] == 3
    assert platform.result("greet-d") == 1
    assert json.loads(platform.zmesh("functions", "rollback", "greet-d", "2"))["version"] == 4
    assert platform.result("greet-d") == 2
    assert [v["version"] for v in json.loads(platform.zmesh("functions", "versions", "greet-d"))] == [4, 3, 2, 1]
    assert "greet-d has no version 9" in platform.zmesh("functions", "rollback", "greet-d", "9", status=1)


def test_a_misspelt_name_is_answered_with_the_nearest_one(platform: Platform) -> None:
    path = write(platform, "send-letter.py", "def handler(payload, zmesh):\n    return 1\n")
    platform.zmesh("functions", "deploy", str(path))
    assert "Did you mean send-letter?" in platform.zmesh("functions", "invoke", "send-leter", status=1)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("functions", "invoke", "x", "--data", "{"), 2, "not valid JSON"),
        (("functions", "invoke", "x", "--data", "@missing.json"), 2, "cannot be read"),
        (("functions", "deploy", "missing.py"), 1, "does not exist"),
        (("functions", "deploy", "notes.txt"), 1, "unsupported file extension"),
        (("functions", "deploy", "a.py", "--env", "NOVALUE"), 2, "KEY=VALUE"),
        (("functions", "frobnicate"), 2, "has no command"),
    ],
)
def test_misuse_is_named(platform: Platform, arguments: tuple[str, ...], status: int, said: str) -> None:
    write(platform, "notes.txt", "hello")
    write(platform, "a.py", "def handler(payload, zmesh): pass\n")
    assert said in platform.zmesh(*arguments, status=status)


def test_delete_takes_the_function_away(platform: Platform) -> None:
    path = write(platform, "greet-e.py", "def handler(payload, zmesh):\n    return 1\n")
    platform.zmesh("functions", "deploy", str(path))
    platform.zmesh("functions", "delete", "greet-e", "--yes")
    assert platform.invoke("greet-e").status_code == 404


def test_login_is_remembered_for_this_user_only(platform: Platform, tmp_path: Path) -> None:
    facts = json.loads((platform.folder / ".zmesh" / "dev.json").read_text())
    environment = {**clean_environment(), "XDG_CONFIG_HOME": str(tmp_path)}
    wrong = [*ZMESH, "login", "--url", platform.url, "--email", facts["admin_email"], "--password", "wrong"]
    assert subprocess.run(wrong, env=environment, cwd=tmp_path, capture_output=True).returncode == 1
    right = [*wrong[:-1], facts["admin_password"]]
    subprocess.run(right, env=environment, cwd=tmp_path, capture_output=True, check=True)
    assert (tmp_path / "zmesh" / "login.json").stat().st_mode & 0o777 == 0o600
    listed = [*ZMESH, "functions", "list"]
    done = subprocess.run(listed, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert isinstance(json.loads(done.stdout), list)


def test_several_files_are_deployed_together_or_not_at_all(platform: Platform) -> None:
    good = [write(platform, f"batch-{n}.js", "exports.handler = () => 1") for n in (1, 2)]
    write(platform, "!!!.js", "exports.handler = () => 1")
    said = platform.zmesh("functions", "deploy", str(good[0]), "!!!.js", str(good[1]), status=1)
    assert "Nothing was deployed" in said
    assert "batch-" not in platform.zmesh("functions", "list")
    deployed = json.loads(platform.zmesh("functions", "deploy", *map(str, good)))
    assert [function["action"] for function in deployed] == ["created", "created"]


def test_a_folder_is_deployed_at_once(platform: Platform) -> None:
    folder = platform.folder / "shop"
    folder.mkdir()
    for name in ("order.py", "_shared.py", "types.d.ts", "readme.md"):
        (folder / name).write_text("def handler(payload, zmesh):\n    return 1\n")
    (folder / "receipt.js").write_text("exports.handler = () => 2")
    deployed = json.loads(platform.zmesh("functions", "deploy", str(folder)))
    assert [(function["slug"], function["action"]) for function in deployed] == [
        ("order", "created"),
        ("receipt", "created"),
    ]
    (folder / "receipt.js").write_text("exports.handler = () => 3")
    actions = [function["action"] for function in json.loads(platform.zmesh("functions", "deploy", str(folder)))]
    assert actions == ["unchanged", "updated"]
    empty = platform.folder / "empty"
    empty.mkdir()
    assert "contains no functions" in platform.zmesh("functions", "deploy", str(empty), status=1)


def test_a_folder_with_an_entry_file_is_one_function_and_its_changes_are_shown_by_file(platform: Platform) -> None:
    folder = platform.folder / "greeter"
    (folder / "data").mkdir(parents=True)
    (folder / "main.py").write_text("import words\n\ndef handler(payload, zmesh):\n    return words.HELLO\n")
    (folder / "words.py").write_text("HELLO = 'hello'\n")
    (folder / "data" / "logo.png").write_bytes(b"\x89PNG\xff")
    (folder / ".env").write_text("SECRET=1")
    created = platform.zmesh("functions", "deploy", str(folder), "--output", "table")
    assert "created greeter (version 1): 3 files, 87 B" in created
    assert "  data/logo.png (5 B)" in created
    assert "unchanged greeter" in platform.zmesh("functions", "deploy", str(folder), "--output", "table")
    (folder / "words.py").write_text("HELLO = 'bye'\n")
    (folder / "data" / "logo.png").unlink()
    (folder / "notes.txt").write_text("n")
    updated = platform.zmesh("functions", "deploy", str(folder), "--output", "table")
    assert "updated greeter (version 2): 3 files, 81 B" in updated
    for line in ("- data/logo.png (5 B)", "+ notes.txt (1 B)", "--- version 1: words.py", "+HELLO = 'bye'"):
        assert f"\n  {line}\n" in updated
    compared = platform.zmesh("functions", "diff", "greeter", "--output", "table")
    assert "@ words.py (16 B → 14 B)\n@@ -1 +1 @@\n-HELLO = 'hello'\n+HELLO = 'bye'\n" in compared
    assert "3 files, 87 B" in platform.zmesh("functions", "versions", "greeter", "--output", "table")
    assert "words.py (14 B)" in platform.zmesh("functions", "show", "greeter", "--output", "table")
    shown = platform.zmesh("functions", "show", "greeter", "--version", "1", "--file", "words.py")
    assert shown == "HELLO = 'hello'\n"
    assert "Did you mean words.py?" in platform.zmesh("functions", "show", "greeter", "--file", "word.py", status=1)
    assert platform.result("greeter") == "bye"
    platform.zmesh("functions", "rollback", "greeter", "1")
    assert platform.result("greeter") == "hello"


def test_a_file_deployed_over_a_folder_makes_it_a_single_file_again(platform: Platform) -> None:
    folder = platform.folder / "shrinks"
    folder.mkdir()
    (folder / "main.py").write_text("def handler(payload, zmesh):\n    return 1\n")
    platform.zmesh("functions", "deploy", str(folder))
    path = write(platform, "shrinks.py", "def handler(payload, zmesh):\n    return 2\n")
    [deployed] = json.loads(platform.zmesh("functions", "deploy", str(path)))
    assert sorted(deployed["changed"]) == ["code", "entry_file", "files"]
    assert platform.result("shrinks") == 2


def test_versions_are_compared_pinned_and_rolled_out_by_an_alias(platform: Platform) -> None:
    path = write(platform, "rolled.py", "def handler(payload, zmesh):\n    return 1\n")
    platform.zmesh("functions", "deploy", str(path))
    platform.zmesh("functions", "alias", "set", "rolled", "live", "1")
    path.write_text("def handler(payload, zmesh):\n    return 2\n")
    assert "version 2" in platform.zmesh("functions", "deploy", str(path), "--output", "table")
    compared = platform.zmesh("functions", "diff", "rolled", "--output", "table")
    assert "-    return 1\n+    return 2" in compared
    assert compared == platform.zmesh("functions", "diff", "rolled", "1", "2", "--output", "table")
    assert "version 9" in platform.zmesh("functions", "diff", "rolled", "9", status=1)
    assert "return 1" in platform.zmesh("functions", "show", "rolled", "--version", "1", "--output", "table")

    def result(*options: str) -> object:
        return json.loads(platform.zmesh("functions", "invoke", "rolled", *options))["result"]

    assert (result(), result("--version", "2")) == (1, 2)
    shared = platform.zmesh("functions", "alias", "set", "rolled", "live", "1=1%", "2=99", "--output", "table")
    assert "version 1 1 %, version 2 99 %" in shared
    [alias] = json.loads(platform.zmesh("functions", "alias", "list", "rolled"))
    assert alias["versions"] == {"1": 1, "2": 99}
    platform.zmesh("functions", "alias", "delete", "rolled", "live")
    assert result() == 2
    path.write_text("def handler(payload, zmesh):\n    return 3\n")
    platform.zmesh("functions", "deploy", str(path), "--message", "Returns three", "--share", "0")
    assert result() == 2
    table = platform.zmesh("functions", "versions", "rolled", "--output", "table")
    assert "Returns three" in table
    email = json.loads((platform.folder / ".zmesh" / "dev.json").read_text())["admin_email"]
    assert email.partition("@")[0] in table


def test_an_invocation_can_be_asked_for_later(platform: Platform) -> None:
    path = write(platform, "delayed.py", "def handler(payload, zmesh):\n    return payload\n")
    platform.zmesh("functions", "deploy", str(path))
    options = ("--delay", "3600", "--priority", "7", "--max-attempts", "2", "--idempotency-key", "one")
    accepted = json.loads(platform.zmesh("functions", "invoke", "delayed", *options))
    again = json.loads(platform.zmesh("functions", "invoke", "delayed", *options))
    assert (accepted["status"], again["invocation_id"]) == ("queued", accepted["invocation_id"])
    assert "whole number" in platform.zmesh("functions", "invoke", "delayed", "--priority", "high", status=1)


def test_variables_are_added_to_those_already_set_and_never_shown(platform: Platform) -> None:
    path = write(platform, "env.py", "def handler(payload, zmesh):\n    return [zmesh.env.A, zmesh.env.B]\n")
    platform.zmesh("functions", "deploy", str(path), "--env", "A=one", "--env", "B=x=y")
    shown = platform.zmesh("functions", "deploy", str(path), "--env", "A=secret", "--output", "table")
    assert "variables set: A" in shown
    assert "secret" not in shown
    assert platform.result("env") == ["secret", "x=y"]


def test_the_name_may_be_another_than_the_files(platform: Platform) -> None:
    path = write(platform, "index.js", "exports.main = () => 'named'")
    for action in ("created", "unchanged"):
        [deployed] = json.loads(
            platform.zmesh("functions", "deploy", str(path), "--name", "My Function!", "--entry-point", "main")
        )
        assert (deployed["action"], deployed["slug"]) == (action, "my-function")
    answer = json.loads(platform.zmesh("functions", "invoke", "My Function!"))
    assert answer["result"] == "named"


@pytest.mark.parametrize("way", ["argument", "file", "stdin", "file with a byte order mark"])
def test_a_payload_arrives_as_it_was_written(platform: Platform, way: str) -> None:
    code = "def handler(payload, zmesh):\n    return [repr(n) for n in payload]\n"
    platform.zmesh("functions", "deploy", str(write(platform, "exact.py", code)))
    text = "[1.0, 12345678901234567890]"
    file = write(platform, "data.json", f"\ufeff{text}" if "mark" in way else text)
    data = {"argument": text, "stdin": "-"}.get(way, f"@{file}")
    command = ("functions", "invoke", "exact", "--data", data)
    done = COMMANDS.run(command, cwd=platform.folder, env=clean_environment(), stdin=text)
    assert json.loads(done.stdout)["result"] == ["1.0", "12345678901234567890"]


def test_without_waiting_the_invocation_is_named(platform: Platform) -> None:
    path = write(platform, "later.py", "def handler(payload, zmesh):\n    return payload\n")
    platform.zmesh("functions", "deploy", str(path))
    accepted = json.loads(platform.zmesh("functions", "invoke", "later", "--async", "--data", "[7]"))
    assert accepted["status"] in ("queued", "running")
    assert platform.ended(accepted["invocation_id"])["result"] == [7]


def test_following_the_logs_prints_each_invocation_as_it_ends(platform: Platform) -> None:
    path = write(platform, "followed.py", "def handler(payload, zmesh):\n    print(f'number {payload}')\n")
    platform.zmesh("functions", "deploy", str(path))
    platform.result("followed", 1)
    with subprocess.Popen(
        [*ZMESH, "functions", "logs", "followed", "--follow"],
        cwd=platform.folder,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as following:
        assert following.stdout is not None
        printed = []
        for number in (1, 2, 3):
            if number > 1:
                platform.result("followed", number)
            printed.append(json.loads(following.stdout.readline())["logs"][0]["message"])
        following.send_signal(signal.SIGINT)
        assert following.wait() == 130
    assert printed == ["number 1", "number 2", "number 3"]


def on_a_terminal(platform: Platform, *arguments: str, **environment: str) -> str:
    """What a person sees."""
    ours, theirs = pty.openpty()
    variables = {**clean_environment(), "TERM": "xterm-256color", "COLUMNS": "100", **environment}
    with subprocess.Popen(
        [*ZMESH, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, cwd=platform.folder, env=variables
    ) as process:
        os.close(theirs)
        seen = b""
        with contextlib.suppress(OSError):  # that is how a terminal says that its other end is closed
            while chunk := os.read(ours, 4096):
                seen += chunk
        os.close(ours)
        process.wait()
    return seen.decode()


def test_people_get_tables_and_colours_unless_they_want_none(platform: Platform) -> None:
    variables = {"NO_COLOR": ""}
    write(platform, "seen.py", "def handler(payload, zmesh):\n    return {'n': 1}\n")
    assert "\x1b[32mcreated" in on_a_terminal(platform, "functions", "deploy", "seen.py", **variables)
    listed = on_a_terminal(platform, "functions", "list", **variables)
    assert "timeout" in listed
    assert "\x1b[" in listed
    for arguments in (("list",), ("show", "seen"), ("invoke", "seen"), ("logs", "seen"), ("invoke", "nobody")):
        plain = on_a_terminal(platform, "functions", *arguments, NO_COLOR="1")
        assert not re.search(r"\x1b\[[0-9;]*[34][0-7]m", plain)
    assert json.loads(on_a_terminal(platform, "functions", "list", "--output", "json", **variables))


def test_a_reader_that_has_seen_enough_is_no_error(platform: Platform) -> None:
    command = " ".join(shlex.quote(word) for word in [*ZMESH, "functions", "list"])
    done = subprocess.run(
        ["bash", "-c", f"{command} | true"], cwd=platform.folder, env=clean_environment(), capture_output=True
    )
    assert done.stderr == b""


def test_doctor_tries_out_what_the_platform_needs(tmp_path: Path) -> None:
    done = subprocess.run(
        [*ZMESH, "doctor"], env=clean_environment(), cwd=tmp_path, capture_output=True, text=True, check=True
    )
    checks = {finding["check"]: finding["state"] for finding in json.loads(done.stdout)}
    assert checks["Node.js"] == checks["Python"] == checks["PostgreSQL"] == "ok"
    assert checks["Isolation"] in ("ok", "warning")


def test_settings_are_changed_without_the_code(platform: Platform) -> None:
    path = write(platform, "greet-s.py", "def handler(payload, zmesh):\n    return 1\n")
    platform.zmesh("functions", "deploy", str(path), "--tag", "mail", "--max-concurrency", "2")
    options = ("--method", "get", "--cors-origin", "none", "--max-concurrency", "none", "--auth", "none", "--disable")
    shown = platform.zmesh("functions", "update", "greet-s", *options, "--output", "table")
    assert "updated greet-s (version 1)" in shown
    assert "auth: api_key → none" in shown
    function = json.loads(platform.zmesh("functions", "show", "greet-s"))
    names = ("tags", "methods", "cors_origins", "max_concurrency", "auth", "enabled")
    assert [function[name] for name in names] == [["mail"], ["GET"], [], None, "none", False]
    assert function["id"] in platform.zmesh("functions", "show", "greet-s", "--output", "table")
    assert [f["slug"] for f in json.loads(platform.zmesh("functions", "list", "--tag", "mail"))] == ["greet-s"]
    assert "at least one setting" in platform.zmesh("functions", "update", "greet-s", status=2)


def test_a_retired_version_is_shown_as_such_and_run_by_nothing(platform: Platform) -> None:
    path = write(platform, "greet-r.py", "def handler(payload, zmesh):\n    return 1\n")
    platform.zmesh("functions", "deploy", str(path))
    path.write_text("def handler(payload, zmesh):\n    return 2\n")
    platform.zmesh("functions", "deploy", str(path), "--key-option", "version", "--public-errors")
    assert "is retired" in platform.zmesh("functions", "retire", "greet-r", "1", "--output", "table")
    assert "retired" in platform.zmesh("functions", "versions", "greet-r", "--output", "table")
    for command in (("invoke", "greet-r", "--version", "1"), ("rollback", "greet-r", "1")):
        assert "zmesh functions unretire greet-r 1" in platform.zmesh("functions", *command, status=1)
    assert "is the current version" in platform.zmesh("functions", "retire", "greet-r", "2", status=1)
    assert json.loads(platform.zmesh("functions", "unretire", "greet-r", "1"))["retired_at"] is None
    assert json.loads(platform.zmesh("functions", "invoke", "greet-r", "--version", "1"))["result"] == 1
    function = json.loads(platform.zmesh("functions", "show", "greet-r"))
    assert (function["key_options"], function["public_errors"]) == (["version"], True)
    platform.zmesh("functions", "update", "greet-r", "--key-option", "none", "--anonymous-option", "idempotency_key")
    function = json.loads(platform.zmesh("functions", "show", "greet-r"))
    assert (function["key_options"], function["anonymous_options"]) == ([], ["idempotency_key"])


def test_variables_are_set_and_removed_one_by_one(platform: Platform) -> None:
    path = write(platform, "vars.py", "def handler(payload, zmesh):\n    return dict(zmesh.env)\n")
    platform.zmesh("functions", "deploy", str(path), "--env", "A=1", "--env", "B=2", "--unset", "C")
    said = platform.zmesh("functions", "update", "vars", "--unset", "A", "--env", "B=3", "--output", "table")
    assert "variables set: B" in said
    assert "variables removed: A" in said
    assert platform.result("vars") == {"B": "3"}


def test_the_name_of_a_secret_is_checked_before_its_value_is_asked_for(platform: Platform) -> None:
    for name in ("my-secret", "1st", "with space", ""):
        said = platform.zmesh("secrets", "set", name, status=2, stdin="value")
        assert "is not a valid name" in re.sub(r"[\s│]+", " ", said), name


def test_invoke_sends_an_http_request_when_asked(platform: Platform) -> None:
    code = """
def handler(payload, zmesh):
    request = zmesh.request
    return {"method": request.method, "path": request.path, "query": request.query,
            "accept": request.headers["accept"], "payload": payload}
"""
    platform.zmesh("deploy", str(write(platform, "orders.py", code)))
    request = ("--path", "/7/lines", "--query", "verbose=1", "--query", "q=a b&c", "--header", "Accept: text/csv")
    found = json.loads(platform.zmesh("invoke", "orders", "--method", "put", "--data", '{"n": 1}', *request))["result"]
    assert found == {
        "method": "PUT",
        "path": "/7/lines",
        "query": {"verbose": "1", "q": "a b&c"},
        "accept": "text/csv",
        "payload": {"n": 1},
    }
    assert json.loads(platform.zmesh("invoke", "orders", "--path", "7"))["result"]["path"] == "/7"
    assert "NAME: VALUE" in platform.zmesh("invoke", "orders", "--header", "Accept", status=2)


def test_a_value_that_is_refused_is_named_by_its_option(platform: Platform) -> None:
    platform.zmesh("deploy", str(write(platform, "later.py", "def handler(payload):\n    pass\n")))
    for option, value in (("--priority", "1000"), ("--delay", "-5"), ("--max-attempts", "many"), ("--run-at", "soon")):
        said = platform.zmesh("invoke", "later", option, value, status=1)
        assert f"error: {option} " in said, said


def in_terminal(platform: Platform, *arguments: str, columns: int = 80) -> str:
    """What a command shows on a terminal of this width."""
    primary, secondary = pty.openpty()
    environment = {**clean_environment(), "COLUMNS": str(columns), "NO_COLOR": "1", "TERM": "xterm"}
    with subprocess.Popen(
        [*ZMESH, *arguments], cwd=platform.folder, env=environment, stdin=secondary, stdout=secondary, stderr=secondary
    ) as process:
        os.close(secondary)
        shown = b""
        with contextlib.suppress(OSError), open(primary, "rb", buffering=0) as terminal:
            while part := terminal.read(65536):
                shown += part
    assert process.returncode == 0, shown
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).replace("\r\n", "\n")


def test_lists_have_headers_and_fit_eighty_columns(platform: Platform) -> None:
    path = write(
        platform,
        "a-function-with-a-name-of-forty-letters.py",
        "def handler(payload, zmesh):\n    return payload['n']\n",
    )
    platform.zmesh("deploy", str(path))
    slug = "a-function-with-a-name-of-forty-letters"
    platform.zmesh("invoke", slug, status=1)
    for noun, first in (
        ("functions", "function"),
        ("invocations", "function"),
        ("projects", "project"),
        ("keys", "key"),
    ):
        lines = in_terminal(platform, noun, "list").splitlines()
        assert lines[0].split()[0] == first, lines
        assert max(map(len, lines)) <= 80, lines
    listed = in_terminal(platform, "invocations", "list", "--function", slug)
    assert listed.count("KeyError") == 1
    columns = [line.index(word) for line, word in zip(listed.splitlines()[:2], ("status", "error"), strict=True)]
    assert columns[0] == columns[1]


def test_a_table_wider_than_the_terminal_wraps_and_loses_nothing(platform: Platform) -> None:
    platform.zmesh("deploy", str(write(platform, "weekly.py", "def handler(payload):\n    pass\n")))
    zone = ("--timezone", "America/Argentina/Buenos_Aires")
    platform.zmesh(
        "schedules", "create", "weekly", "30 6 * * sat-sun", "--name", "weekend", *zone, "--overlap", "queue"
    )
    shown = in_terminal(platform, "schedules", "list")
    assert max(map(len, shown.splitlines())) <= 80, shown
    for word in ("function", "overlap", "weekend", "sat-sun", ":30:00", "queue"):
        assert word in shown, shown
    assert "missed" not in shown, "each has the usual policy"


def test_show_cuts_no_line_of_the_code(platform: Platform) -> None:
    long = f"x = '{'y' * 200}'"
    path = write(platform, "long-line.py", f"def handler(payload, zmesh):\n    return 1\n{long}\n")
    platform.zmesh("deploy", str(path))
    assert long in in_terminal(platform, "functions", "show", "long-line").replace("\n", "")


def test_a_person_who_pipes_is_told_why_it_is_json(platform: Platform) -> None:
    primary, secondary = pty.openpty()
    done = subprocess.run(
        [*ZMESH, "functions", "list"],
        cwd=platform.folder,
        env={**clean_environment(), "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=secondary,
    )
    os.close(secondary)
    with open(primary, "rb", buffering=0) as terminal:
        assert b"--output table" in terminal.read(4096)
    json.loads(done.stdout)
