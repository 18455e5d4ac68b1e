// Takes an order: stock goes down, the order is written, and a receipt is enqueued. All of it, or nothing.
//
// Payload: { "customer": "ada@example.com", "items": [{ "sku": "mug", "quantity": 2 }] }
// Needs a table "products" (sku, name, price_cents, stock), for example imported with import-table.

class OutOfStock extends Error {
  name = "OutOfStock";
}

exports.handler = async (payload, zmesh) => {
  const missing = ["customer", "items"].filter((key) => !(key in payload));
  if (missing.length) return zmesh.response({ error: `missing in the payload: ${missing.join(", ")}` }, { status: 422 });
  await zmesh.db.query(`
    select pg_advisory_xact_lock(hashtext('orders'));  -- "if not exists" alone can fail for two runs at once
    create table if not exists orders (
      id          bigint generated always as identity primary key,
      customer    text not null,
      items       jsonb not null,
      total_cents bigint not null,
      created_at  timestamptz not null default now()
    )`);

  return zmesh.db.transaction(async (db) => {
    let total = 0;
    for (const { sku, quantity } of payload.items) {
      // Check and change in one statement: two orders at once cannot both take the last piece.
      const product = await db.queryOne(
        "update products set stock = stock - $2 where sku = $1 and stock >= $2 returning price_cents::int",
        [sku, quantity],
      );
      if (!product) throw new OutOfStock(`fewer than ${quantity} of ${sku} are left`);
      total += product.price_cents * quantity;
    }
    const order = await db.queryOne(
      "insert into orders (customer, items, total_cents) values ($1, $2::jsonb, $3) returning id::int",
      [payload.customer, JSON.stringify(payload.items), total],
    );
    // Part of the transaction: when it rolls back, no receipt is ever sent.
    const receipt = await zmesh.enqueue("send-receipt", { order_id: order.id });
    return { order: order.id, total_cents: total, receipt };
  });
};
