import { useEffect, useRef, useState } from "preact/hooks";
import { Link } from "wouter-preact";
import { api, call, must } from "../api/client.ts";
import { sayError } from "../api/errors.ts";
import type { InvocationSummary, Page, ProjectStatistics } from "../api/types.ts";
import { listen, onReopened } from "../live/stream.ts";
import { setData, useData } from "../state/data.ts";
import { rememberList } from "../state/neighbours.ts";
import { useHere } from "../state/session.ts";
import { toast } from "../state/toast.ts";
import { invocationAt, withQuery } from "../support/routes.ts";
import { useQuery } from "../support/query.ts";
import { versionName, formatDuration, oneLine, plural, shortClock, shortId } from "../support/format.ts";
import { errorOf } from "../support/outcome.ts";
import { sourceIcon, sourceName } from "../support/sources.ts";
import { Ago, Bones, Button, Check, Empty, Failed, FilterField, Icon, Segmented, StatusMark, Switch } from "../parts/basic.tsx";
import { TimingBar } from "../parts/data.tsx";
import { Menu } from "../parts/overlays.tsx";
import { OutcomeBars } from "../parts/bars.tsx";
import { Bar } from "../parts/shell.tsx";
import { usePageKeys } from "../parts/keys.tsx";

const SINCE: [string, string][] = [
  ["", "any time"],
  ["15m", "last 15 min"],
  ["1h", "last hour"],
  ["24h", "last 24 h"],
  ["7d", "last 7 days"],
];
const MS: Record<string, number> = { m: 60_000, h: 3_600_000, d: 86_400_000 };
export const sinceTime = (text: string | undefined): string | null => {
  const match = /^(\d+)([mhd])$/.exec(text ?? "");
  return match ? new Date(Date.now() - Number(match[1]) * MS[match[2]!]!).toISOString() : null;
};
const SOURCES: [string, string][] = [
  ["", "Any trigger"],
  ["api", "HTTP"],
  ["sql", "SQL"],
  ["schedule", "a schedule"],
  ["webhook", "a webhook"],
  ["change", "a table change"],
  ["function", "a function"],
];
const LIMIT = 50;

export default function Invocations() {
  return (
    <>
      <InvocationList />
    </>
  );
}

/** The list, for the project or, in a function's tab, for that function. */
export function InvocationList({ of }: { of?: string }) {
  const { may } = useHere();
  const [query, setQuery] = useQuery();
  const [live, setLive] = useState(true);
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [older, setOlder] = useState<InvocationSummary[]>([]);
  const [cursor, setCursor] = useState<string | null>(null);
  const [waitingNew, setWaitingNew] = useState<InvocationSummary[]>([]);
  const [fresh, setFresh] = useState<ReadonlySet<string>>(new Set());
  const scroller = useRef<HTMLDivElement>(null);
  const fn = of ?? query.function;
  const filter = {
    function: fn,
    // "Failed" is two states: the rows are asked for one after the other by the server's filter of errors.
    status: query.status,
    source: query.source,
    version: query.version,
    error: query.error,
    fingerprint: query.fingerprint,
    created_after: query.from ?? sinceTime(query.since),
    created_before: query.until,
  };
  const stable = JSON.stringify({ ...filter, created_after: query.from ?? query.since });
  const path = withQuery("/invocations", { ...filter, logs: "false", limit: LIMIT });
  const key = `invocations ${stable}`;
  const list = useData(key, () => call<Page<InvocationSummary>>("GET", path));
  useEffect(() => {
    setOlder([]);
    setWaitingNew([]);
    setCursor(list.data?.next_cursor ?? null);
  }, [key, list.data?.next_cursor]);
  useEffect(() => setChosen(new Set()), [key]);

  const fits = (i: InvocationSummary): boolean =>
    (!fn || i.function === fn || i.function_id === fn) &&
    (!query.status || i.status === query.status) &&
    (!query.source || i.source === query.source) &&
    (!query.version || String(i.version) === query.version) &&
    !query.until &&
    !query.fingerprint &&
    (!query.error || JSON.stringify(i.error ?? "").toLowerCase().includes(query.error.toLowerCase()));

  const merge = (items: InvocationSummary[]): void => {
    const fitting = items.filter(fits);
    const known = new Set(list.data?.items.map((i) => i.id));
    setData<Page<InvocationSummary>>(key, (old) => old && { ...old, items: old.items.map((i) => ({ ...i, ...items.find((n) => n.id === i.id) })) });
    const added = fitting.filter((i) => !known.has(i.id)).sort((a, b) => (a.id < b.id ? 1 : -1));
    if (!added.length) return;
    const atTop = (scroller.current?.scrollTop ?? 0) < 40 && !chosen.size;
    if (atTop) prepend(added);
    else setWaitingNew((w) => [...added.filter((a) => !w.some((x) => x.id === a.id)), ...w.map((x) => added.find((a) => a.id === x.id) ?? x)]);
  };
  const prepend = (added: InvocationSummary[]): void => {
    setFresh(new Set(added.map((a) => a.id)));
    setData<Page<InvocationSummary>>(key, (old) => old && { ...old, items: [...added, ...old.items.filter((i) => !added.some((a) => a.id === i.id))].slice(0, 400) });
  };
  useEffect(() => {
    if (!live) return;
    const ends = [listen("invocations", (e) => (e.truncated ? void list.reload() : merge(e.items))), onReopened(() => void list.reload())];
    return () => ends.forEach((end) => end());
  });
  usePageKeys({ " ": () => setLive(!live), X: selectFocused, Escape: () => setChosen(new Set()) });

  const items = [...(list.data?.items ?? []), ...older];
  useEffect(() => rememberList(items.map((i) => i.id)));
  const scale = percentile95(items.map((i) => (i.queue_ms ?? 0) + (i.start_ms ?? 0) + (i.duration_ms ?? 0)));
  const filtered = Object.values({ ...filter, function: of ? null : fn }).some(Boolean);
  const loadOlder = async (): Promise<void> => {
    const next = await call<Page<InvocationSummary>>("GET", `${path}&cursor=${encodeURIComponent(cursor!)}`);
    setOlder([...older, ...next.items]);
    setCursor(next.next_cursor);
  };

  const filters: [string, string, string][] = [
    !of && fn ? ["function", "function", fn] : null,
    query.source ? ["source", "started by", query.source] : null,
    query.version ? ["version", "version", `v${query.version}`] : null,
    query.since ? ["since", "accepted", SINCE.find(([k]) => k === query.since)?.[1] ?? query.since] : null,
    query.from ? ["from", "accepted", `${shortClock(query.from)}${query.until ? ` to ${shortClock(query.until)}` : " or later"}`] : null,
    query.fingerprint ? ["fingerprint", "error", "the same"] : null,
  ].filter((f) => f !== null) as [string, string, string][];

  return (
    <>
      {!of && (
        <Bar
          title="Invocations"
          actions={
            <span class="row live-sw">
              <span class="soft">Live</span>
              <Switch on={live} label="Live" onChange={setLive} />
            </span>
          }
        />
      )}
      <div class={`tools ${of ? "in-tab" : ""}`}>
        <Segmented
          label="Status"
          class="scrollx"
          value={query.status ?? ""}
          options={[
            ["", "All"],
            ["error", "Error"],
            ["timeout", "Timeout"],
            ["running", "Running"],
            ["queued", "Queued"],
            ["success", "Success"],
          ]}
          onChange={(v) => setQuery({ status: v || null })}
        />
        {filters.map(([name, label, value]) => (
          <span class="tok" key={name}>
            <span>{label}</span>
            <span>{value}</span>
            <button type="button" aria-label={`Remove the filter ${label}`} onClick={() => setQuery(name === "from" ? { from: null, until: null } : { [name]: null })}>
              <Icon name="x" />
            </button>
          </span>
        ))}
        <Menu
          label="Add a filter"
          icon="plus"
          small
          items={[...SOURCES.slice(1).map(([k, text]) => ({ label: `Started by ${text}`, run: () => setQuery({ source: k }) })), "line" as const, ...SINCE.slice(1).map(([k, text]) => ({ label: `Accepted ${text}`, run: () => setQuery({ since: k, from: null, until: null }) }))]}
        />
        <FilterField class="end" icon="search" label="Search errors" placeholder="Text in the error" value={query.error ?? ""} onInput={(v) => setQuery({ error: v || null }, { replace: true })} />
      </div>
      <div class="scroll" ref={scroller}>
        {!of && <Histogram onPick={(from, until) => setQuery({ from, until, since: null })} />}
        {chosen.size > 0 && <Bulk chosen={[...chosen]} items={items} clear={() => setChosen(new Set())} />}
        {waitingNew.length > 0 && (
          <div class="newer">
            <Button
              small
              onClick={() => {
                scroller.current?.scrollTo({ top: 0 });
                prepend(waitingNew);
                setWaitingNew([]);
              }}
            >
              {waitingNew.length} new
            </Button>
          </div>
        )}
        {!!list.error && (
          <div class="page">
            <Failed error={list.error} what="The list could not be loaded." retry={() => void list.reload()} />
          </div>
        )}
        {!list.data && !list.error && <Bones rows={10} />}
        {list.data && !items.length && (
          <Empty title={filtered ? "No matching invocations" : "No invocations"} actions={filtered && !of ? <Button onClick={() => setQuery(Object.fromEntries(Object.keys(query).map((k) => [k, null])))}>Show all</Button> : undefined}>
            {filtered ? "Change or remove the filters to see more." : "Every invocation is listed here, with its payload, result and log."}
          </Empty>
        )}
        {items.length > 0 && (
          <table class="tbl invs" data-list>
            <thead class="stick">
              <tr>
                {may("developer") && (
                  <th class="c-check wide">
                    <Check on={chosen.size > 0 && chosen.size === items.length} label="Select all shown" onChange={(on) => setChosen(new Set(on ? items.map((i) => i.id) : []))} />
                  </th>
                )}
                <th class="w-st">Status</th>
                <th class="w-fn">{of ? "Invocation" : "Function"}</th>
                <th class="w-by wide">Started by</th>
                <th>Result or error</th>
                <th class="w-bar">Queue, start, run</th>
                <th class="r w-took">Took</th>
                <th class="r w-att">Attempts</th>
                <th class="r w-ago">Accepted</th>
              </tr>
            </thead>
            <tbody>
              {items.map((i) => (
                <Row
                  key={i.id}
                  i={i}
                  own={!!of}
                  scale={scale}
                  fresh={fresh.has(i.id)}
                  chosen={chosen.has(i.id)}
                  choose={
                    may("developer")
                      ? (on) => {
                          const next = new Set(chosen);
                          if (on) next.add(i.id);
                          else next.delete(i.id);
                          setChosen(next);
                        }
                      : null
                  }
                />
              ))}
            </tbody>
          </table>
        )}
        {cursor && (
          <div class="more">
            <LoadMore load={loadOlder} />
          </div>
        )}
      </div>
    </>
  );
}

function Row({ i, own, scale, fresh, chosen, choose }: { i: InvocationSummary; own: boolean; scale: number; fresh: boolean; chosen: boolean; choose: ((on: boolean) => void) | null }) {
  const error = errorOf(i.error);
  return (
    <tr class={fresh ? "new" : ""} aria-selected={chosen || undefined}>
      {choose && (
        <td class="c-check wide">
          <Check on={chosen} label={`Select the invocation of ${i.function}`} onChange={choose} />
        </td>
      )}
      <td class="c-st">
        <StatusMark status={i.status} />
      </td>
      <td class="c-fn cut">
        <Link class={own ? "mono go" : "m go"} href={invocationAt(i.id)}>
          {own ? shortId(i.id) : i.function}
        </Link>{" "}
        {i.version !== null && <span class="quiet">{versionName(i.version)}</span>}
      </td>
      <td class="wide soft">
        <span class="row">
          <Icon name={sourceIcon(i.source)} small class="quiet" />
          {sourceName(i.source)}
        </span>
      </td>
      <td class="c-what">
        <div class="cut">
          {error ? (
            <>
              <b class="m">{error.type}</b> {oneLine(error.message)}
            </>
          ) : (
            <span class="mono soft">{oneLine(i.result)}</span>
          )}
        </div>
      </td>
      <td class="wide">
        <TimingBar size="mini" status={i.status} scale={scale} timing={{ queue: i.queue_ms, start: i.start_ms, run: i.duration_ms === null ? null : Math.max(0, i.duration_ms - (i.start_ms ?? 0)) }} />
      </td>
      <td class="r c-dur">{formatDuration(i.duration_ms)}</td>
      <td class="r soft wide">{i.max_attempts > 1 && i.attempt > 1 ? `${i.attempt} of ${i.max_attempts}` : i.attempt || "–"}</td>
      <td class="r quiet c-ago">
        <Ago at={i.created_at} />
      </td>
    </tr>
  );
}

/** Selects the row in which the focus is, or takes it back. */
const selectFocused = (): void => document.activeElement?.closest("tr")?.querySelector<HTMLElement>("[role=checkbox]")?.click();

/** The slowest twentieth ends in a tip, so that one slow call does not make all others invisible. */
export function percentile95(values: number[]): number {
  const sorted = values.filter((v) => v > 0).sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * 0.95))] ?? 0;
}

function LoadMore({ load }: { load: () => Promise<void> }) {
  const [busy, setBusy] = useState(false);
  const box = useRef<HTMLDivElement>(null);
  const go = (): void => {
    if (busy) return;
    setBusy(true);
    void load().catch((e: unknown) => toast(sayError(e))).finally(() => setBusy(false));
  };
  useEffect(() => {
    const seen = new IntersectionObserver((e) => e[0]?.isIntersecting && go());
    if (box.current) seen.observe(box.current);
    return () => seen.disconnect();
  });
  return (
    <div ref={box}>
      <Button busy={busy} onClick={go}>
        Load older
      </Button>
    </div>
  );
}

function Bulk({ chosen, items, clear }: { chosen: string[]; items: InvocationSummary[]; clear: () => void }) {
  const [busy, setBusy] = useState(false);
  const of = items.filter((i) => chosen.includes(i.id));
  const ended = of.filter((i) => ["error", "timeout", "cancelled"].includes(i.status)).map((i) => i.id);
  const going = of.filter((i) => ["queued", "running", "waiting"].includes(i.status)).map((i) => i.id);
  const attempt = async (work: () => Promise<string>): Promise<void> => {
    setBusy(true);
    try {
      toast(await work());
      clear();
    } catch (error) {
      toast(sayError(error));
    }
    setBusy(false);
  };
  return (
    <div class="bulk" role="region" aria-label="Selected invocations">
      <b class="m num">{chosen.length} selected</b>
      <span class="row end">
        {ended.length > 0 && (
          <Button small icon="retry" busy={busy} onClick={() => void attempt(async () => `${plural((await must(api.POST("/invocations/retry", { body: { ids: ended } as never }))).items.length, "invocation is", "invocations are")} queued again`)}>
            Retry {ended.length}
          </Button>
        )}
        {going.length > 0 && (
          <Button
            small
            icon="stop"
            busy={busy}
            onClick={() =>
              void attempt(async () => {
                await Promise.all(going.map((id) => must(api.POST("/invocations/{id}/cancel", { params: { path: { id } } }))));
                return `${plural(going.length, "invocation")} cancelled`;
              })
            }
          >
            Cancel {going.length}
          </Button>
        )}
        <Button kind="bare" small icon="x" label="Clear the selection" onClick={clear} />
      </span>
    </div>
  );
}

function Histogram({ onPick }: { onPick: (from: string, until: string) => void }) {
  const stats = useData("statistics project 1h", () => call<ProjectStatistics>("GET", withQuery("/statistics", { since: new Date(Date.now() - 3_600_000).toISOString(), step: 60 })));
  useEffect(() => {
    const timer = setInterval(() => !document.hidden && void stats.reload(), 15_000);
    return () => clearInterval(timer);
  }, []);
  return (
    <div class="hist wide">
      <OutcomeBars points={stats.data?.points} step={60} height={44} onPick={onPick} bare />
    </div>
  );
}
