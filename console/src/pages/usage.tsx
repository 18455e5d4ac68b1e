import { call } from "../api/client.ts";
import { useData } from "../state/data.ts";
import { formatCount, formatDuration } from "../support/format.ts";
import { Bones, Failed, Meter, Segmented } from "../parts/basic.tsx";
import { Box } from "../parts/data.tsx";
import { Bar } from "../parts/shell.tsx";
import { useQuery } from "../support/query.ts";
import { lazily } from "../parts/lazy.tsx";

const Lines = lazily(() => import("../parts/lines.tsx"));
type Answer = { points: { at: string; calls: number; run_ms: number; cpu_ms: number }[]; limits: Record<string, number | null> };

const PAIRS: [string, string, string][] = [
  ["Running at once", "running", "max_running"],
  ["Waiting", "queued", "max_queued"],
  ["Functions", "functions", "max_functions"],
  ["Schedules", "schedules", "max_schedules"],
];

export default function Usage() {
  const [query, setQuery] = useQuery();
  const days = query.range === "7" ? 7 : 30;
  const found = useData(`usage ${days}`, () => call<Answer>("GET", `/usage?since=${encodeURIComponent(new Date(Date.now() - days * 86_400_000).toISOString())}&step=86400`));
  const u = found.data;
  const sum = (key: "calls" | "run_ms" | "cpu_ms"): number => (u?.points ?? []).reduce((n, p) => n + p[key], 0);
  return (
    <>
      <Bar title="Limits and usage" line />
      <div class="scroll">
        {!u &&
          (found.error ? (
            <div class="page">
              <Failed error={found.error} what="The usage did not load." retry={() => void found.reload()} />
            </div>
          ) : (
            <Bones />
          ))}
        {u && (
          <div class="page stack">
            <Segmented
              label="Time range"
              value={String(days)}
              options={[
                ["7", "7 d"],
                ["30", "30 d"],
              ]}
              onChange={(v) => setQuery({ range: v === "30" ? null : v })}
            />
            <dl class="strip">
              <div>
                <dt>Calls</dt>
                <dd class="v">{formatCount(sum("calls"))}</dd>
                <dd class="d">in {days} days</dd>
              </div>
              <div>
                <dt>Time run</dt>
                <dd class="v">{formatDuration(sum("run_ms"))}</dd>
                <dd class="d">of all slots</dd>
              </div>
              <div>
                <dt>CPU</dt>
                <dd class="v">{formatDuration(sum("cpu_ms"))}</dd>
                <dd class="d">used by functions</dd>
              </div>
            </dl>
            <Box title="Calls a day">
              <div class="body">
                <Lines at={u.points.map((p) => Date.parse(p.at) / 1000)} height={160} unit="calls" label={`${formatCount(sum("calls"))} calls in ${days} days`} series={[{ label: "calls", values: u.points.map((p) => p.calls), look: "area" }]} />
              </div>
            </Box>
            <Box title="Limits" aside="of this project">
              <div class="body stack uses">
                {PAIRS.map(([name, used, limit]) => {
                  const n = u.limits[used];
                  const of = u.limits[limit];
                  if (n === undefined || n === null) return null;
                  return (
                    <div class="use" key={name}>
                      <div class="row between">
                        <span class="quiet">{name}</span>
                        <span class="num">
                          {formatCount(n)} <span class="quiet">{of ? `of ${formatCount(of)}` : "no limit"}</span>
                        </span>
                      </div>
                      {!!of && <Meter used={n} of={of} />}
                    </div>
                  );
                })}
              </div>
            </Box>
          </div>
        )}
      </div>
    </>
  );
}
