import { useLocation, useSearch } from "wouter-preact";
import { withQuery } from "./routes.ts";

/** Filters live in the address: Back undoes them, a link carries them. */
export function useQuery(): [Record<string, string>, (change: Record<string, string | null>, options?: { replace?: boolean }) => void] {
  const search = useSearch();
  const [path, go] = useLocation();
  const query = Object.fromEntries(new URLSearchParams(search));
  return [query, (change, options) => go(withQuery(path, { ...query, ...change }), options)];
}
