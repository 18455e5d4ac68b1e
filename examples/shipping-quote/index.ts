// Quotes shipping by zone and weight, from a price list beside the code.

import { readFileSync } from "node:fs";
import { cheapest, type Offer, type Parcel } from "./rules.ts";

type Zones = Record<string, { countries: string[]; offers: Offer[] }>;

const zones: Zones = JSON.parse(readFileSync(new URL("./data/zones.json", import.meta.url), "utf8"));

export function handler(payload: Parcel & { country: string }, zmesh: { response: Function }) {
  if (!payload.country || !payload.grams) {
    return zmesh.response({ error: "country and grams are needed in the payload" }, { status: 422 });
  }
  const found = Object.entries(zones).find(([, zone]) => zone.countries.includes(payload.country));
  if (!found) return zmesh.response({ error: `we do not ship to ${payload.country}` }, { status: 422 });
  const [name, zone] = found;
  const offer = cheapest(zone.offers, payload);
  if (!offer) return zmesh.response({ error: `nothing carries ${payload.grams} g to ${name}` }, { status: 422 });
  return { zone: name, carrier: offer.carrier, cents: offer.cents, days: offer.days };
}
