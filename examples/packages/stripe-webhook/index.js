// Receives Stripe's events: verifies the signature with the SDK, and keeps each payment once, however often it is sent.
// Deploy it with --auth none, since Stripe has no API key, and set the secret STRIPE_WEBHOOK_SECRET.
import Stripe from "stripe";

const crypto = Stripe.createSubtleCryptoProvider();

async function keep(event, zmesh) {
  await zmesh.db.query(`create table if not exists payments (
    id text primary key, amount_cents integer not null, currency text not null, event text not null)`);
  const { id, amount, currency } = event.data.object;
  const added = await zmesh.db.queryOne(
    "insert into payments values ($1, $2, $3, $4) on conflict do nothing returning id", [id, amount, currency, event.id]);
  return added ? "kept" : "known already";
}

export default {
  async fetch(request, env, ctx) {
    const stripe = new Stripe("not needed to verify events");
    let event;
    try {
      event = await stripe.webhooks.constructEventAsync(
        await request.text(), request.headers.get("stripe-signature"), env.STRIPE_WEBHOOK_SECRET, undefined, crypto);
    } catch (error) {
      return Response.json({ error: error.message }, { status: 400 });
    }
    if (event.type !== "payment_intent.succeeded") return Response.json({ event: "ignored" });
    return Response.json({ event: await keep(event, ctx.zmesh) });
  },
};
