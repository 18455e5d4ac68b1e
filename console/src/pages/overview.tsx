import { useEffect } from "preact/hooks";
import { Link, useLocation } from "wouter-preact";
import { call } from "../api/client.ts";
import type { Percentiles, SameError, Page, Statistics } from "../api/types.ts";
import { listen } from "../live/stream.ts";
import { invalidate, useData } from "../state/data.ts";
import { useHere } from "../state/session.ts";
import { at, fnAt, withQuery } from "../support/routes.ts";
import { useQuery } from "../support/query.ts";
import { callsOf, earlier, sayDuration, sayFailed } from "../support/compare.ts";
import { formatCount, formatDuration, plural, share } from "../support/format.ts";
import { worseVersion } from "../support/outcome.ts";
import { Ago, Button, Facts, Failed, Notice, Segmented, Bones } from "../parts/basic.tsx";
import { Box, Figure } from "../parts/data.tsx";
import { OutcomeBars } from "../parts/bars.tsx";
import { lazily } from "../parts/lazy.tsx";
import type { FunctionProps } from "./function.tsx";
import { CalledBy } from "./called_by.tsx";
import { LiveShares } from "./shares.tsx";

const Lines = lazily(() => import("../parts/lines.tsx"), ({ height }) => <div class="lines" style={{ height: `${height}px` }} />);

const RANGES: Record<string, { text: string; ms: number; step: number; bare: string }> = {
  "15m": { text: "15 min", ms: 900_000, step: 60, bare: "15 minutes" },
  "1h": { text: "1 h", ms: 3_600_000, step: 60, bare: "hour" },
  "6h": { text: "6 h", ms: 21_600_000, step: 300, bare: "6 hours" },
  "24h": { text: "24 h", ms: 86_400_000, step: 900, bare: "24 hours" },
  "7d": { text: "7 d", ms: 604_800_000, step: 21_600, bare: "7 days" },
  "30d": { text: "30 d", ms: 2_592_000_000, step: 86_400, bare: "30 days" },
};

export default function Overview({ fn, live, reload }: FunctionProps) {
  const { may } = useHere();
  const [query, setQuery] = useQuery();
  const [, go] = useLocation();
  const name = query.range && RANGES[query.range] ? query.range : "1h";
  const range = RANGES[name]!;
  const stats = useData(`statistics ${fn.id} ${name}`, () => call<Statistics>("GET", withQuery(`/functions/${fn.id}/statistics`, { since: new Date(Date.now() - range.ms).toISOString(), step: range.step })));
  const before = earlier(range.ms, Date.now());
  const compared = useData(before && `statistics ${fn.id} before ${before.since} ${before.until}`, () => call<Statistics>("GET", withQuery(`/functions/${fn.id}/statistics`, { since: before!.since, until: before!.until, step: 3600 })));
  const errors = useData(`errors ${fn.id} ${name}`, () => call<Page<SameError>>("GET", withQuery(`/functions/${fn.id}/errors`, { since: new Date(Date.now() - range.ms).toISOString() })));
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const end = listen("invocations", (e) => {
      if (!e.truncated && !e.items.some((i) => i.function_id === fn.id)) return;
      timer ??= setTimeout(() => {
        timer = undefined;
        void stats.reload();
        void errors.reload();
        invalidate(`called by ${fn.id}`);
      }, 5000);
    });
    return () => {
      clearTimeout(timer);
      end();
    };
  }, [fn.id, name]);
  const s = stats.data;
  if (!s) return stats.error ? <div class="page"><Failed error={stats.error} what="The statistics could not be loaded." retry={() => void stats.reload()} /></div> : <Bones rows={8} />;
  const t = s.total;
  const calls = callsOf(t);
  const past = before && compared.data ? { total: compared.data.total, name: before.name, perMinute: perMinute(callsOf(compared.data.total), Date.parse(before.until) - Date.parse(before.since)) } : null;
  const failed = t.error + t.timeout;
  const worse = worseVersion(s.versions.map((v) => ({ version: v.version, calls: v.success + v.error + v.timeout + v.cancelled, failed: v.error + v.timeout })));
  const times = s.points.map((p) => Date.parse(p.at) / 1000);
  const flags = s.deployments.map((d) => Date.parse(d.at) / 1000);
  const of = (key: "duration_ms" | "queue_ms" | "start_ms" | "peak_memory_mb", p: keyof Percentiles) => s.points.map((x) => x[key]?.[p] ?? null);
  return (
    <div class="scroll">
      <div class="page stack">
        {worse && (
          <Notice
            kind="bad"
            actions={
              <>
                <Link class="btn" href={withQuery(fnAt(fn.slug, "versions"), { from: worse.better.version, to: worse.worse.version })}>
                  Compare
                </Link>
                {may("developer") && <LiveShares fn={fn} all={worse.better.version} reload={reload} />}
              </>
            }
          >
            <b>
              v{worse.worse.version} fails more than v{worse.better.version}: {formatCount(worse.worse.failed)} of {formatCount(worse.worse.calls)} calls against {formatCount(worse.better.failed)} of {formatCount(worse.better.calls)}.
            </b>{" "}
            {live && <span class="soft">It has {(live.versions as Record<string, number>)[String(worse.worse.version)] ?? 0} % of the calls.</span>}
          </Notice>
        )}
        <div class="row between over-head">
          <Segmented label="Time range" value={name} options={Object.entries(RANGES).map(([k, r]) => [k, r.text])} onChange={(v) => setQuery({ range: v === "1h" ? null : v })} />
          <span class="meta row wide">
            <span class="live" />
            Live
          </span>
        </div>
        <dl class="strip six">
          <div>
            <dt>Calls</dt>
            <dd class="v">{formatCount(calls)}</dd>
            <dd class="d">
              {calls ? `${perMinute(calls, range.ms)} a minute` : "none yet"}
              {past && callsOf(past.total) > 0 && `, ${past.perMinute} ${past.name}`}
            </dd>
          </div>
          <div>
            <dt>Failed</dt>
            <dd class={`v ${failed ? "err" : ""}`}>
              {share(failed, calls)}
              <small>%</small>
            </dd>
            <dd class="d">{(past && sayFailed(t, past.total, past.name)) ?? (failed ? `${plural(t.error, "error")}, ${plural(t.timeout, "timeout")}` : "no errors, no timeouts")}</dd>
          </div>
          <div>
            <dt>Duration p50</dt>
            <dd class="v">
              <Figure ms={t.duration_ms?.p50} />
            </dd>
            <dd class="d">{(past && sayDuration(t, past.total, past.name, "p50")) ?? "the median"}</dd>
          </div>
          <div>
            <dt>Duration p95</dt>
            <dd class="v">
              <Figure ms={t.duration_ms?.p95} />
            </dd>
            <dd class="d">{(past && sayDuration(t, past.total, past.name, "p95")) ?? `p99 ${formatDuration(t.duration_ms?.p99)}`}</dd>
          </div>
          <div>
            <dt>Queue p95</dt>
            <dd class="v">
              <Figure ms={t.queue_ms?.p95} />
            </dd>
            <dd class="d">start {formatDuration(t.start_ms?.p95)}</dd>
          </div>
          <div>
            <dt>Memory p95</dt>
            <dd class="v">
              {t.peak_memory_mb ? Math.round(t.peak_memory_mb.p95) : "–"}
              {t.peak_memory_mb && <small>MB</small>}
            </dd>
            <dd class="d">of {fn.memory_mb} MB</dd>
          </div>
        </dl>
        <div class="cols over-cols">
          <div class="stack">
            <Box
              title="Invocations"
              class="chartbox"
              actions={
                <div class="key">
                  <span>
                    <i />
                    success <b>{formatCount(t.success)}</b>
                  </span>
                  <span>
                    <i class="e" />
                    error <b>{formatCount(t.error)}</b>
                  </span>
                  <span>
                    <i class="t" />
                    timeout <b>{formatCount(t.timeout)}</b>
                  </span>
                </div>
              }
            >
              <div class="body">
                <OutcomeBars points={s.points} step={s.step} height={150} flags={s.deployments} onPick={(from, until) => go(withQuery(at("invocations"), { function: fn.slug, from, until }))} />
              </div>
            </Box>
            <Box
              title="Duration"
              aside="ms"
              class="chartbox"
              actions={
                <div class="key">
                  <span>
                    <i class="ln" />
                    p50
                  </span>
                  <span>
                    <i class="ln p95" />
                    p95
                  </span>
                  <span>
                    <i class="ln p99" />
                    p99
                  </span>
                </div>
              }
            >
              <div class="body">
                <Lines
                  at={times}
                  height={150}
                  unit="ms"
                  group={fn.id}
                  flags={flags}
                  label={`Duration: p50 ${formatDuration(t.duration_ms?.p50)}, p95 ${formatDuration(t.duration_ms?.p95)}, p99 ${formatDuration(t.duration_ms?.p99)}`}
                  series={[
                    { label: "p50", values: of("duration_ms", "p50"), look: "p50" },
                    { label: "p95", values: of("duration_ms", "p95"), look: "p95" },
                    { label: "p99", values: of("duration_ms", "p99"), look: "p99" },
                  ]}
                />
              </div>
            </Box>
            <section class="box trio">
              {(
                [
                  ["Queue wait", "queue_ms", "ms"],
                  ["Start", "start_ms", "ms"],
                  ["Memory", "peak_memory_mb", "MB"],
                ] as const
              ).map(([title, key, unit]) => (
                <div class="mini-chart" key={key}>
                  <div class="row between">
                    <h2>{title}</h2>
                    <span class="m num">
                      {t[key] ? `${key === "peak_memory_mb" ? Math.round(t[key].p95) : formatDuration(t[key].p95).split(" ")[0]} ${key === "peak_memory_mb" ? "MB" : formatDuration(t[key].p95).split(" ").slice(1).join(" ")}` : "–"} <span class="quiet">p95</span>
                    </span>
                  </div>
                  <Lines at={times} height={90} unit={unit} group={fn.id} flags={flags} label={`${title} p95`} series={[{ label: "p95", values: of(key, "p95"), look: "area" }]} />
                </div>
              ))}
            </section>
          </div>
          <aside class="stack">
            <Box title={`Errors in ${name === "1h" ? "this hour" : `the last ${range.bare}`}`}>
              {errors.data?.items.length ? (
                <ul class="errs">
                  {errors.data.items.slice(0, 6).map((e) => (
                    <li key={e.fingerprint}>
                      <Link href={withQuery(at("invocations"), { function: fn.slug, fingerprint: e.fingerprint })}>
                        <b class={e.type === "timeout" ? "amber" : "err"}>{e.type}</b>
                        <span class="num quiet">{formatCount(e.calls)}</span>
                        <span class="what">{e.message.slice(0, 200)}</span>
                        <span class="meta">
                          {e.versions.map((v) => `v${v}`).join(", ")} · last <Ago at={e.last_at} />
                        </span>
                      </Link>
                    </li>
                  ))}
                </ul>
              ) : (
                <div class="body">
                  <p class="soft">
                    {failed ? "\u00a0" : `No invocation failed. ${calls ? `${formatCount(t.success)} succeeded.` : ""}`}
                  </p>
                </div>
              )}
            </Box>
            <CalledBy fn={fn} />
            <Box
              title="Limits"
              actions={
                <Link class="link meta" href={fnAt(fn.slug, "settings")}>
                  Settings
                </Link>
              }
            >
              <div class="body">
                <Facts
                  items={[
                    ["Time", formatDuration(fn.timeout_ms)],
                    ["Memory", `${fn.memory_mb} MB`],
                    ["Attempts", String(fn.max_attempts)],
                    ["Runs at once", fn.max_concurrency ? String(fn.max_concurrency) : "no limit of its own"],
                    ["Network", fn.network === "none" ? "closed" : "open"],
                  ]}
                />
              </div>
            </Box>
            {!calls && may("developer") && (
              <Button onClick={() => go(`${fnAt(fn.slug, "code")}?test=1`)} icon="play">
                Test {fn.slug}
              </Button>
            )}
          </aside>
        </div>
      </div>
    </div>
  );
}

function perMinute(calls: number, ms: number): string {
  const n = calls / (ms / 60_000);
  return n >= 10 ? formatCount(Math.round(n)) : n >= 0.1 ? n.toFixed(1) : "<0.1";
}
