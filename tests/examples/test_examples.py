"""Every example, deployed and run for real; each answer is compared with facts computed another way."""

from __future__ import annotations

import csv
import hashlib
import hmac
import io
import itertools
import json
import re
import statistics
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

import examples
from tests.platform import Platform
from tests.vega import airports_csv, npm_rows

# Examples that would answer without their tables' rows as well, with nothing in it.
NOT_EMPTY: dict[str, Callable[[httpx.Response], Any]] = {
    "search-airports": lambda answer: answer.json()["result"]["hits"],
    "nightly-report": lambda answer: answer.json()["result"]["genres"],
    "delay-board": lambda answer: "<td>" in answer.text,
    "export-csv": lambda answer: "mug," in answer.text,
}


@pytest.fixture(scope="module")
def platform(running_platform: Platform) -> Platform:
    """The project that `zmesh dev` puts the examples into."""
    return running_platform.in_project("examples")


@pytest.fixture(scope="module")
def movies(platform: Platform, pytestconfig: pytest.Config) -> list[dict[str, Any]]:
    """The movies of the data set, imported by the example into the table of that name."""
    rows = npm_rows("movies.json", pytestconfig.cache.mkdir("vega-datasets"))
    imported = platform.result(
        "import-table", {"table": "movies", "rows": rows, "types": {"release_date": "date"}, "replace": True}
    )
    assert imported["rows"] == len(rows)
    return rows


@pytest.fixture(scope="module")
def flights(platform: Platform, pytestconfig: pytest.Config) -> list[dict[str, Any]]:
    rows = npm_rows("flights-2k.json", pytestconfig.cache.mkdir("vega-datasets"))
    platform.result("import-table", {"table": "flights", "rows": rows, "types": {"date": "timestamp"}, "replace": True})
    return rows


@pytest.fixture(scope="module")
def airports(platform: Platform) -> dict[str, dict[str, str]]:
    platform.result("import-table", {"table": "airports", "csv": airports_csv(), "replace": True})
    return {row["iata"]: row for row in csv.DictReader(io.StringIO(airports_csv()))}


@pytest.fixture
def products(platform: Platform) -> None:
    platform.sql("drop table if exists orders, mails")
    [payload] = [example.payload for example in examples.load() if example.name == "import-table"]
    platform.result("import-table", payload)


# First, while everything is as `zmesh dev` made it.
@pytest.mark.parametrize("example", examples.load(), ids=lambda example: example.name)
def test_the_sample_payload_runs_on_what_zmesh_dev_prepared(platform: Platform, example: examples.Example) -> None:
    headers = {"x-github-event": "ping"} if example.name == "github-webhook" else {}
    answer = platform.invoke(example.name, example.payload, headers=headers)
    assert answer.status_code == (500 if example.name == "charge-card" else 200), answer.text
    if example.name in NOT_EMPTY:
        assert NOT_EMPTY[example.name](answer), answer.text


@pytest.mark.parametrize("example", examples.load(), ids=lambda example: example.name)
def test_an_empty_payload_is_enough_or_answered_with_what_is_missing(
    platform: Platform, example: examples.Example
) -> None:
    answer = platform.invoke(example.name, {})
    if answer.status_code == 422:
        assert "in the payload" in answer.json()["error"]
    elif example.name in ("send-welcome", "github-webhook"):
        assert (answer.status_code, "is missing" in answer.json()["error"]["message"]) == (500, True)
    else:
        assert answer.status_code == 200, answer.text


def test_the_person_s_own_project_has_no_examples(running_platform: Platform) -> None:
    names = {function["name"] for function in running_platform.request("GET", "/functions").json()["items"]}
    assert not names & {example.name for example in examples.load()}


def test_every_example_is_deployed_as_the_manifest_says(platform: Platform) -> None:
    for example in examples.load():
        function = platform.request("GET", f"/functions/{example.name}").json()
        assert function["code"] == example.code
        assert function["language"] == example.language
        assert {key: function[key] for key in example.settings} == example.settings
        assert function["files"] == example.files


def test_render_invoice_adds_up_to_the_cent(platform: Platform) -> None:
    items = [{"name": "<Mug>", "cents": 1250, "quantity": 2}, {"name": "Pen", "cents": 181}]
    answer = platform.invoke("render-invoice", {"customer": "Ada & Co", "country": "DE", "items": items})
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    cells = [unescape(cell) for cell in re.findall(r"<t[dh]>(.*?)</t[dh]>", answer.text)]
    assert cells[3:9] == ["<Mug>", "2", "25.00 €", "Pen", "1", "1.81 €"]
    assert cells[11] == "26.81 €"
    assert cells[13:15] == ["19.0%", "5.09 €"]  # 5.0939
    assert cells[17] == "31.90 €"
    assert "Invoice for Ada &amp; Co" in answer.text
    refused = platform.invoke("render-invoice", {"customer": "Ada", "country": "XX", "items": []})
    assert (refused.status_code, refused.json()) == (422, {"error": "no tax rate for XX"})


def test_shipping_quote_finds_the_cheapest_offer_that_fits(platform: Platform) -> None:
    asked = [({"grams": 2000}, 449), ({"grams": 2001}, 999), ({"grams": 10, "express": True}, 1490)]
    for parcel, cents in asked:
        assert platform.result("shipping-quote", {"country": "DE", **parcel})["cents"] == cents
    assert platform.result("shipping-quote", {"country": "PL", "grams": 9000})["carrier"] == "courier"
    for payload in ({"country": "US", "grams": 1}, {"country": "FR", "grams": 10_001}):
        assert platform.invoke("shipping-quote", payload).status_code == 422


def test_send_welcome_fills_its_template_and_keeps_one_mail(platform: Platform) -> None:
    payload = {"user_id": "u-1", "name": "Rahul", "email": "rahul@example.com"}
    for _ in range(2):
        result = platform.result("send-welcome", payload)
        assert result["message"] == "Welcome Rahul"
        assert result["text"].splitlines()[0] == "Hello Rahul,"
        assert "Your user id is u-1." in result["text"]
    [mail] = platform.sql("select recipient, body from mails where reference = 'welcome u-1'")
    assert mail == {"recipient": "rahul@example.com", "body": result["text"]}


def test_send_welcome_may_come_first_many_times_at_once(platform: Platform) -> None:
    """The first call creates the table, and the others must not fail because of that."""
    for turn in range(5):
        platform.sql("drop table if exists mails")
        users = [f"u-{turn}-{number}" for number in range(12)]
        with ThreadPoolExecutor(len(users)) as threads:
            results = list(threads.map(lambda user: platform.result("send-welcome", {"user_id": user}), users))
        assert {result["message"] for result in results} == {f"Welcome {user}" for user in users}


def test_import_table_finds_the_column_types(platform: Platform, movies: list[dict[str, Any]]) -> None:
    columns = platform.sql("select column_name, data_type from information_schema.columns where table_name = 'movies'")
    types = {row["column_name"]: row["data_type"] for row in columns}
    assert len(types) == len(movies[0])
    assert (types["title"], types["imdb_rating"]) == ("text", "double precision")
    assert (types["imdb_votes"], types["release_date"]) == ("bigint", "date")
    [row] = platform.sql("select count(*), sum(imdb_votes)::bigint as votes, max(release_date) from movies")
    assert row["count"] == len(movies)
    assert row["votes"] == sum(movie["IMDB Votes"] or 0 for movie in movies)
    assert row["max"] == max(datetime.strptime(movie["Release Date"], "%b %d %Y").date() for movie in movies)


def test_import_table_reads_csv(platform: Platform, airports: dict[str, dict[str, str]]) -> None:
    rows = platform.sql("select iata, name, latitude from airports")
    assert {row["iata"]: (row["name"], row["latitude"]) for row in rows} == {
        iata: (row["name"], float(row["latitude"])) for iata, row in airports.items()
    }


def test_import_table_changes_nothing_when_a_row_is_wrong(platform: Platform) -> None:
    good = {"table": "numbers", "rows": [{"n": 1}, {"n": 2}], "replace": True}
    platform.result("import-table", good)
    answer = platform.invoke("import-table", {**good, "rows": [{"n": 3}, {"n": "x"}], "replace": False})
    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "InvalidTextRepresentation"
    assert platform.sql("select n from numbers order by n") == [{"n": 1}, {"n": 2}]


def test_nightly_report_is_right_and_may_run_twice(platform: Platform, movies: list[dict[str, Any]]) -> None:
    by_genre = defaultdict(list)
    for movie in movies:
        by_genre[movie["Major Genre"] or "Unknown"].append(movie)

    for _ in range(2):
        report = platform.result("nightly-report", {"day": "2026-01-31"})
    assert report["movies"] == len(movies)
    assert set(report["genres"]) == set(by_genre)
    for genre, of_genre in by_genre.items():
        ratings = [movie["IMDB Rating"] for movie in of_genre if movie["IMDB Rating"] is not None]
        found = report["genres"][genre]
        assert found["movies"] == len(of_genre)
        assert found["gross"] == sum(movie["Worldwide Gross"] or 0 for movie in of_genre)
        assert found["rating"] == pytest.approx(statistics.mean(ratings), abs=0.0051)
    [kept] = platform.sql("select count(*), sum(movies) from genre_report where day = '2026-01-31'")
    assert kept == {"count": len(by_genre), "sum": len(movies)}


def test_github_webhook_keeps_issues_and_commits(platform: Platform) -> None:
    """As GitHub sends it: signed with the secret, to the URL of a webhook."""
    function = platform.request("GET", "/functions/github-webhook").json()
    created = platform.request(
        "POST", "/webhooks", json={"function_id": function["id"], "name": "from GitHub", "preset": "github"}
    )
    assert created.status_code == 201, created.text
    hook = created.json()
    issue = {
        "number": 7,
        "title": "It breaks",
        "state": "open",
        "user": {"login": "ada"},
        "labels": [{"name": "bug"}],
        "updated_at": "2026-01-31T10:00:00Z",
    }
    closed = {**issue, "state": "closed", "updated_at": "2026-01-31T12:00:00Z"}
    repository = {"full_name": "ada/engine"}
    commits = [
        {"id": f"{n:040x}", "author": {"name": "Ada"}, "message": f"Step {n}", "timestamp": f"2026-01-31T1{n}:00:00Z"}
        for n in range(3)
    ]
    events = [
        ("issues", {"action": "closed", "issue": closed, "repository": repository}),
        ("issues", {"action": "opened", "issue": issue, "repository": repository}),  # arrives late
        ("push", {"ref": "refs/heads/main", "commits": commits, "repository": repository}),
        ("push", {"ref": "refs/heads/main", "commits": commits, "repository": repository}),  # sent again
    ]
    for number, (event, payload) in enumerate(events):
        body = json.dumps(payload).encode()
        signature = hmac.new(hook["secret"].encode(), body, hashlib.sha256).hexdigest()
        accepted = platform.client.post(
            platform.url + hook["path"],
            content=body,
            headers={
                "content-type": "application/json",
                "x-github-event": event,
                "x-github-delivery": f"delivery-{number}",
                "x-hub-signature-256": f"sha256={signature}",
            },
        )
        assert accepted.status_code == 202, accepted.text
        # One after the other, so that the order of arrival is the order of execution.
        newest = platform.history("github-webhook")[0]
        assert platform.ended(newest["id"])["status"] == "success"

    assert platform.sql("select number, state, author, labels from github_issues") == [
        {"number": 7, "state": "closed", "author": "ada", "labels": ["bug"]}
    ]
    assert platform.sql("select message, branch from github_commits order by committed_at") == [
        {"message": f"Step {n}", "branch": "main"} for n in range(3)
    ]


def test_search_airports_ranks_and_highlights(platform: Platform, airports: dict[str, Any]) -> None:
    assert platform.result("search-airports", {"setup": True}) == {"ready": True}
    found = platform.result("search-airports", {"q": "kennedy or laguardia", "limit": 50})["hits"]
    expected = {
        iata
        for iata, row in airports.items()
        if {"kennedy", "laguardia"} & set(f"{row['name']} {row['city']}".lower().replace("/", " ").split())
    }
    assert {hit["iata"] for hit in found} == expected
    assert {"JFK", "LGA"} <= expected
    assert all(first["rank"] >= second["rank"] for first, second in itertools.pairwise(found))
    assert all("<mark>" in hit["highlight"] for hit in found)
    assert platform.result("search-airports", {"q": "  "})["hits"] == []


def test_count_primes_counts_right(platform: Platform) -> None:
    # The prime-counting function: a table of mathematics, not of ours.
    for limit, primes in ((1, 0), (2, 1), (100, 25), (1_000_000, 78_498), (5_000_000, 348_513)):
        assert platform.result("count-primes", {"limit": limit})["primes"] == primes


def test_count_primes_says_when_its_memory_is_used_up(platform: Platform) -> None:
    answer = platform.invoke("count-primes", {"limit": 4_000_000_000})
    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "memory_limit")


def test_n_queens_counts_right(platform: Platform) -> None:
    # Sequence A000170 of the On-Line Encyclopedia of Integer Sequences.
    for n, solutions in ((1, 1), (2, 0), (6, 4), (8, 92), (11, 2680)):
        assert platform.result("n-queens", {"n": n}) == {"n": n, "solutions": solutions}
    refused = platform.invoke("n-queens", {"n": 15}).json()["error"]
    assert refused["type"] == "RangeError"


def test_sign_up_calls_send_welcome(platform: Platform) -> None:
    payload = {"user_id": "u-2", "name": "Grace", "email": "grace@example.com"}
    assert platform.result("sign-up", payload)["message"] == "Welcome Grace"
    caller, called = platform.history("sign-up")[0], platform.history("send-welcome")[0]
    assert (caller["source"], called["source"]) == ("api", "function")
    assert called["result"]["message"] == "Welcome Grace"
    again = platform.invoke("sign-up", payload)
    assert (again.status_code, again.json()) == (409, {"error": "this user id is taken"})


@pytest.mark.usefixtures("products")
def test_place_order_enqueues_a_receipt_with_the_order(platform: Platform) -> None:
    items = [{"sku": "mug", "quantity": 2}, {"sku": "pen", "quantity": 10}]
    placed = platform.result("place-order", {"customer": "ada@example.com", "items": items})
    assert placed["total_cents"] == 2 * 1250 + 10 * 180
    receipt = platform.ended(placed["receipt"])
    assert receipt["status"] == "success", receipt
    [mail] = platform.sql("select recipient, body from mails where reference like 'receipt %'")
    assert mail["recipient"] == "ada@example.com"
    assert mail["body"].splitlines()[-1] == "Total 43.00"
    assert platform.sql("select stock from products where sku = 'mug'") == [{"stock": 38}]


@pytest.mark.usefixtures("products")
def test_place_order_leaves_nothing_behind_when_stock_is_short(platform: Platform) -> None:
    before = len(platform.history("send-receipt"))
    items = [{"sku": "mug", "quantity": 1}, {"sku": "shirt", "quantity": 4}]
    answer = platform.invoke("place-order", {"customer": "ada@example.com", "items": items})
    assert answer.json()["error"]["type"] == "OutOfStock"
    assert platform.sql("select stock from products where sku = 'mug'") == [{"stock": 40}]
    assert platform.sql("select * from orders") == []
    assert len(platform.history("send-receipt")) == before


def test_charge_card_fails_with_type_message_stack_and_log(platform: Platform) -> None:
    answer = platform.invoke("charge-card", {"card": "4000000000000002", "amount_cents": 1200})
    assert answer.status_code == 500
    error = answer.json()["error"]
    assert (error["type"], error["message"]) == ("CardDeclined", "the card was declined")
    lines = [line.strip() for line in error["stack"].splitlines() if line.startswith("  File")]
    assert [line.split(", ")[0] for line in lines] == ['File "charge-card.py"'] * 2
    [example] = [example for example in examples.load() if example.name == "charge-card"]
    raising = next(n for n, line in enumerate(example.code.splitlines(), 1) if "raise CardDeclined" in line)
    assert f"line {raising}," in lines[-1]
    logs = platform.history("charge-card")[0]["logs"]
    assert [(line["level"], line["message"]) for line in logs] == [
        ("info", "charging 1200 cents to a card that ends in 0002"),
        ("error", "the bank said no"),
    ]
    accepted = platform.result("charge-card", {"card": "4242424242424242", "amount_cents": 1200})
    assert accepted == {"charged_cents": 1200}


def test_delay_board_is_a_web_page(platform: Platform, flights: list[dict[str, Any]], airports: dict[str, Any]) -> None:
    answer = platform.invoke("delay-board", params={"limit": "5"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "max-age=60"
    delays = defaultdict(list)
    for flight in flights:
        delays[flight["origin"]].append(flight["delay"])
    worst = sorted(
        ((statistics.mean(of), origin) for origin, of in delays.items() if len(of) >= 10 and origin in airports),
        key=lambda pair: (-pair[0], pair[1]),
    )[:5]
    page = unescape(answer.text)
    for mean, origin in worst:
        assert f"<td>{origin}</td><td>{airports[origin]['name']}" in page
        assert f"<td>{len(delays[origin])}</td><td>{mean:.1f}</td>" in page
    assert page.count("<tr>") == 6


def test_sign_url_makes_a_link_that_verifies(platform: Platform) -> None:
    before = datetime.now(UTC).timestamp()
    result = platform.result("sign-url", {"path": "/files/report.pdf", "expires_in": 60})
    url = urlsplit(result["url"])
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    assert (url.netloc, url.path) == ("files.example.com", "/files/report.pdf")
    assert before + 59 <= int(query["expires"]) <= datetime.now(UTC).timestamp() + 60
    message = f"/files/report.pdf\n{query['expires']}".encode()
    assert query["signature"] == hmac.new(b"change-me", message, hashlib.sha256).hexdigest()


@pytest.mark.usefixtures("products")
def test_export_csv_is_a_file_that_reads_back(platform: Platform) -> None:
    answer = platform.invoke("export-csv", {"table": "products"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="products.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert rows[0] == {"sku": "mug", "name": "Mug", "price_cents": "1250", "stock": "40"}
    assert len(rows) == 3
    missing = platform.invoke("export-csv", {"table": "pg_authid"})
    assert (missing.status_code, missing.json()) == (404, {"error": "there is no table pg_authid"})
