// Which offer of a carrier fits a parcel.

export interface Parcel {
  grams: number;
  express?: boolean;
}

export interface Offer {
  carrier: string;
  maxGrams: number;
  cents: number;
  days: number;
}

const EXPRESS_DAYS = 2;

/** The cheapest offer that carries the parcel in time, if there is one. */
export function cheapest(offers: Offer[], parcel: Parcel): Offer | undefined {
  const fits = (offer: Offer) => offer.maxGrams >= parcel.grams && (!parcel.express || offer.days <= EXPRESS_DAYS);
  return offers.filter(fits).sort((a, b) => a.cents - b.cents)[0];
}
