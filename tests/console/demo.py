"""Fills a running `zmesh dev` with what its console is looked at with: a shop, awkward content, and an empty project.

python -m tests.console.demo HOME
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

RECEIPT = """import { money } from "./money.ts";

type Order = { id: number; customer?: { email: string; name: string }; items: { sku: string; price: number }[] };

// Writes the receipt of an order and hands it to the mailer.
export async function handler(order: Order, zmesh: Zmesh) {
  console.log(`order ${order.id}: ${order.items.map((item) => item.sku).join(", ")}`);
  await new Promise((done) => setTimeout(done, 20 + (order.id % 7) * 15));
  const total = order.items.reduce((sum, item) => sum + item.price, 0);
  const to = order.customer.email;
  console.log(`receipt for ${to}: ${money(total)}`);
  return { to, total: money(total), items: order.items.length };
}
"""
MONEY = "export const money = (cents: number): string => `${(cents / 100).toFixed(2)} EUR`;\n"
SYNC = """import sys
import time

def handler(payload, zmesh):
    print("the warehouse answers slowly", file=sys.stderr)
    for page in range(payload.get("pages", 3)):
        print(f"page {page}: 120 rows")
        time.sleep(0.2)
    if payload.get("stuck"):
        time.sleep(60)
    return {"rows": 120 * payload.get("pages", 3)}
"""
SEARCH = "exports.handler = async ({ q }) => ({ q, hits: [...'abc'].map((x, k) => ({ sku: x, rank: k })) });\n"
STOCK = "exports.handler = async (change) => ({ table: change.table, sku: change.new?.sku ?? null });\n"
LONG = """exports.handler = async (payload) => {
  console.log("مرحبا بالعالم — שלום עולם — 👩‍👩‍👧‍👦🚀 ".repeat(4));
  console.log("a_line_without_any_space_".repeat(40));
  if (payload.fail) throw new Error("The supplier's answer could not be read: " + "unexpected_token_".repeat(30));
  return payload;
};
"""
UNUSUAL_NAME = "Reconcile the supplier invoices of all subsidiaries with the ledger 📦 مرحبا"


class Api:
    def __init__(self, home: Path) -> None:
        known = json.loads((home / "dev.json").read_text())
        self._client = httpx.Client(base_url=known["url"], timeout=90)
        self._session = self._client.post(
            "/auth/login",
            json={"email": known["admin_email"], "password": known["admin_password"], "project": "examples"},
        ).json()["token"]

    def __call__(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {self._session}"}
        answer = self._client.request(method, path, json=body, headers=headers, **options)
        if not answer.is_success and "invocation_id" not in answer.text:  # failed invocations are wanted
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None

    def enter(self, name: str) -> None:
        """Create a project, in place of one of an earlier run, and act in it from now on."""
        for project in self("GET", "/projects")["items"]:
            if project["name"] == name:
                self("DELETE", f"/projects/{project['id']}")
        project = self("POST", "/projects", {"name": name})
        self._session = self("POST", "/auth/switch", {"project": project["id"]})["token"]
        self.project = project["id"]

    def deploy(self, name: str, language: str, code: str, **settings: Any) -> str:
        made: dict[str, Any] = self(
            "POST", "/functions", {"name": name, "language": language, "code": code, **settings}
        )
        return str(made["id"])

    def hook(self, url: str, body: bytes, headers: dict[str, str]) -> None:
        self._client.post(url, content=body, headers={"Content-Type": "application/json", **headers})

    def invoke(self, function: str, payloads: list[Any]) -> None:
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda p: self("POST", f"/functions/{function}/invoke", {"payload": p}), payloads))


def fill_shop(api: Api) -> None:
    api.enter("Acme shop")
    receipt = api.deploy(
        "order-receipt",
        "typescript",
        RECEIPT.replace("order.customer.email", 'order.customer?.email ?? "shop@example.com"'),
        entry_file="index.ts",
        files={"money.ts": MONEY, "package.json": '{"type": "module"}\n'},
        description="Writes the receipt of an order",
        tags=["orders"],
    )
    sync = api.deploy("sync-stock", "python", SYNC, timeout_ms=3000, description="Copies the stock of the warehouse")
    search = api.deploy("search-products", "javascript", SEARCH, description="Full-text search", auth="none")
    stock = api.deploy("stock-changed", "javascript", STOCK, description="Told of each change of the table products")
    newsletter = api.deploy("send-newsletter", "python", "def handler(payload, zmesh):\n    return None\n")
    orders = [_order(k) for k in range(60)]
    api.invoke(receipt, orders)
    changed = {
        "name": "order-receipt",
        "language": "typescript",
        "code": RECEIPT,
        "message": "Receipts need an address",
    }
    api("POST", "/deployments", {"functions": [changed]})
    api.invoke(receipt, [order if k % 9 else {**order, "customer": None} for k, order in enumerate(orders)])
    api.invoke(search, [{"q": word} for word in ["mug", "tea", "pen"] * 8])
    api.invoke(sync, [{"pages": 1 + k % 4} for k in range(6)] + [{"stuck": True}])
    _schedules(api, receipt, sync)
    _webhooks(api, receipt, newsletter)
    _tables(api, stock)
    for name in ("MAILER_TOKEN", "WAREHOUSE_PASSWORD"):
        api("PUT", f"/secrets/{name}", {"value": secrets.token_hex(8)})
    for name in ("shop front end", "warehouse"):
        api("POST", "/keys", {"name": name})
    for email, role in (("grace@example.com", "developer"), ("linus@example.com", "viewer")):
        api("POST", "/invitations", {"email": email, "role": role})


def _order(number: int) -> dict[str, Any]:
    items = [{"sku": "mug", "price": 1250}, {"sku": "tea", "price": 690}][: 1 + number % 2]
    return {"id": 4100 + number, "customer": {"email": "ada@example.com", "name": "Ada"}, "items": items}


def _schedules(api: Api, receipt: str, sync: str) -> None:
    for name, function, cron, timezone in (
        ("stock every minute", sync, "* * * * *", "UTC"),
        ("nightly receipts", receipt, "30 2 * * *", "Europe/Berlin"),
        ("monthly statement", receipt, "0 9 1 * *", "America/New_York"),
    ):
        body = {"function_id": function, "name": name, "cron": cron, "timezone": timezone, "payload": _order(1)}
        api("POST", "/schedules", body)
    paused = {"function_id": sync, "name": "weekly full sync", "cron": "0 4 * * 1", "enabled": False}
    api("POST", "/schedules", paused)


def _webhooks(api: Api, function: str, other: str) -> None:
    hook = api("POST", "/webhooks", {"function_id": function, "preset": "hmac", "name": "payments"})
    for number in range(4):
        body = json.dumps(_order(number)).encode()
        signature = hmac.new(hook["secret"].encode(), body, hashlib.sha256).hexdigest()
        headers = {"X-Message-Id": f"m-{number // 2}", "X-Signature-256": f"sha256={signature}"}
        api.hook(hook["path"], body, headers if number < 3 else {"X-Signature-256": "sha256=00"})
    stripe = api("POST", "/webhooks", {"function_id": other, "preset": "none", "name": "stripe events"})
    for number, event in enumerate(("invoice.paid", "charge.refunded")):
        body = json.dumps({"id": f"evt_{number}", "data": _order(number), "type": event}).encode()
        api.hook(stripe["path"], body, {})
    api("POST", "/webhooks", {"function_id": function, "preset": "github", "name": "issues"})


def _tables(api: Api, function: str) -> None:
    import psycopg  # only here: the rest needs no database

    url = api("GET", f"/projects/{api.project}/database")["database_url"]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create table products (sku text primary key, price_cents int not null)")
        api("POST", "/changes", {"table": "products", "function_id": function, "events": ["INSERT", "UPDATE"]})
        connection.execute("insert into products values ('mug', 1250), ('tea', 690)")


def fill_awkward(api: Api) -> None:
    api.enter(UNUSUAL_NAME)
    unusual = api.deploy(
        UNUSUAL_NAME + " " + "x" * 20,
        "javascript",
        LONG,
        tags=["a-tag-of-some-length", "another one that is longer than the first", "c", "d", "e"],
        description="A description that does not end: " + "and then " * 30,
    )
    for number in range(49):
        api("PATCH", f"/functions/{unusual}", {"code": f"// {number}\n{LONG}"})
    large = {"text": "0123456789abcdef " * 6000, "right to left": "مرحبا بالعالم", "emoji": "👩‍👩‍👧‍👦"}
    api.invoke(unusual, [large, {"fail": True}, {"name": "<b>no HTML</b>"}])
    nested: Any = "deep"
    for _ in range(40):
        nested = {"level": nested}
    api.invoke(unusual, [nested])
    api("POST", "/schedules", {"function_id": unusual, "name": UNUSUAL_NAME, "cron": "*/7 3-5,9 * 1-6 1,3,5"})
    api("POST", "/webhooks", {"function_id": unusual, "name": UNUSUAL_NAME})
    api("POST", "/keys", {"name": UNUSUAL_NAME})
    api("PUT", "/secrets/" + "A_VERY_LONG_NAME_OF_A_SECRET_" * 3, {"value": "x"})
    api("POST", "/invitations", {"email": "a" * 60 + "@an-address-that-is-rather-long.example.com", "role": "viewer"})


def main() -> None:
    home = Path(sys.argv[1])
    fill_shop(Api(home))
    fill_awkward(Api(home))
    Api(home).enter("Empty")


if __name__ == "__main__":
    main()
