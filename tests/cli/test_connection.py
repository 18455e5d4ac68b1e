"""Which platform a command uses, with which credentials, and its errors when that does not work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar
from uuid import uuid4

import httpx
import jwt
import psycopg
import pytest

from tests.platform import COMMANDS, Platform, clean_environment

ECHO = "def handler(payload, zmesh):\n    return payload\n"


def zmesh(folder: Path, *arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**clean_environment(), "XDG_CONFIG_HOME": str(folder / "config"), **environment}
    return COMMANDS.run(arguments, cwd=folder, env=variables, stdin=stdin)


@pytest.fixture
def project(tmp_path: Path, running_platform: Platform) -> Path:
    """A folder deep inside one with a dev.json of the running platform."""
    facts = (running_platform.folder / ".zmesh" / "dev.json").read_text()
    (tmp_path / ".zmesh").mkdir()
    (tmp_path / ".zmesh" / "dev.json").write_text(facts)
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    return deep


def dev_json(project: Path) -> Path:
    return project.parent.parent / ".zmesh" / "dev.json"


def test_dev_json_is_found_from_any_folder_below(project: Path) -> None:
    assert "examples" in zmesh(project, "projects", "list").stdout


def test_zmesh_home_names_it_from_anywhere(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    assert "examples" in zmesh(elsewhere, "projects", "list", ZMESH_HOME=str(dev_json(project).parent)).stdout


def test_a_token_that_ran_out_is_renewed_and_kept(project: Path, running_platform: Platform) -> None:
    facts = json.loads(dev_json(project).read_text())
    dev_json(project).write_text(json.dumps({**facts, "token": "expired"}))
    done = zmesh(project, "functions", "list")
    assert done.returncode == 0, done.stderr
    renewed = json.loads(dev_json(project).read_text())
    assert renewed.items() - {("token", renewed["token"])} == facts.items() - {("token", facts["token"])}
    headers = {"authorization": f"Bearer {renewed['token']}"}
    assert httpx.get(f"{running_platform.url}/functions", headers=headers).status_code == 200
    assert dev_json(project).stat().st_mode & 0o777 == 0o600


def test_env_sets_what_the_examples_of_the_documentation_use(project: Path, running_platform: Platform) -> None:
    facts = json.loads(dev_json(project).read_text())
    dev_json(project).write_text(json.dumps({**facts, "token": "expired"}))
    printed = zmesh(project, "env")
    assert printed.returncode == 0, printed.stderr
    shell = 'eval "$1"; echo "$ZMESH_URL $ZMESH_API_KEY $ZMESH_DATABASE_URL"; echo "$ZMESH_TOKEN"'
    said = subprocess.run(["sh", "-c", shell, "sh", printed.stdout], capture_output=True, text=True, check=True).stdout
    first, token = said.splitlines()
    assert first == f"{running_platform.url} {running_platform.api_key} {running_platform.database_url}"
    assert httpx.get(f"{running_platform.url}/functions", headers={"authorization": f"Bearer {token}"}).is_success
    assert json.loads(zmesh(project, "env", "--output", "json").stdout)["ZMESH_URL"] == running_platform.url


def test_a_token_that_env_printed_is_renewed_by_what_is_stored(project: Path, running_platform: Platform) -> None:
    claims = jwt.decode(running_platform.token, options={"verify_signature": False})
    old = jwt.encode({**claims, "exp": 1}, "somebody else's key of thirty-two bytes", algorithm="HS256")
    done = zmesh(project, "functions", "list", ZMESH_URL=running_platform.url, ZMESH_TOKEN=old)
    assert done.returncode == 0, done.stderr
    stranger = jwt.encode({**claims, "sub": str(uuid4())}, "somebody else's key of thirty-two bytes", algorithm="HS256")
    refused = zmesh(project, "functions", "list", ZMESH_URL=running_platform.url, ZMESH_TOKEN=stranger)
    assert refused.returncode == 1, refused.stdout


def test_every_command_works_in_another_project_when_asked(project: Path, running_platform: Platform) -> None:
    slug = f"shop-{uuid4().hex[:8]}"
    made = json.loads(zmesh(project, "projects", "create", slug).stdout)
    with psycopg.connect(made["database_url"]) as connection:
        [row] = connection.execute("select current_user")
        assert row[0] == made["role_name"]
    (project / "only-there.py").write_text(ECHO)
    deployed = zmesh(project, "functions", "deploy", "only-there.py", "--project", slug)
    assert deployed.returncode == 0, deployed.stderr
    there = zmesh(project, "functions", "list", "--project", slug).stdout
    assert [f["slug"] for f in json.loads(there)] == ["only-there"]
    assert "only-there" not in zmesh(project, "functions", "list").stdout
    url = json.loads(zmesh(project, "projects", "database", slug).stdout)["database_url"]
    assert url == json.loads(zmesh(project, "projects", "database", "--project", slug).stdout)["database_url"]
    assert url == made["database_url"]
    missing = zmesh(project, "functions", "list", "--project", "nowhere")
    assert "[not_a_member]" in missing.stderr
    key = {"ZMESH_URL": running_platform.url, "ZMESH_API_KEY": running_platform.api_key, "ZMESH_HOME": "nowhere"}
    assert "[bad_option]" in zmesh(project, "functions", "invoke", "x", "--project", slug, **key).stderr


def test_env_of_another_project_has_nothing_of_this_one(project: Path) -> None:
    slug = f"shop-{uuid4().hex[:8]}"
    made = json.loads(zmesh(project, "projects", "create", slug).stdout)
    printed = zmesh(project, "env", "--project", slug)
    shell = 'ZMESH_API_KEY=old; eval "$1"; echo "$ZMESH_DATABASE_URL ${ZMESH_API_KEY-unset}"'
    said = subprocess.run(["sh", "-c", shell, "sh", printed.stdout], capture_output=True, text=True, check=True).stdout
    assert said == f"{made['database_url']} unset\n"
    assert "ZMESH_API_KEY is not set" in printed.stderr
    shown = json.loads(zmesh(project, "env", "--project", slug, "--output", "json").stdout)
    assert shown.keys() == {"ZMESH_URL", "ZMESH_TOKEN", "ZMESH_DATABASE_URL"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_env_sets_and_unsets_variables_in_every_shell(project: Path, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed: apt-get install {shell}")
    slug = f"shop-{uuid4().hex[:8]}"
    made = json.loads(zmesh(project, "projects", "create", slug).stdout)
    before = "set ZMESH_API_KEY old" if shell == "fish" else "ZMESH_API_KEY=old"
    words = f'{before}; eval "$(zmesh env --project {slug})"; echo "$ZMESH_DATABASE_URL|$ZMESH_API_KEY"'
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    variables = {**clean_environment(), "PATH": path, "XDG_CONFIG_HOME": str(project)}
    done = subprocess.run([shell, "-c", words], cwd=project, env=variables, capture_output=True, text=True, check=True)
    assert done.stdout == f"{made['database_url']}|\n"
    assert done.stderr.splitlines() == ["ZMESH_API_KEY is not set: its value is unknown."]


def test_a_request_to_the_public_route_uses_the_credential_that_the_function_accepts(project: Path) -> None:
    slug = f"shop-{uuid4().hex[:8]}"
    zmesh(project, "projects", "create", slug)
    (project / "by-token.py").write_text(ECHO)
    (project / "by-key.py").write_text(ECHO)
    request = ("--header", "X-A: 1", "--data", '{"n": 1}')
    for there in ((), ("--project", slug)):
        for name, auth in (("by-token", "jwt"), ("by-key", "api_key")):
            assert zmesh(project, "functions", "deploy", f"{name}.py", "--auth", auth, *there).returncode == 0
        invoked = zmesh(project, "functions", "invoke", "by-token", *request, *there)
        assert json.loads(invoked.stdout)["result"] == {"n": 1}, invoked.stderr
    assert json.loads(zmesh(project, "functions", "invoke", "by-key", *request).stdout)["result"] == {"n": 1}
    refused = zmesh(project, "functions", "invoke", "by-key", *request, "--project", slug).stderr
    assert "[missing_credentials]" in refused
    assert f"zmesh keys create NAME --project {slug}" in refused


def test_suggested_commands_work_in_the_same_project(project: Path) -> None:
    slug = f"shop-{uuid4().hex[:8]}"
    zmesh(project, "projects", "create", slug)
    (project / "echo.py").write_text(ECHO)
    zmesh(project, "functions", "deploy", "echo.py", "--name", "echo it", "--project", slug)
    unused = zmesh(project, "functions", "logs", "echo it", "--project", slug, "--output", "table")
    assert f"zmesh functions invoke 'echo it' --project {slug}" in unused.stderr
    invoked = zmesh(project, "functions", "invoke", "echo it", "--project", slug, "--output", "table")
    assert f"zmesh functions logs 'echo it' --project {slug}" in invoked.stderr


def test_an_invalid_address_is_refused_whatever_the_credentials(tmp_path: Path) -> None:
    for url in ("foo", "127.0.0.1:8700", "ftp://host", "http://"):
        for credential in ({}, {"ZMESH_TOKEN": "a.b.c"}, {"ZMESH_API_KEY": "zb_x"}):
            assert "[bad_url]" in zmesh(tmp_path, "functions", "list", ZMESH_URL=url, **credential).stderr, url


def test_a_profile_wins_over_dev_json_when_asked_for(project: Path, running_platform: Platform) -> None:
    facts = json.loads(dev_json(project).read_text())
    slug = f"shop-{uuid4().hex[:8]}"
    running_platform.deploy("echo", ECHO)
    zmesh(project, "projects", "create", slug)
    login = ("login", "--url", running_platform.url, "--email", facts["admin_email"], "--project", slug)
    secret = {"ZMESH_PASSWORD": facts["admin_password"]}
    assert zmesh(project, *login, "--profile", "shop", **secret).returncode == 0
    assert json.loads(zmesh(project, "functions", "list", "--profile", "shop").stdout) == []
    assert json.loads(zmesh(project, "functions", "list", ZMESH_PROFILE="shop").stdout) == []
    assert json.loads(zmesh(project, "functions", "list").stdout)
    variables = json.loads(zmesh(project, "env", "--output", "json").stdout)
    assert json.loads(zmesh(project, "functions", "list", **variables).stdout)
    assert json.loads(zmesh(project, "functions", "list", "--profile", "shop", **variables).stdout) == []
    unknown = zmesh(project, "functions", "list", "--profile", "shp")
    assert "[profile_not_found]" in unknown.stderr
    assert "shop" in unknown.stderr
    assert zmesh(project, "logout", "--profile", "shop").returncode == 0
    assert "[profile_not_found]" in zmesh(project, "functions", "list", "--profile", "shop").stderr
    assert "[bad_profile]" in zmesh(project, "functions", "list", "--profile", "../x").stderr


def test_logging_out_of_a_server_that_is_gone_forgets_the_session_here(
    project: Path, running_platform: Platform
) -> None:
    facts = json.loads((running_platform.folder / ".zmesh" / "dev.json").read_text())
    login = ("login", "--url", running_platform.url, "--email", facts["admin_email"], "--profile", "gone")
    assert zmesh(project, *login, ZMESH_PASSWORD=facts["admin_password"]).returncode == 0
    [stored] = project.rglob("gone.json")
    stored.write_text(stored.read_text().replace(running_platform.url, "http://127.0.0.1:1"))
    done = zmesh(project, "logout", "--profile", "gone")
    assert (done.returncode, "cannot be reached" in done.stderr) == (0, True)
    assert not stored.exists()


def test_an_api_key_is_enough_to_invoke_and_too_little_to_list(tmp_path: Path, running_platform: Platform) -> None:
    running_platform.deploy("echo-by-key", ECHO)
    key = {"ZMESH_URL": running_platform.url, "ZMESH_API_KEY": running_platform.api_key}
    done = zmesh(tmp_path, "functions", "invoke", "echo-by-key", "--data", '{"n": 1}', **key)
    assert json.loads(done.stdout)["result"] == {"n": 1}
    assert "not_logged_in" in zmesh(tmp_path, "functions", "list", **key).stderr
    missing = zmesh(tmp_path, "functions", "invoke", "nowhere", **key)
    assert missing.returncode == 1
    assert "function_not_found" in missing.stderr


def test_a_deploy_key_is_enough_to_deploy(tmp_path: Path, running_platform: Platform) -> None:
    made = running_platform.zmesh("keys", "create", f"ci-{uuid4()}", "--scope", "deploy")
    key = {"ZMESH_URL": running_platform.url, "ZMESH_API_KEY": json.loads(made)["key"]}
    (tmp_path / "by-ci.py").write_text(ECHO)
    assert json.loads(zmesh(tmp_path, "functions", "deploy", "by-ci.py", **key).stdout)[0]["action"] == "created"
    assert "by-ci" in zmesh(tmp_path, "functions", "list", **key).stdout
    (tmp_path / "by-ci.py").write_text(ECHO + "# changed\n")
    assert json.loads(zmesh(tmp_path, "functions", "deploy", "by-ci.py", **key).stdout)[0]["action"] == "updated"
    assert "[wrong_key_scope]" in zmesh(tmp_path, "functions", "invoke", "by-ci", **key).stderr
    assert "[not_logged_in]" in zmesh(tmp_path, "members", "list", **key).stderr


def test_a_functions_own_response_is_printed_as_it_is(tmp_path: Path, running_platform: Platform) -> None:
    code = "def handler(p, z): return z.response('teapot', status=p['status'], headers={'content-type': 'text/plain'})"
    running_platform.deploy("teapot", code)
    key = {"ZMESH_URL": running_platform.url, "ZMESH_API_KEY": running_platform.api_key}
    for status, ended in ((200, 0), (418, 1)):
        done = zmesh(tmp_path, "functions", "invoke", "teapot", "--data", json.dumps({"status": status}), **key)
        assert (done.stdout, done.returncode) == ("teapot", ended), done.stderr


def test_a_revoked_or_wrong_token_is_told_apart_from_no_token(tmp_path: Path, running_platform: Platform) -> None:
    without = zmesh(tmp_path, "functions", "list", ZMESH_URL=running_platform.url)
    assert (without.returncode, without.stdout) == (1, "")
    assert "[not_logged_in]" in without.stderr
    wrong = zmesh(tmp_path, "functions", "list", ZMESH_URL=running_platform.url, ZMESH_TOKEN="wrong")
    assert wrong.returncode == 1
    assert "zmesh login" in wrong.stderr


def test_an_unreachable_address_is_named_with_a_hint(tmp_path: Path) -> None:
    done = zmesh(tmp_path, "functions", "list", ZMESH_URL="http://127.0.0.1:1", ZMESH_TOKEN="t")
    assert done.returncode == 1
    assert "Cannot reach zMesh at http://127.0.0.1:1" in done.stderr
    assert "zmesh dev" in done.stderr


def test_a_placeholder_of_a_key_is_not_taken_for_an_address(tmp_path: Path) -> None:
    done = zmesh(tmp_path, "functions", "invoke", "x", ZMESH_URL="http://127.0.0.1:1", ZMESH_API_KEY="zb_…")
    assert done.returncode == 1
    assert "[bad_credentials]" in done.stderr
    assert "127.0.0.1" not in done.stderr


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1", "127.0.0.1:8700", "http://"])
def test_an_address_that_is_not_http_is_refused(tmp_path: Path, url: str) -> None:
    done = zmesh(tmp_path, "functions", "list", ZMESH_URL=url, ZMESH_TOKEN="t")
    assert done.returncode == 1
    assert url in done.stderr


def test_another_address_is_never_sent_the_credentials_of_dev_json(project: Path) -> None:
    with server() as (url, seen):
        done = zmesh(project, "functions", "list", "--url", url)
    assert done.returncode == 1
    assert seen == []


def test_a_redirect_does_not_carry_the_token_away(tmp_path: Path) -> None:
    with server() as (there, seen), server(redirect_to=there) as (here, _):
        done = zmesh(tmp_path, "functions", "list", ZMESH_URL=here, ZMESH_TOKEN="secret")
    assert done.returncode == 1
    assert seen == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"url": 1}'])
def test_a_damaged_dev_json_is_named(project: Path, content: str) -> None:
    dev_json(project).write_text(content)
    done = zmesh(project, "functions", "list")
    assert done.returncode == 1
    assert "dev.json" in done.stderr
    assert "Traceback" not in done.stderr


@contextmanager
def server(redirect_to: str | None = None) -> Iterator[tuple[str, list[str]]]:
    """A server that notes each request; yields its address and the notes."""

    class Handler(BaseHTTPRequestHandler):
        seen: ClassVar[list[str]] = []

        def do_GET(self) -> None:
            self.seen.append(self.path)
            self.send_response(302 if redirect_to else 200)
            self.send_header("Location", f"{redirect_to}{self.path}")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    httpd = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}", Handler.seen
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()
