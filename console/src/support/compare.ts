import type { Percentiles } from "../api/types.ts";
import { formatDuration, share } from "./format.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const SURE = 30; // calls on each side, below which nothing is said
const EXACT = 1.26; // percentiles are known to within 26 %: what is closer is the same

export type Earlier = { since: string; until: string; name: string };
/** The same range a day before, or for days a week before, in whole hours; null for what is not kept that long. */
export function earlier(range: number, now: number): Earlier | null {
  const back = range <= DAY ? DAY : range <= 7 * DAY ? 7 * DAY : null;
  if (back === null) return null;
  const at = (time: number): string => new Date(time).toISOString();
  return { since: at(Math.floor((now - back - range) / HOUR) * HOUR), until: at(Math.ceil((now - back) / HOUR) * HOUR), name: back === DAY ? "yesterday" : "the week before" };
}

export type Compared = { success: number; error: number; timeout: number; cancelled: number; duration_ms: Percentiles | null };
export const callsOf = (f: Compared): number => f.success + f.error + f.timeout + f.cancelled;
const failedOf = (f: Compared): number => f.error + f.timeout;
const changed = (now: number, before: number): string | null => (now > before * EXACT ? "up" : before > now * EXACT ? "down" : null);

/** How a percentile of the duration stands to the one before; null where too few calls say it. */
export function sayDuration(now: Compared, before: Compared, name: string, of: keyof Percentiles): string | null {
  const [a, b] = [now.duration_ms?.[of], before.duration_ms?.[of]];
  if (a === undefined || b === undefined || callsOf(now) < SURE || callsOf(before) < SURE) return null;
  const way = changed(a, b);
  return way ? `${way} from ${formatDuration(b)} ${name}` : `as ${name}`;
}

/** The same of the share that failed; nothing about a change that a few failures make. */
export function sayFailed(now: Compared, before: Compared, name: string): string | null {
  const [calls, callsBefore] = [callsOf(now), callsOf(before)];
  if (calls < SURE || callsBefore < SURE || Math.max(failedOf(now), failedOf(before)) < 3) return null;
  const [a, b] = [failedOf(now) / calls, failedOf(before) / callsBefore];
  return a >= 2 * b || b >= 2 * a ? `${a > b ? "up" : "down"} from ${share(failedOf(before), callsBefore)} % ${name}` : null;
}
