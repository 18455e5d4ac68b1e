import { useEffect, useState } from "preact/hooks";
import { Link } from "wouter-preact";
import { api, call, must } from "../api/client.ts";
import { sayError } from "../api/errors.ts";
import type { InvocationSummary, Listener, Page, QueueDetails, Running } from "../api/types.ts";
import { listen } from "../live/stream.ts";
import { useData } from "../state/data.ts";
import { useHere } from "../state/session.ts";
import { toast } from "../state/toast.ts";
import { fnAt, invocationAt } from "../support/routes.ts";
import { formatCount, formatDuration, plural, shortId, span } from "../support/format.ts";
import { errorOf } from "../support/outcome.ts";
import { callSnippets } from "../support/snippets.ts";
import { Bones, Button, Failed, Meter, useNow } from "../parts/basic.tsx";
import { Box } from "../parts/data.tsx";
import { CopyAs } from "../parts/overlays.tsx";
import { Bar } from "../parts/shell.tsx";

export default function QueuePage() {
  const found = useData("queue", () => call<QueueDetails>("GET", "/queue"));
  const now = useNow();
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const later = (): void => {
      timer ??= setTimeout(() => {
        timer = undefined;
        void found.reload();
      }, 1000);
    };
    const ends = [listen("queue", later), listen("invocations", later)];
    const still = setInterval(() => !document.hidden && void found.reload(), 5000);
    return () => {
      clearTimeout(timer);
      clearInterval(still);
      ends.forEach((end) => end());
    };
  }, []);
  const q = found.data;
  if (!q)
    return (
      <>
        <Bar title="Queue" line />
        {found.error ? (
          <div class="page">
            <Failed error={found.error} what="The queue could not be loaded." retry={() => void found.reload()} />
          </div>
        ) : (
          <Bones rows={8} />
        )}
      </>
    );
  const oldest = q.oldest_at ? Math.max(0, now - Date.parse(q.oldest_at)) : null;
  const full = q.functions.filter((f) => f.max_concurrency);
  return (
    <>
      <Bar
        title="Queue"
        line
        actions={
          <span class="row soft">
            <span class="live" />
            Live
          </span>
        }
      />
      <div class="scroll">
        <div class="page stack">
          <dl class="strip">
            <div>
              <dt>Ready</dt>
              <dd class="v">{formatCount(q.queued)}</dd>
              <dd class="d">{q.queued ? "wait for a slot" : "queue is empty"}</dd>
            </div>
            <div>
              <dt>Oldest ready</dt>
              <dd class="v">
                {oldest === null ? (
                  "–"
                ) : (
                  <>
                    {span(Math.round(oldest / 1000)).split(" ")[0]}
                    <small>{span(Math.round(oldest / 1000)).split(" ")[1]}</small>
                  </>
                )}
              </dd>
              <dd class="d">{q.oldest_at ? q.functions.find((f) => f.oldest_at === q.oldest_at)?.function : "queue is empty"}</dd>
            </div>
            <div>
              <dt>Running</dt>
              <dd class="v">
                {formatCount(q.running)}
                {q.max_running ? <small>of {q.max_running}</small> : null}
              </dd>
              <dd class="d">in this project</dd>
            </div>
            <div>
              <dt>Slots</dt>
              <dd class="v">
                {q.slots.busy}
                <small>of {q.slots.total}</small>
              </dd>
              <dd class="d">{q.slots.total - q.slots.busy} free</dd>
            </div>
            <div>
              <dt>Later</dt>
              <dd class="v">{formatCount(q.delayed)}</dd>
              <dd class="d">delayed, or the next attempt</dd>
            </div>
          </dl>
          <Listeners listeners={q.listeners} />
          <div class="cols q-cols2">
            <Box title="Waiting by function">
              {q.functions.length ? (
                <table class="tbl in-box waits">
                  <thead>
                    <tr>
                      <th>Function</th>
                      <th class="r">Ready</th>
                      <th class="r">Running</th>
                      <th class="r">Oldest</th>
                    </tr>
                  </thead>
                  <tbody>
                    {q.functions.map((f) => (
                      <tr key={f.function_id}>
                        <td>
                          <Link class="m go" href={fnAt(f.function)}>
                            {f.function}
                          </Link>
                        </td>
                        <td class="r">
                          {formatCount(f.queued)}
                          {f.more ? "+" : ""}
                        </td>
                        <td class={`r ${f.max_concurrency && f.running >= f.max_concurrency ? "amber" : ""}`}>
                          {f.running}
                          {f.max_concurrency ? ` of ${f.max_concurrency}` : ""}
                        </td>
                        <td class="r soft">{f.oldest_at ? span(Math.max(0, Math.round((now - Date.parse(f.oldest_at)) / 1000))) : "–"}</td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              ) : (
                <div class="body">
                  <p class="soft">No queued invocations.</p>
                </div>
              )}
            </Box>
            <RunningNow running={q.running_now} now={now} reload={found.reload} />
          </div>
          <Box title="Runs at once" aside="limits and their use">
            <div class="body stack uses">
              <AtOnce name="This project" running={q.running} of={q.max_running} />
              {full.map((f) => (
                <AtOnce key={f.function_id} name={f.function} running={f.running} of={f.max_concurrency!} />
              ))}
            </div>
          </Box>
          <GaveUp />
        </div>
      </div>
    </>
  );
}

function AtOnce({ name, running, of }: { name: string; running: number; of: number }) {
  return (
    <div class="use">
      <div class="row between">
        <span class="cut">{name}</span>
        <span class="num">
          {formatCount(running)} <span class="quiet">of {formatCount(of)}</span>
        </span>
      </div>
      <Meter used={running} of={of} />
    </div>
  );
}

function Listeners({ listeners }: { listeners: Listener[] }) {
  const now = useNow();
  return (
    <Box title="Listeners" aside={`${listeners.length}, ${plural(listeners.reduce((n, l) => n + l.slots, 0), "slot")}`} actions={<span class="meta wide">Each square is a slot for one run.</span>}>
      {listeners.length ? (
        <ul class="listeners">
          {listeners.map((l) => (
            <li key={l.id}>
              <div class="row between">
                <b class="m cut">{l.name}</b>
                <span class="num">
                  {l.running} <span class="quiet">of {l.slots}</span>
                </span>
              </div>
              <span class="slots" role="img" aria-label={`${l.running} of ${l.slots} slots in use`}>
                {Array.from({ length: Math.min(l.slots, 64) }, (_, k) => (
                  <i key={k} class={k < l.running ? "on" : ""} />
                ))}
              </span>
              <div class="row">
                {l.isolation && <span class={`tag ${l.isolation === "full" ? "ok" : "amber"}`}>sandbox {l.isolation}</span>}
                <span class="meta">
                  up {span(Math.max(0, Math.round((now - Date.parse(l.started_at)) / 1000)))}
                  {l.gaps.map((gap) => (
                    <div key={gap}>{gap}</div>
                  ))}
                </span>
              </div>
            </li>
          ))}
        </ul>
      ) : (
        <div class="body">
          <p class="err">No listener is running. Queued invocations wait until one starts.</p>
        </div>
      )}
    </Box>
  );
}

function RunningNow({ running, now, reload }: { running: Running[]; now: number; reload: () => Promise<void> }) {
  const { may } = useHere();
  const [stopping, setStopping] = useState("");
  const stop = async (id: string): Promise<void> => {
    setStopping(id);
    try {
      await must(api.POST("/invocations/{id}/cancel", { params: { path: { id } } }));
      toast("Cancelled");
      await reload();
    } catch (error) {
      toast(sayError(error));
    }
    setStopping("");
  };
  return (
    <Box title="Running now" aside={running.length ? `longest first, ${running.length}` : undefined}>
      {running.length ? (
        <table class="tbl in-box live-t">
          <thead>
            <tr>
              <th>Function</th>
              <th>Invocation</th>
              <th class="wide">Time used</th>
              <th class="r">
                <span class="sr">Time</span>
              </th>
              <th />
            </tr>
          </thead>
          <tbody>
            {[...running]
              .sort((a, b) => (a.started_at < b.started_at ? -1 : 1))
              .slice(0, 30)
              .map((r) => {
                const used = Math.max(0, now - Date.parse(r.started_at));
                return (
                  <tr key={r.id}>
                    <td class="m">{r.function}</td>
                    <td class="mono">
                      <Link class="go quiet" href={invocationAt(r.id)}>
                        {shortId(r.id)}
                      </Link>
                    </td>
                    <td class="c-m wide">
                      <Meter used={used} of={r.timeout_ms ?? 0} />
                    </td>
                    <td class={`r ${r.timeout_ms && used / r.timeout_ms > 0.8 ? "amber" : ""}`}>
                      {formatDuration(used)} <span class="quiet">of {formatDuration(r.timeout_ms)}</span>
                    </td>
                    <td class="c-x">{may("developer") && <Button small kind="bare" icon="stop" class="over" busy={stopping === r.id} label={`Cancel the invocation of ${r.function}`} onClick={() => void stop(r.id)} />}</td>
                  </tr>
                );
              })}
          </tbody>
        </table>
      ) : (
        <div class="body">
          <p class="soft">No running invocations.</p>
        </div>
      )}
    </Box>
  );
}

/** Ended with an error after the last attempt, in a day; the same errors stand together. */
function GaveUp() {
  const { may } = useHere();
  const [busy, setBusy] = useState("");
  const since = new Date(Date.now() - 86_400_000).toISOString();
  const list = useData("gave up", async () => {
    const read = (status: "error" | "timeout") => must(api.GET("/invocations", { params: { query: { status, created_after: since, logs: false, limit: 100 } as never } })) as unknown as Promise<Page<InvocationSummary>>;
    const [a, b] = await Promise.all([read("error"), read("timeout")]);
    return { items: [...a.items, ...b.items], more: !!(a.next_cursor ?? b.next_cursor) };
  });
  const groups = new Map<string, InvocationSummary[]>();
  for (const i of list.data?.items ?? []) {
    const error = errorOf(i.error);
    const key = `${i.function} ${error?.type} ${error?.message.slice(0, 120)}`;
    groups.set(key, [...(groups.get(key) ?? []), i]);
  }
  const all = list.data?.items ?? [];
  const retry = async (key: string, items: InvocationSummary[]): Promise<void> => {
    setBusy(key);
    try {
      const done = await must(api.POST("/invocations/retry", { body: { ids: items.map((i) => i.id) } as never }));
      toast(`${plural(done.items.length, "invocation is", "invocations are")} queued again`);
      await list.reload();
    } catch (error) {
      toast(sayError(error));
    }
    setBusy("");
  };
  if (!list.data || !all.length) return null;
  return (
    <Box
      title="Dead invocations"
      aside={`${formatCount(all.length)}${list.data.more ? "+" : ""} in 24 h`}
      actions={
        may("developer") && (
          <>
            <CopyAs small snippets={callSnippets(location.origin, "POST", "/invocations/retry", { created_after: since }, "zmesh invocations retry --since 24h")} />
            <Button small icon="retry" busy={busy === "all"} onClick={() => void retry("all", all)}>
              Retry all {all.length}
            </Button>
          </>
        )
      }
    >
      <table class="tbl in-box dead">
        <thead class="sr">
          <tr>
            <th>Function</th>
            <th>Error</th>
            <th>Count</th>
            <th>Retry</th>
          </tr>
        </thead>
        <tbody>
          {[...groups].slice(0, 12).map(([key, items]) => {
            const error = errorOf(items[0]!.error);
            return (
              <tr key={key}>
                <td class="m cut c-fn">{items[0]!.function}</td>
                <td class="c-what cut">
                  <Link class="go" href={invocationAt(items[0]!.id)}>
                    <b class="m">{error?.type}</b> {error?.message}
                  </Link>
                </td>
                <td class="r num">{items.length}</td>
                <td class="c-x">
                  {may("developer") && (
                    <Button small class="over" busy={busy === key} onClick={() => void retry(key, items)}>
                      Retry {items.length}
                    </Button>
                  )}
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </Box>
  );
}
