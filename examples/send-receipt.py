"""Writes the receipt of an order into the table "mails". Enqueued by place-order.

Payload: {"order_id": 1}
"""

LINE = "{quantity:>4} x {name:<24}{amount:>10.2f}"


def handler(payload, zmesh):
    if "order_id" not in payload:
        return zmesh.response({"error": "missing in the payload: order_id"}, status=422)
    order = zmesh.db.query_one("select * from orders where id = %s", [payload["order_id"]])
    if order is None:
        raise LookupError(f"order {payload['order_id']} does not exist")

    products = {product["sku"]: product for product in zmesh.db.select("products")}
    lines = [
        LINE.format(
            quantity=item["quantity"],
            name=products[item["sku"]]["name"],
            amount=item["quantity"] * products[item["sku"]]["price_cents"] / 100,
        )
        for item in order["items"]
    ]
    text = "\n".join([f"Order {order['id']}", *lines, f"Total {order['total_cents'] / 100:.2f}"])

    zmesh.db.query("""
        select pg_advisory_xact_lock(hashtext('mails'));  -- "if not exists" alone can fail for two runs at once
        create table if not exists mails (
            id bigint generated always as identity primary key,
            recipient text, subject text not null, body text not null, reference text unique
        )""")
    zmesh.db.query(
        "insert into mails (recipient, subject, body, reference) values (%s, %s, %s, %s)"
        " on conflict (reference) do nothing",
        [order["customer"], f"Receipt for order {order['id']}", text, f"receipt {order['id']}"],
    )
    return {"order": order["id"], "text": text}
