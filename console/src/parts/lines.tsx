import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { timeTicks } from "../support/ticks.ts";
import "uplot/dist/uPlot.min.css";

type Series = { label: string; values: (number | null)[]; look: "p50" | "p95" | "p99" | "rest" | "area" };
type Props = { at: number[]; series: Series[]; height: number; label: string; unit: string; group?: string; flags?: number[] };

/** Colours as the page has them now: a canvas cannot read light-dark(). */
function colour(name: string): string {
  const probe = document.body.appendChild(document.createElement("i"));
  probe.style.color = `var(--${name})`;
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

const LOOKS = { p50: ["ok-fill", 1.5, undefined], p95: ["ink-2", 1.5, undefined], p99: ["ink-3", 1.25, [3, 3]], rest: ["rest-fill", 1.5, undefined], area: ["ok-fill", 1.5, undefined] } as const;

function options(p: Props, width: number): uPlot.Options {
  const long = p.at.length > 1 && p.at.at(-1)! - p.at[0]! > 2 * 86_400;
  const label = (at: number): string => new Intl.DateTimeFormat("en-GB", long ? { day: "numeric", month: "short" } : { timeStyle: "short" }).format(at);
  const ink = colour("ink-3");
  const line = colour("line");
  const font = '11px -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif';
  return {
    width,
    height: p.height,
    padding: [8, 18, 0, 0],
    legend: { show: false },
    cursor: { sync: p.group ? { key: p.group } : undefined, y: false, points: { size: 6 }, drag: { x: false, y: false } },
    scales: { y: { range: (_u, _min, max) => [0, Math.max(max * 1.1, 1)] } },
    axes: [
      { stroke: ink, font, grid: { show: false }, ticks: { show: false }, size: 24, splits: (_u, _axis, from, to) => timeTicks(from * 1000, (to - from) * 1000).map((at) => at / 1000), values: (_u, splits) => splits.map((v) => label(v * 1000)) },
      { stroke: ink, font, grid: { stroke: line, width: 1 }, ticks: { show: false }, size: 40, space: 32, values: (_u, splits) => splits.map((v) => String(v)) },
    ],
    series: [
      {},
      ...p.series.map((s) => {
        const [name, w, dash] = LOOKS[s.look];
        return { label: s.label, stroke: colour(name), width: w, dash: dash ? [...dash] : undefined, fill: s.look === "area" ? colour("ok-tint") : s.look === "rest" ? colour("selected") : undefined, points: { show: s.values.filter((v) => v !== null).length <= 30, size: 5, fill: colour(name), width: 0 }, spanGaps: false } as uPlot.Series;
      }),
    ],
    hooks: {
      draw: [
        (u) => {
          u.ctx.save();
          u.ctx.strokeStyle = colour("ink");
          u.ctx.globalAlpha = 0.35;
          u.ctx.setLineDash([]);
          u.ctx.lineWidth = devicePixelRatio;
          for (const at of p.flags ?? []) {
            const x = Math.round(u.valToPos(at, "x", true));
            if (x < u.bbox.left || x > u.bbox.left + u.bbox.width) continue;
            u.ctx.beginPath();
            u.ctx.moveTo(x, u.bbox.top);
            u.ctx.lineTo(x, u.bbox.top + u.bbox.height);
            u.ctx.stroke();
          }
          u.ctx.restore();
        },
      ],
      setCursor: [
        (u) => {
          const tip = u.root.querySelector<HTMLElement>(".tip");
          const k = u.cursor.idx;
          if (!tip) return;
          const left = u.cursor.left ?? -1;
          tip.hidden = k === null || k === undefined || left < 0;
          if (tip.hidden) return;
          const when = new Intl.DateTimeFormat("en-GB", { timeStyle: "short" }).format((u.data[0][k!] ?? 0) * 1000);
          tip.replaceChildren(...[when, ...p.series.map((s) => `${s.label} ${s.values[k!] ?? "–"} ${s.values[k!] == null ? "" : p.unit}`)].map((text) => Object.assign(document.createElement("div"), { textContent: text, className: "num" })));
          tip.style.left = `${Math.min(left + 12, u.over.clientWidth - 140)}px`;
          tip.style.top = "8px";
        },
      ],
    },
  };
}

export default function Lines(props: Props) {
  const host = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const box = host.current!;
    let plot: uPlot | null = null;
    const draw = (): void => {
      plot?.destroy();
      plot = new uPlot(options(props, Math.max(120, box.clientWidth)), [props.at, ...props.series.map((s) => s.values)] as uPlot.AlignedData, box);
      const tip = Object.assign(document.createElement("div"), { className: "tip", hidden: true });
      plot.over.append(tip);
    };
    draw();
    const resized = new ResizeObserver(() => plot?.setSize({ width: Math.max(120, box.clientWidth), height: props.height }));
    resized.observe(box);
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    scheme.addEventListener("change", draw);
    addEventListener("zmesh-scheme", draw);
    return () => {
      resized.disconnect();
      scheme.removeEventListener("change", draw);
      removeEventListener("zmesh-scheme", draw);
      plot?.destroy();
    };
  }, [JSON.stringify(props)]);
  return <div class="lines" ref={host} role="img" aria-label={props.label} style={{ height: `${props.height}px` }} />;
}
