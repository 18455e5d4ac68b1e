import { useLocation, useSearch } from "wouter-preact";

/** Filters live in the address: Back undoes them, a link carries them. */
export function useQuery(): [Record<string, string>, (change: Record<string, string | null>, options?: { replace?: boolean }) => void] {
  const search = useSearch();
  const [path, go] = useLocation();
  const query = Object.fromEntries(new URLSearchParams(search));
  const set = (change: Record<string, string | null>, options?: { replace?: boolean }): void => {
    // Null takes a name away; an empty text stays: "?new=" opens a form.
    const next = new URLSearchParams(Object.entries({ ...query, ...change }).filter((pair): pair is [string, string] => pair[1] !== null));
    go(next.size ? `${path}?${next}` : path, options);
  };
  return [query, set];
}
