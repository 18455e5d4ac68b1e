import { useEffect, useState } from "preact/hooks";
import { Link, useLocation } from "wouter-preact";
import { api, call, must } from "../api/client.ts";
import { sayError } from "../api/errors.ts";
import type { FunctionDetails, FunctionVersion, Invocation, LogLine, Page, SameError } from "../api/types.ts";
import { listen, onReopened } from "../live/stream.ts";
import { useData } from "../state/data.ts";
import { neighbours } from "../state/neighbours.ts";
import { useHere } from "../state/session.ts";
import { toast } from "../state/toast.ts";
import { at, fnAt, invocationAt, withQuery } from "../support/routes.ts";
import { versionName, clockMs, clock, exact, formatBytes, formatDuration, plural, shortId } from "../support/format.ts";
import { entryFile, filesOf, textOf } from "../support/files.ts";
import { errorOf } from "../support/outcome.ts";
import { frames, placeOf } from "../support/stack.ts";
import { invokeSnippets, retrySnippets } from "../support/snippets.ts";
import { Ago, Bones, Button, CopyButton, Facts, Failed, Icon, Meter, Segmented, StatusMark } from "../parts/basic.tsx";
import { Box, Code, Json, LogLines, TimingBar, TimingKey } from "../parts/data.tsx";
import { CopyAs, SnippetTabs } from "../parts/overlays.tsx";
import { Bar } from "../parts/shell.tsx";
import { usePageKeys } from "../parts/keys.tsx";
import { sourceIcon, sourceName } from "../support/sources.ts";

const ENDED = new Set(["success", "error", "timeout", "cancelled"]);

export default function InvocationPage({ id }: { id: string }) {
  const { may } = useHere();
  const [, go] = useLocation();
  const found = useData(`invocation ${id}`, () => must(api.GET("/invocations/{id}", { params: { path: { id } } })));
  const i = found.data;
  useEffect(() => {
    const ends = [
      listen("invocations", (e) => {
        if (e.truncated || e.items.some((n) => n.id === id)) void found.reload();
      }),
      onReopened(() => void found.reload()),
    ];
    return () => ends.forEach((end) => end());
  }, [id]);
  const fn = useData(i ? `function ${i.function_id}` : null, () => must(api.GET("/functions/{id}", { params: { path: { id: i!.function_id } } })));
  const [busy, setBusy] = useState(false);
  const ended = !!i && ENDED.has(i.status);
  const retryable = ended && i.status !== "success" && may("developer");
  const act = async (what: "retry" | "cancel"): Promise<void> => {
    if (busy) return;
    setBusy(true);
    try {
      await must(what === "retry" ? api.POST("/invocations/{id}/retry", { params: { path: { id } } }) : api.POST("/invocations/{id}/cancel", { params: { path: { id } } }));
      toast(what === "retry" ? "The invocation is queued again" : "Cancelled");
      await found.reload();
    } catch (error) {
      toast(sayError(error));
    }
    setBusy(false);
  };
  const { before, after } = neighbours(id);
  usePageKeys({
    R: () => retryable && void act("retry"),
    "[": () => before && go(invocationAt(before), { replace: true }),
    "]": () => after && go(invocationAt(after), { replace: true }),
    Escape: () => history.back(),
  });
  if (found.error && !i)
    return (
      <>
        <Bar title="Invocation" back={["Invocations", at("invocations")]} line />
        <div class="page">
          <Failed error={found.error} what="The invocation could not be loaded." retry={() => void found.reload()} />
        </div>
      </>
    );
  if (!i || (!fn.data && !fn.error)) return <Bones rows={8} />; // what its function adds stands between other parts, and would move them
  const error = errorOf(i.error);
  const total = i.finished_at ? Date.parse(i.finished_at) - Date.parse(i.created_at) : null;
  return (
    <>
      <Bar
        title={i.function}
        back={["Invocations", at("invocations")]}
        line
        before={<StatusMark status={i.status} pill />}
        after={
          <>
            <span class="uuid mono wide">{i.id}</span>
            <CopyButton text={i.id} label="Copy the id" class="wide" />
          </>
        }
        actions={
          <>
            {(before ?? after) && (
              <span class="row wide">
                <Button kind="bare" icon="left" label="Previous invocation" off={!before && "First in the list"} onClick={() => before && go(invocationAt(before), { replace: true })} />
                <Button kind="bare" icon="rightc" label="Next invocation" off={!after && "Last in the list"} onClick={() => after && go(invocationAt(after), { replace: true })} />
              </span>
            )}
            <CopyAs snippets={invokeSnippets(location.origin, i.function, i.payload)} />
            {may("developer") && (
              <Button class="wide" onClick={() => go(fnAt(i.function, "code"))}>
                Edit code
              </Button>
            )}
            {!ended && may("developer") && (
              <Button kind="danger" icon="stop" busy={busy} off={i.cancel_requested ? "Cancellation requested" : false} onClick={() => void act("cancel")}>
                Cancel
              </Button>
            )}
            {retryable && (
              <Button kind="primary" icon="retry" keys="R" busy={busy} onClick={() => void act("retry")}>
                Retry
              </Button>
            )}
          </>
        }
      />
      <div class="scroll">
        <div class="page stack inv">
          <p class="facts-line narrow">
            <span>
              <Link class="link" href={fnAt(i.function)}>
                {i.function}
              </Link>{" "}
              {i.version !== null && versionName(i.version)}, started by <Source i={i} /> at <span class="num">{clock(i.created_at)}</span>, <Ago at={i.created_at} />. Attempt {i.attempt} of {i.max_attempts}
              {total !== null && (
                <>
                  , <span class="num">{formatDuration(total)}</span> in all
                </>
              )}
              .
            </span>
          </p>
          <dl class="strip facts-strip wide">
            <div>
              <dt>Function</dt>
              <dd class="m">
                <Link class="link" href={fnAt(i.function)}>
                  {i.function}
                </Link>{" "}
                {i.version !== null && <span class="tag">{versionName(i.version)}</span>}
              </dd>
            </div>
            <div>
              <dt>Started by</dt>
              <dd class="m">
                {i.parent_id && i.source === "function" ? (
                  <Link class="link" href={invocationAt(i.parent_id)}>
                    a function
                  </Link>
                ) : (
                  <Source i={i} />
                )}
              </dd>
            </div>
            <div>
              <dt>Accepted</dt>
              <dd class="m num">
                {clock(i.created_at)}{" "}
                <span class="quiet">
                  <Ago at={i.created_at} />
                </span>
              </dd>
            </div>
            <div>
              <dt>Took</dt>
              <dd class="m num">
                {formatDuration(i.attempt > 1 ? total : i.duration_ms)} {i.attempt > 1 && total !== null && <span class="quiet">with waits</span>}
              </dd>
            </div>
            <div>
              <dt>Attempts</dt>
              <dd class="m num">
                {i.attempt} of {i.max_attempts} {ended && i.attempt >= i.max_attempts && i.status !== "success" && i.max_attempts > 1 && <span class="quiet">none left</span>}
              </dd>
            </div>
          </dl>
          <div class="cols inv-cols">
            <div class="stack">
              {error && <ErrorBox i={i} fn={fn.data} />}
              {!error && <Outcome i={i} />}
              {i.earlier_attempts.length > 0 && <Attempts i={i} />}
              <Log i={i} />
            </div>
            <aside class="stack">
              <Box
                title="Payload"
                aside={formatBytes(JSON.stringify(i.payload ?? null).length)}
                actions={
                  <>
                    {may("developer") && (
                      <Button
                        small
                        onClick={() => {
                          sessionStorage.setItem(`zmesh.payload.${i.function}`, JSON.stringify(i.payload, null, 2));
                          go(withQuery(fnAt(i.function, "code"), { test: "1" }));
                        }}
                      >
                        Test with it
                      </Button>
                    )}
                    <CopyButton text={JSON.stringify(i.payload, null, 2)} label="Copy the payload" />
                  </>
                }
              >
                <div class="body">
                  <Json value={i.payload} label="Payload" />
                </div>
              </Box>
              {fn.data && i.started_at && <Usage i={i} fn={fn.data} />}
              <CameFrom i={i} />
              {retryable && (
                <Box title="Retry it from elsewhere">
                  <div class="body">
                    <SnippetTabs snippets={{ SQL: `select zmesh.retry(array['${i.id}']::uuid[]);`, ...retrySnippets(location.origin, i.id) }} />
                  </div>
                </Box>
              )}
            </aside>
          </div>
        </div>
      </div>
    </>
  );
}

/** The error with its line comes before all that describes the run. */
function ErrorBox({ i, fn }: { i: Invocation; fn: FunctionDetails | undefined }) {
  const error = errorOf(i.error)!;
  const version = useData(fn && i.version !== null && i.version > 0 && i.version !== fn.version ? `version ${i.function_id} ${i.version}` : null, () => must(api.GET("/functions/{id}/versions/{version}", { params: { path: { id: i.function_id, version: i.version! } } })));
  const source: FunctionDetails | FunctionVersion | undefined = i.version === null || i.version === fn?.version ? fn : version.data;
  const files = source && fn ? filesOf(source, fn.slug) : null;
  const place = files && fn ? placeOf(error.stack, [...Object.keys(files), entryFile(source!, fn.slug)]) : null;
  const text = place && files ? textOf(files[place.file]) : null;
  const count = frames(error.stack ?? "").length;
  return (
    <section class="box errbox">
      <div class="errhead">
        <div>
          <b class={i.status === "timeout" ? "amber" : "err"}>{error.type}</b>
          <p>{error.message}</p>
        </div>
      </div>
      {place && text !== null && (
        <>
          <div class="where">
            <span class="mono">
              {place.file}:{place.line}
            </span>
            <span class="meta wide">
              {place.where ? `in ${place.where.replace(/^(exports|Module|Object)\./, "")}` : ""}
              {i.version !== null && `${place.where ? ", " : ""}${versionName(i.version)}`}
            </span>
            <Link class="link meta end" href={withQuery(fnAt(i.function, "code"), { file: place.file, line: place.line })}>
              Open in editor
            </Link>
          </div>
          <Code code={text} file={place.file} from={Math.max(1, place.line - 3)} to={place.line + 2} hit={place.line} column={place.column} />
        </>
      )}
      {error.stack && (
        <details open={!place}>
          <summary class="meta">Stack{count ? `, ${plural(count, "frame")}` : ""}</summary>
          <pre class="mono stackp" tabIndex={0}>
            {error.stack}
          </pre>
        </details>
      )}
      {fn && <SameErrors i={i} fn={fn} />}
    </section>
  );
}

/** The same error in other invocations: said when there are others. */
function SameErrors({ i, fn }: { i: Invocation; fn: FunctionDetails }) {
  const since = new Date(Date.now() - 24 * 3_600_000).toISOString();
  const list = useData(`errors ${fn.id} 24h`, () => call<Page<SameError>>("GET", withQuery(`/functions/${fn.id}/errors`, { since })));
  const error = errorOf(i.error)!;
  const same = list.data?.items.find((e) => e.type === error.type && (e.last_invocation_id === i.id || e.message === error.message));
  if (!same || same.calls < 2) return null;
  const before = (i.version ?? 0) - 1;
  return (
    <div class="same">
      <span>
        The same error ended <b>{plural(same.calls, "invocation")}</b> since {clock(same.first_at)}
        {same.versions.length === 1 ? <>, all of v{same.versions[0]}.</> : <>, of {same.versions.map((v) => `v${v}`).join(", ")}.</>}
      </span>
      <span class="row end">
        <Link class="btn sm" href={withQuery(at("invocations"), { function: i.function, fingerprint: same.fingerprint })}>
          Show them
        </Link>
        {before > 0 && (
          <Link class="btn sm" href={withQuery(fnAt(i.function, "versions"), { from: before, to: i.version })}>
            Compare v{before} and v{i.version}
          </Link>
        )}
      </span>
    </div>
  );
}

const timingOf = (i: { queue_ms: number | null; start_ms: number | null; duration_ms: number | null }) => ({ queue: i.queue_ms, start: i.start_ms, run: i.duration_ms === null ? null : Math.max(0, i.duration_ms - (i.start_ms ?? 0)) });

function Outcome({ i }: { i: Invocation }) {
  const words: Record<string, string> = { queued: "Waiting for a slot.", running: "Running.", cancelled: "Cancelled.", waiting: "Waiting for an event or a time." };
  return (
    <Box title="Result" actions={i.status === "success" ? <CopyButton text={JSON.stringify(i.result, null, 2) ?? ""} label="Copy the result" /> : undefined}>
      <div class="body stack">
        {i.status === "success" ? <Json value={i.result} label="Result" /> : <p class="soft">{words[i.status] ?? ""}</p>}
        {i.result_truncated && <p class="meta">The stored result is truncated.</p>}
        {i.started_at && (
          <>
            <TimingBar size="big" status={i.status} timing={timingOf(i)} />
            <TimingKey status={i.status} timing={timingOf(i)} />
          </>
        )}
      </div>
    </Box>
  );
}

type Try = { attempt: number; status: string; started_at: string | null; finished_at: string | null; duration_ms: number | null; queue_ms?: number | null; start_ms?: number | null };
function Attempts({ i }: { i: Invocation }) {
  const tries: Try[] = [...i.earlier_attempts, ...(i.started_at ? [{ attempt: i.attempt, status: i.status, started_at: i.started_at, finished_at: i.finished_at, duration_ms: i.duration_ms, queue_ms: i.queue_ms, start_ms: i.start_ms }] : [])];
  const begun = tries.filter((t) => t.started_at);
  const from = Math.min(...begun.map((t) => Date.parse(t.started_at!)));
  const until = Math.max(...begun.map((t) => (t.finished_at ? Date.parse(t.finished_at) : Date.now())), from + 1);
  const share = (ms: number): number => (ms / (until - from)) * 100;
  const longest = Math.max(1, ...tries.map((t) => t.duration_ms ?? 0));
  return (
    <Box title="Attempts" aside={`${tries.length} in ${formatDuration(until - from)}`}>
      <div class="body">
        <div class="attline" role="img" aria-label={`${plural(tries.length, "attempt")} in ${formatDuration(until - from)}`}>
          {begun.map((t, k) => {
            const start = Date.parse(t.started_at!);
            const end = t.finished_at ? Date.parse(t.finished_at) : until;
            const next = begun[k + 1];
            const wait = next ? Date.parse(next.started_at!) - end : 0;
            return [
              <i key={`${k}r`} class={`run ${t.status}`} style={k === begun.length - 1 && k > 0 ? { right: "0" } : { left: `${share(start - from)}%`, width: `${Math.max(1.2, share(end - start))}%` }} />,
              wait > 0 && (
                <i key={`${k}g`} class="gap" style={{ left: `calc(${share(end - from)}% + 12px)`, width: `calc(${share(wait)}% - 24px)` }}>
                  <b>waited {formatDuration(wait)}</b>
                </i>
              ),
            ];
          })}
        </div>
      </div>
      <table class="tbl in-box att">
        <thead>
          <tr>
            <th>#</th>
            <th>Ended</th>
            <th>Started</th>
            <th class="wide">Run</th>
            <th class="r">Took</th>
          </tr>
        </thead>
        <tbody>
          {tries.map((t) => (
            <tr key={t.attempt}>
              <td class="num">{t.attempt}</td>
              <td class="c-st">
                <StatusMark status={t.status} />
              </td>
              <td class="num">{t.started_at ? <span title={exact(t.started_at)}>{clockMs(t.started_at)}</span> : "–"}</td>
              <td class="c-bar wide">
                <TimingBar size="mini" status={t.status} scale={longest} timing={{ queue: null, start: null, run: t.duration_ms }} />
              </td>
              <td class="r">{formatDuration(t.duration_ms)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Box>
  );
}

/** The log by attempts; the last one is open. While it runs, lines come as they are written. */
function Log({ i }: { i: Invocation }) {
  const [form, setForm] = useState<"start" | "clock">("start");
  const ended = ENDED.has(i.status);
  const kept = useData(`logs ${i.id}`, () => must(api.GET("/invocations/{id}/logs", { params: { path: { id: i.id }, query: { limit: 1000 } } })) as unknown as Promise<Page<LogLine>>);
  useEffect(() => {
    if (ended) {
      void kept.reload();
      return;
    }
    const timer = setInterval(() => void kept.reload(), 1000);
    return () => clearInterval(timer);
  }, [ended, i.attempt]);
  const lines = kept.data?.items ?? [];
  const attempts = [...new Set([...lines.map((l) => l.attempt), ...(i.started_at ? [i.attempt] : [])])].sort((a, b) => a - b);
  const startOf = (n: number): string | null => (n === i.attempt ? i.started_at : (i.earlier_attempts.find((a) => a.attempt === n)?.started_at ?? null));
  const show = form === "clock" ? clockMs : undefined;
  return (
    <Box
      title="Log"
      aside={plural(lines.length, "line")}
      actions={
        <>
          <Segmented
            small
            class="wide"
            label="Times"
            value={form}
            options={[
              ["start", "Since start"],
              ["clock", "Clock"],
            ]}
            onChange={setForm}
          />
          <CopyButton text={lines.map((l) => `${l.at} ${l.level} ${l.message}`).join("\n")} label="Copy the log" />
        </>
      }
    >
      <div class="log" tabIndex={0} role="group" aria-label="Log">
        {attempts.length > 1
          ? attempts.map((n) => {
              const own = lines.filter((l) => l.attempt === n);
              const earlier = i.earlier_attempts.find((a) => a.attempt === n);
              const error = errorOf(i.error);
              const sameError = earlier && error && errorOf(earlier.error)?.type === error.type;
              return (
                <details class="fold" key={n} open={n === i.attempt}>
                  <summary>
                    <Icon name="rightc" />
                    Attempt {n}
                    <span class="meta">
                      {plural(own.length, "line")}
                      {sameError ? ", the same error" : ""}
                    </span>
                  </summary>
                  <LogLines lines={own} since={startOf(n)} clockFormat={show} />
                </details>
              );
            })
          : lines.length > 0 && <LogLines lines={lines} since={i.started_at} clockFormat={show} />}
        {!lines.length && <p class="quiet none">{ended ? "No log lines." : "Nothing yet."}</p>}
      </div>
    </Box>
  );
}

function Usage({ i, fn }: { i: Invocation; fn: FunctionDetails }) {
  const rows: [string, number | null, number, (n: number) => string][] = [
    ["Time", i.duration_ms, fn.timeout_ms, formatDuration],
    ["CPU", i.cpu_ms, fn.timeout_ms + 2000, formatDuration],
    ["Memory", i.peak_memory_mb, fn.memory_mb, (n) => `${n} MB`],
  ];
  return (
    <Box title={i.max_attempts > 1 ? `Usage of attempt ${i.attempt}` : "Usage"}>
      <div class="body stack uses">
        {rows.map(([name, used, of, say]) => (
          <div class="use" key={name}>
            <div class="row between">
              <span class="quiet">{name}</span>
              <span class="num">
                {used === null ? "–" : say(used)} <span class="quiet">of {say(of)}</span>
              </span>
            </div>
            <Meter used={used ?? 0} of={of} />
          </div>
        ))}
        {i.not_forked_because && <p class="quiet">Not forked from a process that has imported the packages – {i.not_forked_because}.</p>}
      </div>
    </Box>
  );
}

/** What invoked it; for a table change, which table. */
function Source({ i }: { i: Invocation }) {
  const { table } = (i.source === "change" && (i.payload as { table?: unknown } | null)) || {};
  if (typeof table !== "string") return <>{sourceName(i.source)}</>;
  return (
    <>
      a change of{" "}
      <Link class="link" href={at("changes")}>
        {table}
      </Link>
    </>
  );
}

function CameFrom({ i }: { i: Invocation }) {
  const parent = useData(i.parent_id ? `invocation ${i.parent_id}` : null, () => must(api.GET("/invocations/{id}", { params: { path: { id: i.parent_id! } } })));
  return (
    <Box title="Came from">
      <div class="body stack">
        <ol class="chain">
          <li>
            <Icon name={sourceIcon(parent.data?.source ?? i.source)} />
            <span class="cut">{parent.data ? sourceName(parent.data.source) : <Source i={i} />}</span>
          </li>
          {parent.data && (
            <li>
              <span class={`st ${parent.data.status}`}>
                <Icon name={`st-${parent.data.status}`} />
              </span>
              <Link class="link" href={invocationAt(parent.data.id)}>
                {parent.data.function}
              </Link>
              <span class="meta num">{formatDuration(parent.data.duration_ms)}</span>
            </li>
          )}
          <li>
            <span class={`st ${i.status}`}>
              <Icon name={`st-${i.status}`} />
            </span>
            <span class="m cut">{i.function}</span>
            <span class="meta">this one</span>
          </li>
        </ol>
        <Facts
          items={[
            ...(i.schedule_id
              ? [
                  [
                    "Schedule",
                    <Link class="link mono" href={at("schedules", i.schedule_id)}>
                      {shortId(i.schedule_id)}
                    </Link>,
                  ] as [string, preact.ComponentChildren],
                ]
              : []),
            ...(i.idempotency_key ? [["Idempotency key", i.idempotency_key] as [string, string]] : []),
            ...(i.concurrency_key ? [["Concurrency key", i.concurrency_key] as [string, string]] : []),
            ...(i.priority ? [["Priority", String(i.priority)] as [string, string]] : []),
          ]}
        />
      </div>
    </Box>
  );
}
