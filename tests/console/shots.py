"""Screenshots of the console's pages, light and dark, wide and narrow, of a platform that runs.

python -m tests.console.shots HOME OUT [page …]
"""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests.console.browser import CHROMIUM, SIZES

PROJECT = "examples"


def pages(url: str, token: str) -> dict[str, str]:
    """The address of each page; of those that show one thing, of the latest, and of the function called most."""
    failed = _first(url, token, "/invocations?status=error&limit=1", "id")
    function = "functions/" + _first(url, token, "/statistics/functions?sort=calls&limit=1", "slug")
    return {
        "functions": "functions",
        "new-function": "functions/new",
        "overview": function,
        "code": f"{function}/code",
        "function-invocations": f"{function}/invocations",
        "versions": f"{function}/versions",
        "triggers": f"{function}/triggers",
        "settings": f"{function}/settings",
        "invocations": "invocations",
        "invocation": f"invocations/{failed}",
        "logs": "logs",
        "schedules": "schedules",
        "webhooks": "webhooks",
        "changes": "changes",
        "queue": "queue",
        "usage": "usage",
        "secrets": "secrets",
        "keys": "keys",
        "members": "members",
    }


def _first(url: str, token: str, path: str, field: str) -> str:
    request = urllib.request.Request(url + path, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request) as response:
        items = json.load(response)["items"]
    return items[0][field] if items else "none"


def _token(known: dict[str, str]) -> str:
    request = urllib.request.Request(
        known["url"] + "/auth/login",
        data=json.dumps(
            {"email": known["admin_email"], "password": known["admin_password"], "project": PROJECT}
        ).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as response:
        token: str = json.load(response)["token"]
    return token


def sign_in(page: Page, known: dict[str, str]) -> None:
    page.goto(known["url"] + "/signin")
    page.get_by_label("Email address").fill(known["admin_email"])
    page.get_by_label("Password").fill(known["admin_password"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/functions")


def _say_error(message: ConsoleMessage) -> None:
    if message.type == "error":
        print(message.text, file=sys.stderr)


def shoot(browser: Browser, known: dict[str, str], out: Path, wanted: list[str]) -> None:
    addresses = {
        name: path for name, path in pages(known["url"], _token(known)).items() if not wanted or name in wanted
    }
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for scheme in schemes:
        for width, height in SIZES:
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
            page = context.new_page()
            page.on("console", _say_error)
            page.on("pageerror", lambda e: print(e, file=sys.stderr))
            if not wanted or "signin" in wanted:
                page.goto(known["url"] + "/signin")
                page.get_by_label("Password").wait_for()
                page.screenshot(path=out / f"signin-{scheme}-{width}.png")
            sign_in(page, known)
            for name, path in addresses.items():
                page.goto(f"{known['url']}/p/{PROJECT}/{path}")
                page.get_by_role("heading", level=1).first.wait_for()
                page.wait_for_timeout(900)  # charts and editors draw themselves; nothing tells when
                page.screenshot(path=out / f"{name}-{scheme}-{width}.png")
            if not wanted or "parts" in wanted:
                page.goto(known["url"] + "/parts")
                page.get_by_role("heading", level=1).wait_for()
                page.wait_for_timeout(600)
                page.screenshot(path=out / f"parts-{scheme}-{width}.png")
            context.close()


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
