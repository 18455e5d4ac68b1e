"""Renders an invoice from a template, with the tax rates of a JSON file beside the code."""

import json
from html import escape
from pathlib import Path
from string import Template

from money import Money

HERE = Path(__file__).parent
RATES = json.loads((HERE / "rates.json").read_text())
PAGE = Template((HERE / "templates" / "invoice.html").read_text())
LINE = Template((HERE / "templates" / "line.html").read_text())


def handler(payload, zmesh):
    if missing := {"customer", "country", "items"} - payload.keys():
        return zmesh.response({"error": f"missing in the payload: {', '.join(sorted(missing))}"}, status=422)
    country = payload["country"]
    if country not in RATES:
        return zmesh.response({"error": f"no tax rate for {country}"}, status=422)
    net = sum((Money(item["cents"]) * item.get("quantity", 1) for item in payload["items"]), Money(0))
    tax = net.share(RATES[country])
    page = PAGE.substitute(
        customer=escape(payload["customer"]),
        lines="".join(line(item) for item in payload["items"]),
        net=net,
        rate=f"{RATES[country]:.1%}",
        tax=tax,
        total=net + tax,
    )
    return zmesh.response(page, headers={"content-type": "text/html; charset=utf-8"})


def line(item):
    quantity = item.get("quantity", 1)
    return LINE.substitute(name=escape(item["name"]), quantity=quantity, amount=Money(item["cents"]) * quantity)
