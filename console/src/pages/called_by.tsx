import { Link } from "wouter-preact";
import { api, call, must } from "../api/client.ts";
import type { FunctionDetails, InvocationSummary, Page } from "../api/types.ts";
import { useData } from "../state/data.ts";
import { at, fnAt, withQuery } from "../support/routes.ts";
import { formatCount } from "../support/format.ts";
import { sourceIcon, sourceName } from "../support/sources.ts";
import { Icon } from "../parts/basic.tsx";
import { Box } from "../parts/data.tsx";

const LATEST = 50;

/** What started the latest invocations, and the tables whose changes start it. */
export function CalledBy({ fn }: { fn: FunctionDetails }) {
  const latest = useData(`called by ${fn.id}`, () => call<Page<InvocationSummary>>("GET", withQuery("/invocations", { function: fn.slug, limit: LATEST, logs: "false" })));
  const changes = useData("changes", () => must(api.GET("/changes")));
  const tables = changes.data?.items.filter((c) => c.function_id === fn.id) ?? [];
  const counts = new Map<string, number>();
  for (const i of latest.data?.items ?? []) counts.set(i.source, (counts.get(i.source) ?? 0) + 1);
  const sources = [...counts].sort(([, a], [, b]) => b - a);
  const all = latest.data?.items.length ?? 0;
  return (
    <Box
      title="Called by"
      aside={all ? (all === LATEST ? `latest ${LATEST}` : `all ${all}`) : undefined}
      actions={
        <Link class="link meta" href={fnAt(fn.slug, "triggers")}>
          Triggers
        </Link>
      }
    >
      <div class="body">
        {latest.data && !all && !tables.length && <p class="soft">Nothing yet.</p>}
        {!latest.data && <p>&nbsp;</p>}
        <dl class="facts">
          {sources.map(([source, count]) => [
            <dt class="row" key={source}>
              <Icon name={sourceIcon(source)} small />
              <Link class="link" href={withQuery(at("invocations"), { function: fn.slug, source })}>
                {sourceName(source)}
              </Link>
            </dt>,
            <dd class="num" key={`${source} count`}>
              {formatCount(count)}
            </dd>,
          ])}
          {tables.map((t) => [
            <dt class="row" key={t.table}>
              <Icon name="table" small />
              <Link class="link cut" href={at("changes")}>
                {t.table}
              </Link>
            </dt>,
            <dd class="quiet" key={`${t.table} events`}>
              {t.events.join(", ").toLowerCase()}
            </dd>,
          ])}
        </dl>
      </div>
    </Box>
  );
}
