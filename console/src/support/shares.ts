/** Percent of the calls by version, as the alias `live` has them. */
export type Shares = Record<string, number>;

/** What a deployment offers at first: all calls, unless somebody holds versions back by shares. */
export const firstShare = (live: Shares | undefined, current: number): number => (!live || live[current] === 100 ? 100 : 0);

/** What becomes of the calls when the new version gets `part` percent; the server shares them like this. */
export function sayFirstShare(part: number, live: Shares | undefined, current: number): string {
  const now = Object.entries(live ?? { [current]: 100 }).sort(([v, a], [w, b]) => b - a || Number(w) - Number(v));
  const [kept, ...others] = now.map(([version]) => `v${version}`);
  if (part === 100) return "It takes all calls at once.";
  if (part === 0) return now.length === 1 ? `${kept} keeps all calls.` : `${now.map(([v, share]) => `v${v} keeps ${share} %`).join(", ")}.`;
  const rest = others.length ? ` ${others.join(" and ")} ${others.length === 1 ? "gets" : "get"} no more calls.` : "";
  return `${kept} keeps ${100 - part} %.${rest}`;
}
