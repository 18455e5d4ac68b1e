"""How soon the console shows something, and what it loads for that, with an empty cache, over loopback.

python -m tests.console.first_paint HOME

HOME is the folder of a running `zmesh dev`. Prints medians of nine loads of each page as JSON: when the frame with its
navigation is painted, when the page shows its own data, and by how much anything moved until then.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, StorageState, sync_playwright

from tests.console.browser import CHROMIUM
from tests.console.shots import Addresses, open_page, sign_in

DATA = {  # what a page is opened for
    "signin": "input[name=password]",
    "functions": ".fns tbody tr",
    "function-overview": ".strip dd",
    "function-code": ".cm-before, .cm-host",
    "invocations": ".invs tbody tr",
}
LOADS = 9
WATCH = """
    window.moved = 0;
    new PerformanceObserver(list => { for (const e of list.getEntries()) window.moved += e.value; })
        .observe({type: 'layout-shift', buffered: true});
    new MutationObserver(() => {
        if (!window.shown && document.querySelector('%s'))
            window.shown = new Promise(set => requestAnimationFrame(() => setTimeout(() => set(performance.now()))));
    }).observe(document, {childList: true, subtree: true});
"""
MEASURE = """async () => {
    const [page] = performance.getEntriesByType('navigation');
    const painted = performance.getEntriesByName('first-contentful-paint')[0].startTime;
    const loaded = performance.getEntriesByType('resource').filter(r => r.initiatorType !== 'fetch');
    const bytes = entries => entries.reduce((sum, e) => sum + e.encodedBodySize, 0);
    return {
        first_contentful_paint_ms: painted,
        data_ms: await window.shown,
        kb_until_painted: bytes([page, ...loaded.filter(r => r.responseEnd <= painted)]) / 1000,
        kb: bytes([page, ...loaded]) / 1000,
        layout_shift: window.moved,
    };
}"""


def measure(browser: Browser, url: str, data: str, state: StorageState) -> dict[str, Any]:
    """One load in a browser that has seen nothing but the sign-in."""
    context = browser.new_context(storage_state=state, viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.add_init_script(WATCH % data)
    open_page(page, url)
    found: dict[str, Any] = page.evaluate(MEASURE)
    context.close()
    return found


def main() -> None:
    known = json.loads((Path(sys.argv[1]) / "dev.json").read_text())
    addresses = Addresses(known).all()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        page = browser.new_page()
        sign_in(page, known)
        signed_in = page.context.storage_state()
        for name, data in DATA.items():
            state: StorageState = {"cookies": [], "origins": []} if name == "signin" else signed_in
            runs = [measure(browser, known["url"] + addresses[name], data, state) for _ in range(LOADS)]
            medians = {key: round(statistics.median(run[key] for run in runs), 3) for key in runs[0]}
            print(json.dumps({"page": name, **medians}))
        browser.close()


if __name__ == "__main__":
    main()
