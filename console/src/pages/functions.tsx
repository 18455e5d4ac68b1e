import { useEffect, useState } from "preact/hooks";
import { Link, useLocation } from "wouter-preact";
import { api, call, must } from "../api/client.ts";
import type { FunctionSummary, Page } from "../api/types.ts";
import { listen, onReopened } from "../live/stream.ts";
import { invalidate, useData } from "../state/data.ts";
import { useHere } from "../state/session.ts";
import { at, fnAt, withQuery } from "../support/routes.ts";
import { useQuery } from "../support/query.ts";
import { formatCount, formatDuration, share, shortName } from "../support/format.ts";
import { sourceIcon, sourceName } from "../support/sources.ts";
import { Ago, Bones, Button, Empty, Failed, FilterField, Icon, Lang, Segmented, Select } from "../parts/basic.tsx";
import { Spark } from "../parts/data.tsx";
import { Bar } from "../parts/shell.tsx";
import { usePageKeys } from "../parts/keys.tsx";
import { FirstFunction } from "./first.tsx";

const SORTS: [string, string][] = [
  ["errors", "Needs attention"],
  ["calls", "Most calls"],
  ["deployed", "Last deployed"],
  ["name", "Name"],
];

export function Functions() {
  const { may } = useHere();
  const [query, setQuery] = useQuery();
  const [, go] = useLocation();
  const show = query.show ?? "all";
  const sort = query.sort ?? "errors";
  const [more, setMore] = useState<FunctionSummary[]>([]);
  const [cursor, setCursor] = useState<string | null>(null);
  const path = withQuery("/statistics/functions", { show, sort, search: query.search, limit: 100 });
  const key = `functions ${path}`;
  const list = useData(key, () => call<Page<FunctionSummary>>("GET", path));
  useEffect(() => {
    setMore([]);
    setCursor(list.data?.next_cursor ?? null);
  }, [list.data]);
  useEffect(() => {
    const reload = (): void => invalidate("functions ");
    const ends = [listen("functions", reload), onReopened(reload), watchCalls(reload)];
    return () => ends.forEach((end) => end());
  }, []);
  usePageKeys({ C: () => may("developer") && go(at("functions", "new")) });

  const items = [...(list.data?.items ?? []), ...more];
  const empty = list.data && !items.length && show === "all" && !query.search;
  const fetchMore = async (): Promise<void> => {
    const next = await call<Page<FunctionSummary>>("GET", withQuery(path, {}) + `&cursor=${encodeURIComponent(cursor ?? "")}`);
    setMore([...more, ...next.items]);
    setCursor(next.next_cursor);
  };
  return (
    <>
      <Bar
        title="Functions"
        count={list.data ? `${formatCount(items.length)}${cursor ? "+" : ""}` : undefined}
        line={!!empty}
        actions={
          may("developer") &&
          !empty && (
            <Button kind="primary" icon="plus" keys="C" onClick={() => go(at("functions", "new"))}>
              New function
            </Button>
          )
        }
      />
      {empty ? (
        may("developer") ? (
          <FirstFunction />
        ) : (
          <Empty title="No functions">A function appears here once a developer of this project deploys it.</Empty>
        )
      ) : (
        <>
          <div class="tools">
            <Segmented label="Show" value={show} options={[["all", "All"], ["failing", "Failing"], ["disabled", "Disabled"]]} onChange={(v) => setQuery({ show: v === "all" ? null : v })} />
            <FilterField label="Filter functions" placeholder="Name or tag" value={query.search ?? ""} onInput={(v) => setQuery({ search: v || null }, { replace: true })} />
            <div class="end wide">
              <span class="quiet" aria-hidden="true">
                Sorted by
              </span>
              <Select aria-label="Sorted by" value={sort} options={SORTS} onChange={(v) => setQuery({ sort: v === "errors" ? null : v })} />
            </div>
          </div>
          <div class="scroll">
            {!!list.error && (
              <div class="page">
                <Failed error={list.error} what="The list could not be loaded." retry={() => void list.reload()} />
              </div>
            )}
            {!list.data && !list.error && <Bones />}
            {list.data && !items.length && <Empty title={show === "failing" ? "No function failed in the last hour." : "No matching functions"}>{query.search ? `No name or tag contains “${query.search}”.` : null}</Empty>}
            {items.length > 0 && <Table items={items} />}
            {cursor && (
              <div class="more">
                <Button onClick={() => void fetchMore()}>Show more</Button>
              </div>
            )}
          </div>
        </>
      )}
    </>
  );
}

/** Ended calls change the figures; the list loads again at most every five seconds, as often as the figures move. */
function watchCalls(reload: () => void): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const end = listen("invocations", () => {
    timer ??= setTimeout(() => {
      timer = undefined;
      reload();
    }, 5000);
  });
  // The last hour moves on without calls, too; and calls count once they are summed up, which nothing announces.
  const aged = setInterval(() => !document.hidden && reload(), 15_000);
  return () => {
    clearInterval(aged);
    clearTimeout(timer);
    end();
  };
}

/** The tables whose changes start functions, by function; read only where a function was started by one. */
function useTables(items: FunctionSummary[]): Map<string, string[]> {
  const changes = useData(items.some((f) => f.called_by.includes("change")) ? "changes" : null, () => must(api.GET("/changes")));
  const tables = new Map<string, string[]>();
  for (const c of changes.data?.items ?? []) if (c.function_id) tables.set(c.function_id, [...(tables.get(c.function_id) ?? []), c.table]);
  return tables;
}

function Table({ items }: { items: FunctionSummary[] }) {
  const tables = useTables(items);
  return (
    <table class="tbl two fns" data-list>
      <thead class="stick">
        <tr>
          <th>Function</th>
          <th class="wide">Called by</th>
          <th>Last hour</th>
          <th class="r">Calls</th>
          <th class="r">Failed</th>
          <th class="r" title="95 of 100 runs in the last hour were faster">
            p95
          </th>
          <th class="wide">Version</th>
          <th>Deployed</th>
        </tr>
      </thead>
      <tbody>
        {items.map((f) => (
          <Row key={f.id} f={f} tables={tables.get(f.id)} />
        ))}
      </tbody>
    </table>
  );
}

function Row({ f, tables }: { f: FunctionSummary; tables: string[] | undefined }) {
  const said = (source: string): string => (source === "change" && tables ? `change of ${tables.join(", ")}` : sourceName(source));
  const { calls, errors, series, error_series, duration_ms } = f.last_hour;
  const failed = share(errors, calls);
  const alarming = calls > 0 && errors / calls >= 0.01 && errors > 0;
  const failedText = calls ? (failed === "0" ? "0" : `${failed} %`) : "–";
  return (
    <tr class={f.enabled ? "" : "off"}>
      <td class="c-name">
        <div class="row">
          <Lang of={f.language} />
          <div class="grow">
            <div class="row named">
              <Link class="m go cut" href={fnAt(f.slug)}>
                {f.slug}
              </Link>
              {!f.enabled && <span class="tag">disabled</span>}
              {f.tags.map((t) => (
                <span class="tag wide" key={t}>
                  {t}
                </span>
              ))}
            </div>
            <div class="meta cut">{f.description || (f.name !== f.slug ? f.name : "")}</div>
          </div>
        </div>
      </td>
      <td class="c-trig wide">
        <span class="trig">
          {f.called_by.map((source) => (
            <span key={source} title={said(source)}>
              <Icon name={sourceIcon(source)} small />
              <span class="sr">{said(source)}</span>
            </span>
          ))}
        </span>
      </td>
      <td class="c-spark">
        <Spark calls={series} errors={error_series} />
      </td>
      <td class="r c-calls">{formatCount(calls)}</td>
      <td class={`r c-err ${alarming ? "err m" : "soft"}`}>{failedText}</td>
      <td class="r c-p95 soft">{formatDuration(duration_ms?.p95)}</td>
      <td class="c-ver wide">
        <span class="num soft">v{f.version}</span>
      </td>
      <td class="c-sum narrow meta num">
        <span>{formatCount(calls)} calls</span>
        {errors > 0 && <span class={alarming ? "err m" : "soft"}>{failed} % failed</span>}
      </td>
      <td class="c-dep quiet">
        <Ago at={f.deployed_at} />
        {f.deployed_by && <span title={f.deployed_by}> by {shortName(f.deployed_by)}</span>}
      </td>
    </tr>
  );
}
