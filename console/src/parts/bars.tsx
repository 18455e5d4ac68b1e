import { useState } from "preact/hooks";
import type { Outcomes } from "../api/types.ts";
import { exact, formatCount, shortClock, shortName } from "../support/format.ts";
import { timeTicks } from "../support/ticks.ts";

type Point = Outcomes & { at: string };
type Flag = { version: number; at: string; deployed_by?: string | null };
type Props = { points: Point[] | undefined; step: number; height: number; bare?: boolean; flags?: Flag[]; onPick?: (from: string, until: string) => void };

const niceTop = (top: number): number => {
  if (top <= 4) return 4;
  const power = 10 ** Math.floor(Math.log10(top));
  return [1, 2, 2.5, 5, 10].map((m) => m * power).find((m) => m >= top) ?? top;
};

/** Calls by outcome, stacked from below: success, timeout, error; cancelled hollow. A click opens those invocations. */
export function OutcomeBars({ points = [], step, height, bare, flags = [], onPick }: Props) {
  const [over, setOver] = useState<number | null>(null);
  const n = points.length;
  const top = niceTop(Math.max(1, ...points.map((p) => p.success + p.error + p.timeout + p.cancelled)));
  const all = points.reduce((sum, p) => sum + p.success + p.error + p.timeout + p.cancelled, 0);
  const failed = points.reduce((sum, p) => sum + p.error + p.timeout, 0);
  const pick = (k: number): void => {
    const p = points[k];
    if (p && onPick) onPick(p.at, new Date(Date.parse(p.at) + step * 1000).toISOString());
  };
  const index = (e: MouseEvent): number => {
    const box = (e.currentTarget as HTMLElement).getBoundingClientRect();
    return Math.max(0, Math.min(n - 1, Math.floor(((e.clientX - box.left) / box.width) * n)));
  };
  const first = points[0] ? Date.parse(points[0].at) : 0;
  const length = n * step * 1000;
  const long = length > 2 * 86_400_000;
  const label = (at: number): string => (long ? new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" }).format(at) : shortClock(at));
  const newest = Math.max(...flags.map((f) => Date.parse(f.at)));
  const hovered = over === null ? null : points[over];
  return (
    <figure class={`chart ${bare ? "bare" : ""}`}>
      <div class="plot" style={{ height: `${height}px` }} onMouseMove={(e) => setOver(index(e))} onMouseLeave={() => setOver(null)} onClick={(e) => pick(index(e))}>
        <div class="grid" aria-hidden="true">
          {(bare ? [0] : [0, 0.25, 0.5, 0.75, 1].filter((f) => Number.isInteger(f * top))).map((f) => [<i key={f} style={{ bottom: `${f * 100}%` }} />, !bare && <b key={`${f}b`} style={{ bottom: `${f * 100}%` }}>{formatCount(f * top)}</b>])}
        </div>
        <svg viewBox={`0 0 ${Math.max(1, n)} ${height}`} preserveAspectRatio="none" role="img" aria-label={`${formatCount(all)} calls by outcome, ${formatCount(failed)} failed`}>
          {points.flatMap((p, k) => {
            let y = height;
            const bar = (kind: string, count: number) => {
              if (!count) return null;
              const high = Math.max(2, (count / top) * height);
              y -= high;
              return <rect key={`${k}${kind}`} class={kind} x={k + 0.11} y={y} width="0.78" height={high} />;
            };
            return [bar("o", p.success), bar("t", p.timeout), bar("e", p.error), bar("c", p.cancelled)];
          })}
        </svg>
        {flags.map((f) => {
          const share = (Date.parse(f.at) - first) / length;
          return share >= 0 && share < 1 ? (
            <div class={`flag ${Date.parse(f.at) < newest ? "thin" : ""} ${share > 0.6 ? "at-end" : ""}`} key={f.version} style={{ left: `${share * 100}%` }}>
              <b title={`${exact(f.at)}${f.deployed_by ? `, by ${f.deployed_by}` : ""}`}>
                v{f.version} live{f.deployed_by && <span class="by"> by {shortName(f.deployed_by)}</span>}
              </b>
            </div>
          ) : null;
        })}
        {hovered && over !== null && (
          <>
            <div class="cross" style={{ left: `${(over / n) * 100}%`, width: `${100 / n}%` }} />
            <div class="tip" style={{ left: `min(${((over + 1.6) / n) * 100}%, 100% - 152px)`, top: "12px" }} title={exact(hovered.at)}>
              <div class="quiet num">
                {long ? `${label(Date.parse(hovered.at))} ` : ""}
                {shortClock(hovered.at)} to {shortClock(Date.parse(hovered.at) + step * 1000)}
              </div>
              {(["success", "error", "timeout", "cancelled"] as const).map((kind) =>
                hovered[kind] || kind === "success" ? (
                  <div class="row" key={kind}>
                    <span class="row">
                      <i class={`sw ${{ success: "", error: "e", timeout: "t", cancelled: "c" }[kind]}`} />
                      {kind}
                    </span>
                    <b>{formatCount(hovered[kind])}</b>
                  </div>
                ) : null,
              )}
              {onPick && <div class="quiet">Click to open these</div>}
            </div>
          </>
        )}
        <div class="x" aria-hidden="true">
          {n > 0 &&
            timeTicks(first, length).map((at) => (
              <span key={at} style={{ left: `${((at - first) / length) * 100}%` }}>
                {label(at)}
              </span>
            ))}
          {n > 0 && <span class="last">now</span>}
        </div>
      </div>
      {!bare && n > 0 && (
        <details class="figures">
          <summary class="meta">Show as table</summary>
          <table class="tbl in-box slim">
            <thead>
              <tr>
                <th>From</th>
                <th class="r">Success</th>
                <th class="r">Error</th>
                <th class="r">Timeout</th>
                <th class="r">Cancelled</th>
              </tr>
            </thead>
            <tbody>
              {points
                .filter((p) => p.success + p.error + p.timeout + p.cancelled > 0)
                .map((p) => (
                  <tr key={p.at}>
                    <td class="num">{long ? `${label(Date.parse(p.at))}, ${shortClock(p.at)}` : shortClock(p.at)}</td>
                    <td class="r">{p.success}</td>
                    <td class="r">{p.error}</td>
                    <td class="r">{p.timeout}</td>
                    <td class="r">{p.cancelled}</td>
                  </tr>
                ))}
            </tbody>
          </table>
        </details>
      )}
    </figure>
  );
}
