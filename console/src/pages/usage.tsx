import { api, must } from "../api/client.ts";
import { useData } from "../state/data.ts";
import { useQuery } from "../support/query.ts";
import type { Limits } from "../api/types.ts";
import { formatCount, formatDuration, plural, share } from "../support/format.ts";
import { Bones, Facts, Failed, Meter, Segmented } from "../parts/basic.tsx";
import { Box, Figure } from "../parts/data.tsx";
import { OutcomeBars } from "../parts/bars.tsx";
import { Bar } from "../parts/shell.tsx";

export default function Usage() {
  const [query, setQuery] = useQuery();
  const days = query.range === "7" ? 7 : 30;
  const stats = useData(`usage ${days}`, () => must(api.GET("/statistics", { params: { query: { since: new Date(Date.now() - days * 86_400_000).toISOString(), step: 86_400 } } as never })));
  const usage = useData(`spent ${days}`, () => must(api.GET("/usage", { params: { query: { since: new Date(Date.now() - days * 86_400_000).toISOString(), step: 86_400 } } as never })));
  const queue = useData("queue", () => must(api.GET("/queue")));
  const s = stats.data;
  const t = s?.total;
  const spent = usage.data?.points.reduce((sum, p) => ({ run: sum.run + p.run_ms, cpu: sum.cpu + p.cpu_ms }), { run: 0, cpu: 0 });
  const calls = t ? t.success + t.error + t.timeout + t.cancelled : 0;
  return (
    <>
      <Bar title="Limits and usage" line />
      <div class="scroll">
        <div class="page stack">
          {!!(stats.error ?? usage.error) && <Failed error={stats.error ?? usage.error} what="The usage could not be loaded." retry={() => void Promise.all([stats.reload(), usage.reload()])} />}
          {!s && !stats.error && <Bones />}
          {s && t && (
            <>
              <div>
                <Segmented
                  label="Time range"
                  value={String(days)}
                  options={[
                    ["7", "7 d"],
                    ["30", "30 d"],
                  ]}
                  onChange={(v) => setQuery({ range: v === "30" ? null : v })}
                />
              </div>
              <dl class="strip six">
                <div>
                  <dt>Calls</dt>
                  <dd class="v">{formatCount(calls)}</dd>
                  <dd class="d">in {days} days</dd>
                </div>
                <div>
                  <dt>Failed</dt>
                  <dd class={`v ${t.error + t.timeout ? "err" : ""}`}>
                    {share(t.error + t.timeout, calls)}
                    <small>%</small>
                  </dd>
                  <dd class="d">
                    {plural(t.error, "error")}, {plural(t.timeout, "timeout")}
                  </dd>
                </div>
                <div>
                  <dt>Run time</dt>
                  <dd class="v">{spent ? <Figure ms={spent.run} /> : "–"}</dd>
                  <dd class="d">of all runs together</dd>
                </div>
                <div>
                  <dt>CPU time</dt>
                  <dd class="v">{spent ? <Figure ms={spent.cpu} /> : "–"}</dd>
                  <dd class="d">{spent ? `${share(spent.cpu, spent.run)} % of the run time` : ""}</dd>
                </div>
                <div>
                  <dt>Duration p95</dt>
                  <dd class="v">
                    <Figure ms={t.duration_ms?.p95} />
                  </dd>
                  <dd class="d">p50 {formatDuration(t.duration_ms?.p50)}</dd>
                </div>
                <div>
                  <dt>Queue p95</dt>
                  <dd class="v">
                    <Figure ms={t.queue_ms?.p95} />
                  </dd>
                  <dd class="d">start {formatDuration(t.start_ms?.p95)}</dd>
                </div>
              </dl>
              <Box title="Calls a day" class="chartbox">
                <div class="body">
                  <OutcomeBars points={s.points} step={s.step} height={150} />
                </div>
              </Box>
            </>
          )}
          {(!!s || !!stats.error) && usage.data && (
            <Box title="Limits" aside="of this project, now">
              <div class="body stack uses">
                {queue.data && <Use name="Running at once" used={queue.data.running} of={queue.data.max_running} />}
                {queue.data && <Use name="Waiting" used={queue.data.queued + queue.data.delayed} of={queue.data.max_queued} />}
                <Use name="Schedules" used={usage.data.limits.schedules} of={usage.data.limits.max_schedules} />
                <Facts items={facts(usage.data.limits)} />
              </div>
            </Box>
          )}
        </div>
      </div>
    </>
  );
}

function Use({ name, used, of }: { name: string; used: number; of: number }) {
  return (
    <div class="use">
      <div class="row between">
        <span class="quiet">{name}</span>
        <span class="num">
          {formatCount(used)} <span class="quiet">of {formatCount(of)}</span>
        </span>
      </div>
      <Meter used={used} of={of} />
    </div>
  );
}

/** What has no meter: what there is without a limit, and limits of which nothing is used up. */
const facts = (l: Limits): [string, string][] => [
  ["Functions", formatCount(l.functions)],
  ["Webhooks", formatCount(l.webhooks)],
  ["API keys", formatCount(l.keys)],
  ["Members", formatCount(l.members)],
  ["Requests a second", l.requests_per_second === null ? "no limit" : `${formatCount(l.requests_per_second)} at each API process`],
  ["Invocations are kept", plural(l.retention_days, "day")],
];
