import { useEffect, useReducer } from "preact/hooks";

/** Answers of the server by key. The old content stays until the new is there; `invalidate` loads again what is on the screen. */
type Entry = { data?: unknown; error?: unknown; loading: boolean; load?: () => Promise<unknown>; watchers: Set<() => void>; turn: number };
const entries = new Map<string, Entry>();

function entryOf(key: string): Entry {
  let entry = entries.get(key);
  if (!entry) entries.set(key, (entry = { loading: false, watchers: new Set(), turn: 0 }));
  return entry;
}

async function refresh(key: string): Promise<void> {
  const entry = entryOf(key);
  if (!entry.load) return;
  const turn = ++entry.turn;
  entry.loading = true;
  try {
    const data = await entry.load();
    if (turn !== entry.turn) return;
    entry.data = data;
    entry.error = undefined;
  } catch (error) {
    if (turn !== entry.turn) return;
    entry.error = error;
  }
  entry.loading = false;
  for (const tell of entry.watchers) tell();
}

export function invalidate(prefix: string): void {
  for (const [key, entry] of entries) {
    if (!key.startsWith(prefix)) continue;
    if (entry.watchers.size) void refresh(key);
    else entries.delete(key);
  }
}

export function setData<T>(key: string, change: (old: T | undefined) => T | undefined): void {
  const entry = entryOf(key);
  entry.data = change(entry.data as T | undefined);
  for (const tell of entry.watchers) tell();
}

export const forgetAll = (): void => entries.clear();

export type Loaded<T> = { data: T | undefined; error: unknown; loading: boolean; reload: () => Promise<void> };

export function useData<T>(key: string | null, load: () => Promise<T>): Loaded<T> {
  const [, redraw] = useReducer((n: number) => n + 1, 0);
  useEffect(() => {
    if (!key) return;
    const entry = entryOf(key);
    entry.load = load;
    const tell = (): void => redraw(undefined as never);
    entry.watchers.add(tell);
    void refresh(key);
    return () => {
      entry.watchers.delete(tell);
    };
  }, [key]);
  const entry = key ? entries.get(key) : undefined;
  return { data: entry?.data as T | undefined, error: entry?.error, loading: entry ? entry.loading : key !== null, reload: () => (key ? refresh(key) : Promise.resolve()) };
}
