import { API, project } from "../api/client.ts";
import type { InvocationSummary, Queue } from "../api/types.ts";

/** One stream for all pages. A hidden tab stops it and catches up when it is looked at again. */
export type LiveEvents = {
  invocations: { items: InvocationSummary[]; truncated: boolean };
  functions: { changed: string[]; count: number };
  queue: Queue;
};
type Name = keyof LiveEvents;
type Heard = { [N in Name]: Set<(event: LiveEvents[N]) => void> };

const heard: Heard = { invocations: new Set(), functions: new Set(), queue: new Set() };
const reopened = new Set<() => void>();
const states = new Set<(since: number | null) => void>();
let source: EventSource | null = null;
let openedFor = "";
let everOpen = false;
let lostAt: number | null = null;

export let latestQueue: Queue | null = null;

function lost(): void {
  if (lostAt !== null) return;
  lostAt = Date.now();
  for (const tell of states) tell(lostAt);
}
function found(): void {
  lostAt = null;
  for (const tell of states) tell(null);
}

function open(): void {
  source?.close();
  source = new EventSource(`${API}/live?project=${encodeURIComponent(project())}&topics=invocations,functions,queue`);
  source.onopen = () => {
    found();
    if (everOpen) for (const reload of reopened) reload();
    everOpen = true;
  };
  source.onerror = () => {
    lost();
    // A refused stream (an ended session) is closed for good: try again as the page does.
    if (source?.readyState === EventSource.CLOSED) setTimeout(() => openedFor && !document.hidden && open(), 4000);
  };
  for (const name of ["invocations", "functions", "queue"] as const)
    source.addEventListener(name, (e) => {
      const event = JSON.parse((e as MessageEvent<string>).data) as never;
      if (name === "queue") latestQueue = event;
      for (const tell of heard[name]) (tell as (e: unknown) => void)(event);
    });
}

export function startLive(): () => void {
  openedFor = project();
  everOpen = false;
  latestQueue = null;
  open();
  const seen = (): void => {
    if (document.hidden) {
      source?.close();
      source = null;
    } else if (!source) open();
  };
  document.addEventListener("visibilitychange", seen);
  return () => {
    document.removeEventListener("visibilitychange", seen);
    openedFor = "";
    source?.close();
    source = null;
  };
}

export function listen<N extends Name>(name: N, fn: (event: LiveEvents[N]) => void): () => void {
  heard[name].add(fn as never);
  return () => void heard[name].delete(fn as never);
}
/** Nothing is replayed after a gap: what is on the screen loads again. */
export function onReopened(fn: () => void): () => void {
  reopened.add(fn);
  return () => void reopened.delete(fn);
}
export function watchConnection(fn: (lostAt: number | null) => void): () => void {
  states.add(fn);
  fn(lostAt);
  return () => void states.delete(fn);
}
