"""Screenshots of the console's pages, light and dark, wide and narrow.

HOME is the folder of a running `zmesh dev`; what tests.console.demo puts there is shown, otherwise the examples.

python -m tests.console.shots HOME OUT [page …]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

import httpx
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests.console.browser import CHROMIUM, SIZES
from tests.console.demo import UNUSUAL_NAME

OF_A_PROJECT = {
    "functions": "functions",
    "new-function": "functions/new",
    "invocations": "invocations",
    "logs": "logs",
    "schedules": "schedules",
    "new-schedule": "schedules?new=",
    "webhooks": "webhooks",
    "new-webhook": "webhooks?new=",
    "changes": "changes",
    "queue": "queue",
    "usage": "usage",
    "secrets": "secrets",
    "keys": "keys",
    "members": "members",
    "more": "more",
}
OF_A_FUNCTION = ("overview", "code", "invocations", "logs", "versions", "triggers", "settings")


class Addresses:
    """Paths of the pages of the demo's projects by name; of those that show one thing, of the newest such thing."""

    def __init__(self, known: dict[str, str]) -> None:
        self._client = httpx.Client(base_url=known["url"])
        given = {"email": known["admin_email"], "password": known["admin_password"], "project": "examples"}
        self._token: str = self._post("/auth/login", given)["token"]
        projects = self._get("/projects")
        self._projects = {project["name"]: project for project in projects}

    def all(self) -> dict[str, str]:
        return {
            "signin": "/signin",
            **(self._of("", "Acme shop") or self._of("", "examples")),
            **self._of("awkward-", UNUSUAL_NAME),
            **self._of("empty-", "Empty"),
            "parts": "/parts",
        }

    def _of(self, prefix: str, name: str) -> dict[str, str]:
        if not (project := self._projects.get(name)):
            return {}
        self._token = self._post("/auth/switch", {"project": project["id"]})["token"]
        paths = dict(OF_A_PROJECT)
        for function in self._get("/statistics/functions?sort=calls&limit=1"):
            paths |= {f"function-{tab}": f"functions/{function['slug']}/{tab}" for tab in OF_A_FUNCTION}
        for status in ("error", "success", "timeout"):
            for item in self._get("/invocations?" + urlencode({"status": status, "limit": 1})):
                paths[f"invocation-{status}"] = f"invocations/{item['id']}"
        for kind in ("schedules", "webhooks"):
            for item in self._get(f"/{kind}")[-1:]:
                paths[f"{kind}-one"] = f"{kind}/{item['id']}"
        return {prefix + page: f"/p/{project['slug']}/{path}" for page, path in paths.items()}

    def _get(self, path: str) -> list[dict[str, Any]]:
        answer = self._client.get(path, headers={"Authorization": f"Bearer {self._token}"}).raise_for_status()
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    def _post(self, path: str, body: dict[str, str]) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._token}"} if path != "/auth/login" else {}
        answer: dict[str, Any] = self._client.post(path, json=body, headers=headers).raise_for_status().json()
        return answer


def sign_in(page: Page, known: dict[str, str]) -> None:
    page.goto(known["url"] + "/signin")
    page.get_by_label("Email address").fill(known["admin_email"])
    page.get_by_label("Password").fill(known["admin_password"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/functions")


def open_page(page: Page, url: str) -> None:
    """Go there, and wait until it shows what it has."""
    page.goto(url)
    page.get_by_role("heading", level=1).first.wait_for()
    page.get_by_label("Loading").first.wait_for(state="detached")
    page.wait_for_timeout(400)  # charts and editors draw themselves; nothing tells when


def _say_error(message: ConsoleMessage) -> None:
    if message.type == "error":
        print(message.text, file=sys.stderr)


def shoot(browser: Browser, known: dict[str, str], out: Path, wanted: list[str]) -> None:
    addresses = {name: path for name, path in Addresses(known).all().items() if not wanted or name in wanted}
    stranger, member = browser.new_page(reduced_motion="reduce"), browser.new_page(reduced_motion="reduce")
    for page in (stranger, member):
        page.on("console", _say_error)
        page.on("pageerror", lambda error: print(error, file=sys.stderr))
    sign_in(member, known)
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for width, height in SIZES:
        for name, path in addresses.items():
            page = stranger if name == "signin" else member
            page.set_viewport_size({"width": width, "height": height})
            open_page(page, known["url"] + path)
            for scheme in schemes:
                page.emulate_media(color_scheme=scheme)
                page.wait_for_timeout(150)  # charts draw themselves anew
                page.screenshot(path=out / f"{name}-{scheme}-{width}.png")


def main() -> None:
    home, out, *wanted = sys.argv[1:]
    known = json.loads((Path(home) / "dev.json").read_text())
    Path(out).mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        shoot(browser, known, Path(out), wanted)
        browser.close()


if __name__ == "__main__":
    main()
