"""A person's way through the console, in Chromium, by what a person sees: names of buttons, fields and headings."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Response, Route, expect, sync_playwright

from tests.console.browser import CHROMIUM
from tests.platform import Platform

AXE = Path(__file__).parents[2] / "console" / "node_modules" / "axe-core" / "axe.min.js"
PROBLEMS = """async (rules) => (await axe.run(document, rules.length ? { runOnly: rules } : {})).violations
    .filter(v => ['moderate', 'serious', 'critical'].includes(v.impact))
    .map(v => `${v.id}: ${v.nodes.map(n => n.target.join(' ')).join(', ')}`)"""
LAYOUT = ["color-contrast", "scrollable-region-focusable"]  # the rules of axe that look at more than the document
# What is cut off or too small. A pseudo-element around a part belongs to its target; links in a text are as high as it.
TARGETS = """() => [...document.querySelectorAll('main *, .dock *')].flatMap(e => {
    const box = e.getBoundingClientRect();
    if (!box.width || !box.height || e.closest('.cm-editor, .sr')) return [];
    const name = `${e.tagName} ${e.className} ${e.ariaLabel ?? e.textContent.slice(0, 30)}`;
    const style = getComputedStyle(e);
    if (e.classList.contains('scroll') && e.scrollWidth > e.clientWidth) return [`scrolls sideways: ${name}`];
    if (!e.matches('a, button, input, select, summary') || style.display === 'inline') return [];
    const around = ['::before', '::after'].map(w => getComputedStyle(e, w)).filter(s => s.position === 'absolute');
    const sides = [(e.closest('.in') ?? e).getBoundingClientRect(), ...around];
    const [width, height] = ['width', 'height'].map(side => Math.max(...sides.map(s => parseFloat(s[side]) || 0)));
    return width < 39.5 || height < 39.5 ? [`${Math.round(width)} x ${Math.round(height)}: ${name}`] : [];
})"""
BROKEN = """exports.handler = async (payload) => {
  console.log("hello from the draft");
  const order = {};
  return order.shipping.address;
};
"""
NO_JAVASCRIPT = "exports.handler = () => {\n  let x = ;\n};\n"
FIXED = "exports.handler = async (payload) => {\n  return { fixed: payload.name ?? 'nobody' };\n};\n"
PAGES = (
    "functions",
    "functions/greeter",
    "functions/greeter/code",
    "functions/greeter/versions",
    "functions/greeter/triggers",
    "functions/greeter/settings",
    "invocations",
    "schedules",
    "webhooks",
    "changes",
    "queue",
    "usage",
    "secrets",
    "keys",
    "members",
    "logs",
    "more",
)


pytestmark = pytest.mark.skipif(
    not Path(CHROMIUM).exists(), reason="Chromium is not installed: apt-get install chromium"
)


expect.set_options(timeout=20_000)  # a machine may stand still for a while


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@dataclass
class Project:
    platform: Platform
    url: str
    password: str
    person: str


@pytest.fixture(scope="module")
def project(running_platform: Platform) -> Iterator[Project]:
    """A project of these tests, and the password of its owner."""
    created = running_platform.request("POST", "/projects", json={"name": f"console-{secrets.token_hex(4)}"}).json()
    facts = json.loads((running_platform.folder / ".zmesh" / "dev.json").read_text())
    there = running_platform.in_project(created["slug"])
    yield Project(
        there,
        f"{running_platform.url}/p/{created['slug']}/",
        facts["admin_password"],
        facts["admin_email"].partition("@")[0],
    )
    running_platform.request("DELETE", f"/projects/{created['id']}")


@pytest.fixture(scope="module")
def page(browser: Browser, project: Project) -> Iterator[Page]:
    """Signed in by a one-time link."""
    page = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce").new_page()
    page.set_default_timeout(20_000)
    link = project.platform.request("POST", "/auth/links").json()["path"]
    page.goto(project.platform.url + link)
    expect(page.get_by_role("heading", name="Functions")).to_be_visible()
    yield page
    page.context.close()


def write(page: Page, text: str) -> None:
    page.get_by_role("textbox", name="Code of greeter.js").click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(text)


def deploy(page: Page, note: str = "") -> None:
    page.get_by_role("button", name="Review and deploy").click()
    page.get_by_label("What changes").fill(note)
    page.get_by_role("dialog").get_by_role("button", name="Deploy").click()


def test_the_frame_is_there_before_the_program_and_does_not_move(page: Page, project: Project) -> None:
    def frame() -> tuple[list[str], object]:
        links = page.get_by_role("complementary", name="Console").get_by_role("navigation").get_by_role("link")
        places = [link.get_attribute("href") or "" for link in links.all()]
        return places, (page.get_by_role("heading", level=1).bounding_box(), links.first.bounding_box())

    def never(route: Route) -> None:  # the program of the pages does not come
        held.append(route)

    held: list[Route] = []
    page.route("**/assets/index-*.js", never)
    page.goto(project.url + "functions", wait_until="commit")
    expect(page.get_by_role("heading", name="Functions", level=1)).to_be_visible()
    expect(page.get_by_role("link", name="Functions").first).to_have_attribute("aria-current", "page")
    before = frame()
    held[0].continue_()
    page.unroute("**/assets/index-*.js")
    expect(page.get_by_label("Loading")).to_have_count(0)
    assert frame() == before
    page.route("**/assets/index-*.js", never)
    page.goto(project.platform.url + "/signin", wait_until="commit")
    expect(page.get_by_role("heading", name="Sign in to zMesh")).to_be_visible()
    held[1].continue_()
    page.unroute("**/assets/index-*.js")
    page.wait_for_url("**/functions")


def test_keys_pressed_before_the_program_is_there_are_not_lost(page: Page, project: Project) -> None:
    held: list[Route] = []
    page.route("**/assets/index-*.js", lambda route: held.append(route))
    page.goto(project.url + "functions", wait_until="commit")
    expect(page.get_by_role("heading", name="Functions", level=1)).to_be_visible()
    page.keyboard.press("Control+k")
    page.keyboard.type("mem")
    held[0].continue_()
    page.unroute("**/assets/index-*.js")
    expect(page.get_by_role("combobox", name="Search or go to")).to_have_value("mem")
    page.keyboard.press("Enter")
    page.wait_for_url("**/members")


def test_what_cannot_be_shown_says_why(page: Page, project: Project) -> None:
    page.route("**/assets/*.js", lambda route: route.abort() if "boot" not in route.request.url else route.continue_())
    page.goto(project.url + "functions")
    expect(page.get_by_role("alert")).to_contain_text("The console could not be loaded.")
    page.unroute("**/assets/*.js")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_text("Your first function")).to_be_visible()
    page.route("**/assets/queue-*.js", lambda route: route.abort())
    page.get_by_role("link", name="Queue").first.click()
    expect(page.get_by_text("The console has been updated since you opened it.")).to_be_visible()
    page.unroute("**/assets/queue-*.js")
    page.goto(project.platform.url + "/p/nowhere/functions")
    expect(page.get_by_role("heading", name="Project not found")).to_be_visible()
    page.get_by_role("navigation", name="Your projects").get_by_role("link", name="console-").first.click()
    expect(page.get_by_role("heading", name="Functions", level=1)).to_be_visible()


def test_one_writes_breaks_and_fixes_a_function(page: Page, project: Project) -> None:
    page.goto(project.url + "functions/new")
    page.get_by_label("Name").fill("greeter")
    page.get_by_role("button", name="Create function").click()
    write(page, BROKEN)
    page.get_by_role("button", name="Run").click()
    page.get_by_role("button", name="Go to greeter.js:4").click()
    expect(page.get_by_text("hello from the draft").last).to_be_visible()
    deploy(page)
    expect(page.get_by_text("greeter v2 is deployed")).to_be_visible()
    write(page, NO_JAVASCRIPT)
    deploy(page)
    page.get_by_role("button", name="Go to line").click()
    expect(page.get_by_text("greeter.js:2").first).to_be_visible()
    page.reload()  # what was typed is kept in the browser
    expect(page.get_by_text("let x = ;")).to_be_visible()
    write(page, FIXED)
    page.keyboard.press("Control+End")
    page.keyboard.type("// typed faster than the page is drawn")
    expect(page.get_by_role("textbox", name="Code of greeter.js")).to_contain_text(
        "// typed faster than the page is drawn"
    )
    deploy(page, "Greets nobody, too")
    expect(page.get_by_text("greeter v3 is deployed")).to_be_visible()
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_label("Result").get_by_text("nobody")).to_be_visible()


def test_one_rolls_out_a_tenth_and_rolls_back(page: Page, project: Project) -> None:
    page.goto(project.url + "functions/greeter/versions")
    expect(page.get_by_role("region", name="v2 and v3").get_by_text("order.shipping.address")).to_be_visible()
    page.get_by_role("button", name="10", exact=True).click()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("v3 takes 10 % of the calls")).to_be_visible()
    page.get_by_role("button", name="Roll back to v2").click()
    page.get_by_role("dialog").get_by_role("button", name="Roll back to v2").click()
    expect(page.get_by_text("greeter is at v4, with the code of v2")).to_be_visible()
    expect(page.get_by_role("link", name="Greets nobody, too")).to_contain_text(f"{project.person}, ")
    page.get_by_role("link", name="Overview").click()
    expect(page.get_by_text(f"v4 live by {project.person}")).to_be_visible()


def test_one_adds_a_file_and_deploys_it_for_a_quarter_of_the_calls(page: Page, project: Project) -> None:
    page.goto(project.url + "functions/greeter/code")
    page.get_by_role("button", name="Add file").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("lib/vat.js")
    dialog.get_by_role("button", name="Add file").click()
    page.get_by_role("button", name="Actions for lib/vat.js").click()
    page.get_by_role("menuitem", name="Rename").click()
    dialog.get_by_label("Name").fill("lib/tax.js")
    dialog.get_by_role("button", name="Rename").click()
    page.get_by_role("button", name="Review and deploy").click()
    expect(dialog.get_by_text("v2 keeps 90 %, v3 keeps 10 %.")).to_be_visible()
    dialog.get_by_role("button", name="25", exact=True).click()
    expect(dialog.get_by_text("v2 keeps 75 %. v3 gets no more calls.")).to_be_visible()
    dialog.get_by_role("button", name="Deploy").click()
    expect(page.get_by_text("greeter v5 is deployed")).to_be_visible()
    page.goto(project.url + "functions/greeter/versions")
    expect(page.get_by_label("Shares of live").get_by_text("25 %")).to_be_visible()
    expect(page.get_by_role("region", name="v4 and v5").get_by_text("lib/tax.js")).to_be_visible()


def test_one_finds_a_failed_invocation_at_its_line_and_retries_it(page: Page, project: Project) -> None:
    answer = project.platform.request(
        "POST", "/functions/greeter/invoke", params={"version": 2}, json={"payload": {"name": "<b>Ada</b>"}}
    )
    assert answer.json()["status"] == "error"
    page.goto(project.url + f"invocations/{answer.json()['invocation_id']}")
    expect(page.get_by_text("greeter.js:4", exact=True)).to_be_visible()
    expect(page.get_by_label("Payload").get_by_text('"<b>Ada</b>"')).to_be_visible()  # text, never HTML
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_text("The invocation is queued again")).to_be_visible()
    page.goto(project.url + "functions")
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="greeter"))
    expect(row.get_by_role("cell").nth(1)).to_have_text("HTTP")  # called by
    expect(row.get_by_role("cell").nth(5)).to_have_text(re.compile(r"\d m?s$"), timeout=20_000)  # p95


def test_one_adds_a_schedule_and_a_webhook_and_sends_it_a_test(page: Page, project: Project) -> None:
    page.goto(project.url + "schedules?new=")
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("nightly")
    dialog.get_by_label("Function").select_option(label="greeter")
    dialog.get_by_role("button", name="Create schedule").click()
    expect(page.get_by_role("link", name="nightly")).to_be_visible()
    page.goto(project.url + "webhooks?new=")
    dialog.get_by_label("Name").fill("shop")
    dialog.get_by_label("Function").select_option(label="greeter")
    dialog.get_by_role("button", name="Create webhook").click()
    page.get_by_role("button", name="I have copied it").click()
    page.get_by_role("button", name="Send a test").click()
    dialog.get_by_role("button", name="Send the test").click()
    expect(page.get_by_text("accepted, test")).to_be_visible()


REQUESTED = "exports.handler = (payload, zmesh) => zmesh.response(zmesh.request.rawQuery, { status: 201 });\n"


def test_one_tests_with_a_request_saves_it_as_an_example_and_runs_a_version(page: Page, project: Project) -> None:
    page.goto(project.url + "functions/greeter/code?test=1")
    write(page, REQUESTED)
    pane = page.get_by_role("region", name="Test")
    pane.get_by_role("button", name="Request", exact=True).click()
    pane.get_by_label("Method").select_option("GET")
    pane.get_by_label("Path and query").fill("/orders?of=Ada L")
    pane.get_by_label("Headers").fill("nothing")
    pane.get_by_role("button", name="Run").click()
    expect(pane.get_by_role("alert")).to_have_text("Header 1: write name: value.")
    pane.get_by_label("Headers").fill("accept: text/plain")
    pane.get_by_role("button", name="Run").click()
    expect(pane.get_by_label("Result")).to_contain_text("HTTP 201")
    expect(pane.get_by_label("Result")).to_contain_text("of=Ada%20L")
    pane.get_by_role("button", name="Examples").click()
    page.get_by_role("menuitem", name="Save as an example").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("Orders of Ada")
    dialog.get_by_role("button", name="Save example").click()
    page.goto(project.url + "functions/greeter/versions?from=2&to=3")
    page.get_by_role("link", name="Run v3").click()
    expect(pane.get_by_label("What runs")).to_have_value("3")
    pane.get_by_role("button", name="Run").click()
    expect(pane.get_by_label("Result").get_by_text("nobody")).to_be_visible()
    pane.get_by_role("button", name="Examples").click()
    page.get_by_role("menuitem", name="Orders of Ada").click()
    expect(pane.get_by_label("Path and query")).to_have_value("/orders?of=Ada L")


def test_one_goes_through_invocations_by_keys(page: Page, project: Project) -> None:
    page.goto(project.url + "invocations")
    rows = page.get_by_role("row").filter(has=page.get_by_role("link", name="greeter"))
    expect(rows.nth(1)).to_be_visible()
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.get_by_role("region", name="Selected invocations")).to_contain_text("1 selected")
    page.keyboard.press("Escape")
    links = rows.get_by_role("link", name="greeter")
    first, second, *_ = links.evaluate_all("links => links.map((link) => link.getAttribute('href'))")
    page.locator(f'a[href="{first}"]').first.click()  # a new one may have come before it
    expect(page.get_by_role("button", name="Next invocation")).to_be_visible()
    page.keyboard.press("]")
    page.wait_for_url(f"**{second}")
    page.keyboard.press("[")
    page.wait_for_url(f"**{first}")


def test_the_palette_reaches_a_function_by_keyboard(page: Page, project: Project) -> None:
    page.goto(project.url + "members")
    expect(page.get_by_role("heading", name="Members").first).to_be_visible()
    expect(page.get_by_label("Loading")).to_have_count(0)
    page.keyboard.press("Control+k")
    page.get_by_role("combobox", name="Search or go to").fill("greet")
    expect(page.get_by_role("option", name="greeter")).to_be_visible()
    page.keyboard.press("Enter")
    page.wait_for_url("**/functions/greeter")


def test_a_lost_session_asks_for_the_password_and_goes_on(page: Page, project: Project) -> None:
    page.goto(project.url + "schedules")
    expect(page.get_by_role("link", name="nightly")).to_be_visible()
    page.context.clear_cookies()
    # Not a click, which the dialog would intercept if another request of the page was refused first.
    page.get_by_role("button", name="Run now").dispatch_event("click")
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Password").fill(project.password)
    dialog.get_by_role("button", name="Sign in again").click()
    expect(page.get_by_text("greeter was invoked")).to_be_visible()


def test_two_who_edit_at_once_lose_nothing(page: Page, project: Project) -> None:
    page.goto(project.url + "functions/greeter/code")
    write(page, "// mine\n" + FIXED)
    expect(page.get_by_text("changed in 1 file")).to_be_visible()
    page.goto(project.url + "functions")  # the draft stays in the browser
    project.platform.deploy("greeter", "// theirs\n" + FIXED, "javascript")
    page.goto(project.url + "functions/greeter/code")
    page.get_by_role("button", name="Merge").click()
    merge = page.get_by_role("dialog", name="Merge your draft")
    expect(merge.get_by_text("// theirs")).to_be_visible()
    expect(merge.get_by_text("// mine")).to_be_visible()
    merge.get_by_role("button", name="Use the merged draft").click()
    deploy(page)
    expect(page.get_by_text("is deployed")).to_be_visible()
    expect(page.get_by_role("textbox", name="Code of greeter.js").get_by_text("// mine")).to_be_visible()


def test_one_redelivers_a_message_and_follows_its_log(page: Page, project: Project) -> None:
    project.platform.deploy("crier", 'exports.handler = (payload) => console.log("got", payload);\n', "javascript")
    page.goto(project.url + "webhooks")
    page.get_by_role("table").get_by_role("link").first.click()
    page.get_by_role("button", name="Redeliver").click()
    expect(page.get_by_text("Redelivered")).to_be_visible()
    page.goto(project.url + "logs")
    lines = page.get_by_role("log", name="Log lines")
    expect(page.get_by_text("Waiting for lines")).to_be_visible()
    project.platform.invoke("crier", {"name": "<i>Grace</i>"})
    expect(lines.get_by_text("<i>Grace</i>")).to_be_visible()
    page.get_by_label("Filter lines").fill("nobody writes this")
    expect(page.get_by_text("No matching lines")).to_be_visible()


def test_one_follows_a_table_makes_a_key_and_invites_somebody(page: Page, project: Project) -> None:
    project.platform.sql("create table orders (id int primary key)")
    dialog = page.get_by_role("dialog")
    page.goto(project.url + "changes")
    page.get_by_role("button", name="Follow a table").first.click()
    dialog.get_by_label("Table").fill("orders")
    dialog.get_by_role("checkbox", name="update").click()
    dialog.get_by_label("Only when").fill("new.id > ")
    dialog.get_by_role("button", name="Follow the table").click()
    expect(dialog.get_by_role("alert").or_(dialog.get_by_text("syntax error"))).to_be_visible()
    dialog.get_by_label("Only when").fill("new.id > 1")
    dialog.get_by_role("button", name="Follow the table").click()
    expect(page.get_by_role("row", name="orders").get_by_text("insert, update")).to_be_visible()
    page.goto(project.url + "keys")
    expect(page.get_by_text("No API keys").or_(page.get_by_role("table"))).to_be_visible()
    page.keyboard.press("c")
    dialog.get_by_label("Name").fill("front end")
    page.keyboard.press("Enter")
    expect(dialog.get_by_text("It is shown only once.")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("row", name="front end").get_by_text("all functions")).to_be_visible()
    page.goto(project.url + "members")
    page.get_by_role("button", name="Invite").click()
    dialog.get_by_label("Email address").fill("grace@example.com")
    dialog.get_by_label("Role").select_option("viewer")
    page.keyboard.press("Escape")  # the focus returns to what opened it
    expect(page.get_by_role("button", name="Invite")).to_be_focused()
    page.keyboard.press("Enter")
    dialog.get_by_label("Email address").fill("grace@example.com")
    dialog.get_by_role("button", name="Make the invitation").click()
    dialog.get_by_role("button", name="I have copied it").click()
    expect(page.get_by_role("listitem").filter(has_text="grace@example.com").get_by_text("developer")).to_be_visible()


def test_every_page_is_for_everybody(page: Page, project: Project) -> None:
    """axe in both schemes and at both widths; on a phone nothing scrolls sideways and a finger hits what it aims at."""
    page.add_init_script(path=AXE)
    found = []
    for path in PAGES:
        page.set_viewport_size({"width": 1440, "height": 900})
        page.goto(project.url + path)
        expect(page.get_by_role("heading", level=1).first).to_be_visible()
        expect(page.get_by_label("Loading")).to_have_count(0)
        found += [f"{path}: {problem}" for problem in page.evaluate(PROBLEMS, [])]
        page.set_viewport_size({"width": 390, "height": 844})
        found += [f"{path}, phone: {problem}" for problem in page.evaluate(PROBLEMS, LAYOUT) + page.evaluate(TARGETS)]
        page.emulate_media(color_scheme="dark")
        found += [f"{path}, dark: {problem}" for problem in page.evaluate(PROBLEMS, LAYOUT[:1])]
        page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1440, "height": 900})
    assert found == [], "\n".join(found)


def test_a_viewer_is_invited_and_refused_nothing_in_sight(browser: Browser, page: Page, project: Project) -> None:
    email, password = f"viewer-{secrets.token_hex(4)}@example.com", secrets.token_urlsafe(16)
    page.goto(project.url + "members")
    page.get_by_role("button", name="Invite").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Email address").fill(email)
    dialog.get_by_label("Role").select_option("viewer")
    dialog.get_by_role("button", name="Make the invitation").click()
    link = dialog.get_by_text("/accept#").inner_text()
    context = browser.new_context()
    viewer = context.new_page()
    refused: list[str] = []

    def note(response: Response) -> None:
        if response.status == 403:
            refused.append(response.url)

    viewer.goto(link)
    expect(viewer.get_by_text(f"For {email}")).to_be_visible()
    viewer.get_by_label("Password").fill("short")
    viewer.get_by_role("button", name="Accept").click()
    expect(viewer.get_by_label("Password")).to_have_attribute("aria-invalid", "true")
    viewer.get_by_label("Password").fill(password)
    viewer.get_by_role("button", name="Accept").click()
    expect(viewer.get_by_role("link", name="greeter")).to_be_visible()
    viewer.on("response", note)
    for path in (path for path in PAGES if path != "keys"):
        viewer.goto(project.url + path)
        expect(viewer.get_by_role("heading", level=1).first).to_be_visible()
        expect(viewer.get_by_label("Loading")).to_have_count(0)
        acting = viewer.get_by_role("main").get_by_role("button", name="New")
        expect(
            acting.or_(viewer.get_by_role("button", name="Delete")).or_(viewer.get_by_role("button", name="Retry"))
        ).to_have_count(0)
    expect(viewer.get_by_role("link", name="API keys")).to_have_count(0)
    assert refused == []
    context.close()
