/** Numbers and times as people read them. Units are apart, so that they can be lighter. */
export type Figure = { value: string; unit: string };

const count = new Intl.NumberFormat("en-US");
export const formatCount = (n: number): string => count.format(n);

export function duration(ms: number): Figure {
  if (ms < 1) return { value: ms === 0 ? "0" : "<1", unit: "ms" };
  if (ms < 1000) return { value: String(Math.round(ms)), unit: "ms" };
  if (ms < 10_000) return { value: (ms / 1000).toFixed(2), unit: "s" };
  if (ms < 60_000) return { value: (ms / 1000).toFixed(1), unit: "s" };
  const s = Math.round(ms / 1000);
  if (s < 3600) return s % 60 ? { value: `${Math.floor(s / 60)} min ${s % 60}`, unit: "s" } : { value: String(s / 60), unit: "min" };
  if (s < 86_400) return { value: `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)}`, unit: "min" };
  return { value: `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)}`, unit: "h" };
}
export const formatDuration = (ms: number | null | undefined): string => {
  if (ms === null || ms === undefined) return "–";
  const { value, unit } = duration(ms);
  return `${value} ${unit}`;
};

/** A share of a whole: never 0 for something, never 100 for almost all. */
export function share(part: number, whole: number): string {
  if (!whole || !part) return "0";
  const percent = (part / whole) * 100;
  if (percent < 0.1) return "<0.1";
  if (percent > 99.9 && part < whole) return ">99.9";
  return percent < 10 ? String(Math.round(percent * 10) / 10) : String(Math.round(percent));
}

export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} bytes`;
  if (bytes < 1_000_000) return `${(bytes / 1000).toFixed(1)} KB`;
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}

export function ago(then: number, now: number): string {
  const s = Math.round((now - then) / 1000);
  if (s < -3) return `in ${span(-s)}`; // less: the clock of the server is a little ahead
  if (s < 2) return "now";
  return s < 7 * 86_400 ? `${span(s)} ago` : exactDay(then);
}

export function span(seconds: number): string {
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** Longer than `span`, for times to come: "5 d 23 h". */
export function spanExact(seconds: number): string {
  if (seconds < 3600) return span(seconds);
  const [big, small] = seconds < 86_400 ? [3600, 60] : [86_400, 3600];
  const rest = Math.floor((seconds % big) / small);
  return `${span(seconds)}${rest ? ` ${rest} ${small === 60 ? "min" : "h"}` : ""}`;
}

const day = (at: number, zone?: string): string => new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", timeZone: zone }).format(at);
const exactDay = (at: number): string => day(at);
export const clock = (at: string | number, zone?: string): string => new Intl.DateTimeFormat("en-GB", { timeStyle: "medium", timeZone: zone }).format(new Date(at));
export const clockMs = (at: string | number): string => `${clock(at)}.${String(new Date(at).getMilliseconds()).padStart(3, "0")}`;
export const shortClock = (at: string | number, zone?: string): string => new Intl.DateTimeFormat("en-GB", { timeStyle: "short", timeZone: zone }).format(new Date(at));
export const weekday = (at: string | number, zone?: string): string => new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short", timeZone: zone }).format(new Date(at)).replace(",", "");
export function exact(at: string | number): string {
  const date = new Date(at);
  return `${new Intl.DateTimeFormat("en-GB", { dateStyle: "long", timeStyle: "long" }).format(date)}, ${date.toISOString().slice(11, 19)} UTC`;
}

/** Who deployed, in short: the first part of an address, or the name of a key or role. Null: unknown. */
export const shortName = (by: string | null | undefined): string | null => (by ? by.replace(/@.*/, "").replace(/ \((API key|SQL)\)$/, "") : null);

/** A draft that was tried has a version below zero. */
export const versionName = (version: number): string => (version < 0 ? "draft" : `v${version}`);

/** UUIDs of one minute begin alike: the end tells them apart. */
export const shortId = (id: string): string => `…${id.slice(-8)}`;
export const plural = (n: number, one: string, many = `${one}s`): string => `${formatCount(n)} ${n === 1 ? one : many}`;

/** One line of a value, for a table. */
export function oneLine(value: unknown, most = 160): string {
  if (value === null || value === undefined) return "";
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.length > most ? `${text.slice(0, most)}…` : text;
}
export const pretty = (value: unknown): string => (typeof value === "string" ? JSON.stringify(value) : JSON.stringify(value, null, 2)) ?? "";
