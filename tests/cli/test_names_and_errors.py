"""Names of every kind, output of every kind, and errors that name the thing and the way out."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.platform import COMMANDS, ZMESH, Platform, clean_environment, zmesh_dev

ECHO = "def handler(payload, zmesh):\n    return payload\n"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with zmesh_dev(tmp_path_factory.mktemp("names"), "--no-examples") as running:
        yield running


def write(platform: Platform, name: str, code: str = ECHO) -> str:
    path = platform.folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(code)
    return str(path)


def run(platform: Platform, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command with nothing but these variables, away from the platform's folder."""
    variables = {**clean_environment(), "XDG_CONFIG_HOME": str(platform.folder / "nowhere"), **environment}
    return COMMANDS.run(arguments, cwd=platform.folder.parent, env=variables)


def code_of(platform: Platform, slug: str) -> str:
    return str(platform.request("GET", f"/functions/{slug}").json()["code"])


def test_a_function_is_never_replaced_by_one_with_another_name(platform: Platform) -> None:
    platform.zmesh("functions", "deploy", write(platform, "send_mail.py"))
    other = write(platform, "send-mail.js", "exports.handler = () => 1")
    said = platform.zmesh("functions", "deploy", other, status=1)
    assert "name_taken" in said
    assert 'the name "send-mail" gives the slug "send-mail", which function "send_mail" already has' in said.lower()
    assert code_of(platform, "send-mail") == ECHO
    platform.zmesh("functions", "deploy", write(platform, "rocket.py"), "--name", "🚀 x")
    assert "name_taken" in platform.zmesh("functions", "deploy", other, "--name", "🔥 x", status=1)
    assert code_of(platform, "x") == ECHO


def test_the_same_name_is_updated(platform: Platform) -> None:
    platform.zmesh("functions", "deploy", write(platform, "same name.py"))
    [done] = json.loads(platform.zmesh("functions", "deploy", write(platform, "same name.py", ECHO + "\n")))
    assert (done["action"], done["version"]) == ("updated", 2)


@pytest.mark.parametrize(("first", "second"), [("twin.js", "twin.py"), ("a_b.js", "a-b.py")])
def test_two_files_for_one_function_deploy_nothing_and_are_both_named(
    platform: Platform, first: str, second: str
) -> None:
    folder = f"folder-{first[:3]}"
    paths = write(platform, f"{folder}/{first}", "exports.handler = () => 1"), write(platform, f"{folder}/{second}")
    said = platform.zmesh("functions", "deploy", str(platform.folder / folder), status=1)
    assert "name_taken" in said
    assert all(path in said for path in paths)
    assert "Nothing was deployed" in said
    slugs = {function["slug"] for function in json.loads(platform.zmesh("functions", "list"))}
    assert not slugs & {"twin", "a-b"}


@pytest.mark.parametrize(("name", "slug"), [("Größe", "grosse"), ("Çağrı ñ", "cagri-n"), ("发送 mail", "mail")])
def test_names_with_other_letters_get_a_slug_that_can_be_read(platform: Platform, name: str, slug: str) -> None:
    [done] = json.loads(platform.zmesh("functions", "deploy", write(platform, "l.py"), "--name", name))
    assert done["slug"] == slug
    assert json.loads(platform.zmesh("functions", "invoke", name))["status"] == "success"


@pytest.mark.parametrize("name", ["发送邮件", "إرسال", "🔥"])
def test_a_name_without_any_latin_letter_is_refused_with_the_way_out(platform: Platform, name: str) -> None:
    said = platform.zmesh("functions", "deploy", write(platform, "m.py"), "--name", name, status=1)
    assert f'cannot derive a slug from the name "{name}"' in said
    assert "letters a to z" in said


@pytest.mark.parametrize("name", ["team/report", "100% sure?", "a#b", "..c", "q&a=1", "semi;colon", "two\nlines"])
def test_any_name_can_be_addressed(platform: Platform, name: str) -> None:
    platform.zmesh("functions", "deploy", write(platform, "any.py"), "--name", name)
    assert json.loads(platform.zmesh("functions", "invoke", name))["status"] == "success"
    assert json.loads(platform.zmesh("functions", "show", name))["name"] == name
    assert len(json.loads(platform.zmesh("functions", "logs", name))) == 1
    platform.zmesh("functions", "delete", name, "--yes")
    assert "There is no function" in platform.zmesh("functions", "show", name, status=1)


NOISE = """
def handler(payload, zmesh):
    text = chr(0xd83d) + "\\x1b[2J\\x1b]0;title\\x07\\x9b2J\\x7f\\u202egpj.exe" + chr(0x1f525)
    print(text)
    if payload.get("fail"):
        raise ValueError(text)
    return text
"""


def on_a_terminal(platform: Platform, *arguments: str) -> str:
    """What a command writes to a terminal."""
    leader, follower = pty.openpty()
    environment = {**clean_environment(), "ZMESH_URL": platform.url, "ZMESH_TOKEN": platform.token, "TERM": "xterm"}
    process = subprocess.Popen([*ZMESH, *arguments], stdout=follower, stderr=follower, env=environment)
    os.close(follower)
    said = b""
    try:
        while piece := os.read(leader, 65536):
            said += piece
    except OSError:
        pass  # the other end is closed
    finally:
        os.close(leader)
    assert process.wait() in (0, 1)
    return said.decode("utf-8", "surrogateescape")


@pytest.mark.parametrize(
    "arguments",
    [
        ("functions", "invoke", "noise"),
        ("functions", "invoke", "noise", "--data", '{"fail": true}'),
        ("functions", "logs", "noise"),
        ("invocations", "list", "--function", "noise"),
        ("functions", "show", "noise"),
    ],
)
def test_no_output_of_a_function_breaks_a_command_or_commands_the_terminal(
    platform: Platform, arguments: tuple[str, ...]
) -> None:
    platform.zmesh("functions", "deploy", write(platform, "noise.py", NOISE))
    status = 1 if "--data" in arguments else 0
    platform.zmesh(*arguments, status=status)
    shown = platform.zmesh(*arguments, "--output", "table", status=status) + on_a_terminal(platform, *arguments)
    assert "Traceback" not in shown.replace("Traceback (most recent call last)", "")
    for harmful in ("\x1b[2J", "\x1b]0", "\x07", "\x9b", "\x7f", "\u202e"):
        assert harmful not in shown


def test_json_stays_json_whatever_a_function_returns(platform: Platform) -> None:
    platform.zmesh("functions", "deploy", write(platform, "noise.py", NOISE))
    there = {"ZMESH_URL": platform.url, "ZMESH_TOKEN": platform.token}
    answer = subprocess.run(
        [*ZMESH, "functions", "invoke", "noise"],
        capture_output=True,
        text=True,
        env={**clean_environment(), **there, "PYTHONIOENCODING": "ascii"},
    )
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["result"].endswith("\x7f\u202egpj.exe🔥")


def test_the_start_of_an_id_is_enough(platform: Platform) -> None:
    platform.zmesh("functions", "deploy", write(platform, "ids.py"))
    id, other = [json.loads(platform.zmesh("functions", "invoke", "ids"))["invocation_id"] for _ in range(2)]
    start = id[:18]  # the millisecond and a few random digits: other tests of this project invoke functions, too
    assert not other.startswith(start)
    assert json.loads(platform.zmesh("invocations", "show", start))["id"] == id
    assert platform.zmesh("invocations", "logs", start.upper()) == "[]\n"
    assert f'More than one invocation starts with "{id[:6]}"' in platform.zmesh("invocations", "show", id[:6], status=1)
    for wrong in ("abc", "nonsense", "ffffffff", "ids"):
        said = platform.zmesh("invocations", "show", wrong, status=1)
        assert f'There is no invocation "{wrong}".' in said
        assert "zmesh invocations list" in said


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--timeout-ms", "99999999", "99999999 is not in the range 1<=x<=900000"),
        ("--memory-mb", "5", "5 is not in the range 64<=x<=8192"),
        ("--max-attempts", "0", "0 is not in the range 1<=x<=100"),
        ("--max-concurrency", "0", "must be a number from 1 to 1000000, or none (got 0)"),
    ],
)
def test_a_number_out_of_range_is_answered_with_the_option_and_its_bounds(
    platform: Platform, option: str, value: str, said: str
) -> None:
    shown = platform.zmesh("functions", "deploy", write(platform, "limits.py"), option, value, status=2)
    flat = " ".join(shown.replace("│", " ").split())
    assert option in flat
    assert said in flat


def test_what_the_server_refuses_is_named_as_the_command_line_calls_it(platform: Platform) -> None:
    said = platform.zmesh("functions", "deploy", write(platform, "limits.py"), "--tag", "!", status=1)
    assert "--tag" in said
    assert "functions.0" not in said


def test_an_invalid_address_is_named_with_where_it_is_set(platform: Platform) -> None:
    said = run(platform, "functions", "list", ZMESH_URL="foo", ZMESH_TOKEN="x").stderr
    assert '"foo"' in said
    assert "ZMESH_URL" in said


def test_an_api_key_is_told_what_deploying_needs(platform: Platform) -> None:
    environment = {"ZMESH_URL": platform.url, "ZMESH_API_KEY": platform.api_key}
    said = run(platform, "functions", "deploy", write(platform, "keyed.py"), **environment).stderr
    assert "An API key can only invoke functions" in said
    assert "zmesh login" in said
    answer = platform.client.get(f"{platform.url}/functions", headers={"x-api-key": platform.api_key})
    assert "requires the token of a user, not an API key" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("file", "code", "said"),
    [
        ("broken.py", "def handler(p, z):\n    return (1\n", ["broken.py:2:12", "return (1", "^"]),
        ("broken.js", "exports.handler = () => {\n  const a = ;\n};", ["broken.js:2:13", "const a = ;", "^"]),
        ("typo.py", "def hander(p, z):\n    return 1\n", ["did you mean hander? Nothing was deployed."]),
        ("typo.ts", "exports.main = (p: string) => p;", ["it exports main"]),
    ],
)
def test_code_that_cannot_load_is_deployed_by_force_only(
    platform: Platform, file: str, code: str, said: list[str]
) -> None:
    path, slug = write(platform, file, code), Path(file).stem
    shown = platform.zmesh("functions", "deploy", path, status=1)
    assert all(part in shown for part in said), shown
    assert "--force" in shown
    assert platform.request("GET", f"/functions/{slug}").status_code == 404
    [done] = json.loads(platform.zmesh("functions", "deploy", path, "--force"))
    assert done["action"] == "created"
    platform.zmesh("functions", "delete", slug, "--yes")
