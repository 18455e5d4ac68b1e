import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { duration, formatDuration } from "../support/format.ts";
import type { Paint } from "../editor/highlight.ts";

type Timing = { queue: number | null; start: number | null; run: number | null };

/** Queue, start, run: the shape of each run. `scale` makes bars of a list comparable. */
export function TimingBar({ timing, status, size, scale }: { timing: Timing; status: string; size: "big" | "mini"; scale?: number }) {
  const { queue, start, run } = timing;
  const parts = [queue ?? 0, start ?? 0, run ?? 0] as const;
  const total = parts[0] + parts[1] + parts[2];
  const whole = scale ?? total;
  const words = `queue ${formatDuration(queue)}, start ${formatDuration(start)}, run ${formatDuration(run)}`;
  if (!total && status !== "running") return <span class={`time ${size}`} />;
  const over = total > whole;
  const width = (ms: number): string => `${whole ? Math.min(100, (ms / Math.max(whole, over ? total : whole)) * 100) : 0}%`;
  return (
    <span class={`time ${size} ${status}`} role="img" aria-label={words} title={words}>
      {queue !== null && <i class="q" style={{ width: width(parts[0]) }} />}
      {start !== null && <i class="s" style={{ width: width(parts[1]) }} />}
      {(run !== null || status === "running") && <i class="r" style={{ width: status === "running" && run === null ? "40%" : width(parts[2]) }} />}
      {over && <i class="clip" />}
    </span>
  );
}

export function TimingKey({ timing, status }: { timing: Timing; status: string }) {
  return (
    <div class="timekey">
      <span>
        <i class="q" />
        queue <b>{formatDuration(timing.queue)}</b>
      </span>
      <span>
        <i class="s" />
        start <b>{formatDuration(timing.start)}</b>
      </span>
      <span>
        <i class={`r ${status}`} />
        run <b>{formatDuration(timing.run)}</b>
      </span>
    </div>
  );
}

export function Figure({ ms }: { ms: number | null | undefined }) {
  if (ms === null || ms === undefined) return <>–</>;
  const { value, unit } = duration(ms);
  return (
    <>
      {value}
      <small>{unit}</small>
    </>
  );
}

/** Sixty minutes of calls; failed ones on top, at least two pixels high. */
export function Spark({ calls, errors }: { calls: number[]; errors: number[] }) {
  const bins = calls.length > 30 ? pairs(calls, errors) : calls.map((c, k) => [c, errors[k] ?? 0] as const);
  const top = Math.max(1, ...bins.map(([c]) => c));
  return (
    <svg class="spark" viewBox="0 0 120 24" aria-hidden="true">
      {bins.map(([all, bad], k) => {
        const x = k * 4;
        if (!all) return <rect class="z" key={k} x={x} y="23" width="3" height="1" />;
        const high = Math.max(2, (all / top) * 24);
        const red = bad ? Math.max(2, (bad / top) * 24) : 0;
        return [
          high > red && <rect class="o" key={`${k}o`} x={x} y={24 - (high - red)} width="3" height={high - red} />,
          red > 0 && <rect class="e" key={`${k}e`} x={x} y={24 - high} width="3" height={Math.min(red, high)} />,
        ];
      })}
    </svg>
  );
}
const pairs = (calls: number[], errors: number[]): (readonly [number, number])[] =>
  Array.from({ length: Math.ceil(calls.length / 2) }, (_, k) => [(calls[2 * k] ?? 0) + (calls[2 * k + 1] ?? 0), (errors[2 * k] ?? 0) + (errors[2 * k + 1] ?? 0)] as const);

export type Tokens = Paint[][];
/** Lines of code as text nodes with classes; the parser comes with the editor and later than the text. */
export function useTokens(code: string, file: string): Tokens | null {
  const [tokens, set] = useState<Tokens | null>(null);
  useEffect(() => {
    let on = true;
    set(null);
    void import("../editor/highlight.ts").then((m) => on && set(m.paint(code, file)));
    return () => {
      on = false;
    };
  }, [code, file]);
  return tokens;
}

export const Painted = ({ text, tokens }: { text: string; tokens?: Paint[] | undefined }) => <>{tokens ? tokens.map((t, k) => (t.kind ? <span key={k} class={`tk-${t.kind}`}>{t.text}</span> : t.text)) : text || " "}</>;

export function Code({ code, file, from = 1, to, hit, column }: { code: string; file: string; from?: number; to?: number; hit?: number; column?: number | null }) {
  const tokens = useTokens(code, file);
  const lines = code.split("\n");
  const last = Math.min(to ?? lines.length, lines.length);
  return (
    <div class="code" tabIndex={0} role="group" aria-label={`Code of ${file}`}>
      {lines.slice(from - 1, last).map((text, k) => {
        const n = from + k;
        return (
          <div class={`l ${n === hit ? "hit" : ""}`} key={n}>
            <span>{n}</span>
            <span>{n === hit && column ? <Underlined text={text} column={column} tokens={tokens?.[n - 1]} /> : <Painted text={text} tokens={tokens?.[n - 1]} />}</span>
          </div>
        );
      })}
    </div>
  );
}

/** The failing expression wears a wave: from the column of the error to the end of the word. */
function Underlined({ text, column, tokens }: { text: string; column: number; tokens?: Paint[] | undefined }) {
  const start = Math.max(0, column - 1);
  const word = /^[.?]*[\w$]+/.exec(text.slice(start))?.[0] ?? text.slice(start, start + 1);
  const dotted = text[start - 1] === "." ? start - 1 : start;
  const end = start + word.length;
  if (!tokens) return <>{text}</>;
  let at = 0;
  return (
    <>
      {tokens.flatMap((t, k) => {
        const [a, b] = [at, (at += t.text.length)];
        const cuts = [a, ...[dotted, end].filter((c) => c > a && c < b), b];
        return cuts.slice(1).map((to, j) => {
          const piece = text.slice(cuts[j], to);
          const body = t.kind ? <span class={`tk-${t.kind}`}>{piece}</span> : piece;
          return cuts[j]! >= dotted && cuts[j]! < end ? <u key={`${k}-${j}`}>{body}</u> : <span key={`${k}-${j}`}>{body}</span>;
        });
      })}
    </>
  );
}

export function Json({ value, label }: { value: unknown; label?: string }) {
  const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  const short = text !== undefined && text.length < 200_000;
  const tokens = useTokens(short ? text : "", "x.json");
  return (
    <pre class="json well" tabIndex={0} aria-label={label}>
      {(text ?? "null").split("\n").map((line, k) => {
        const found = tokens?.[k]?.length ? tokens[k] : undefined;
        return typeof value === "string" ? [k > 0 && "\n", <Painted key={k} text={line} tokens={found} />] : <Hanging key={k} text={line} tokens={found} />;
      })}
    </pre>
  );
}

/** A line whose continuations hang below its beginning, and whose depth never takes more than 40 percent of the width. */
function Hanging({ text, tokens }: { text: string; tokens: Paint[] | undefined }) {
  const depth = text.length - text.trimStart().length;
  const rest = tokens?.map((t, k) => (k ? t : { ...t, text: t.text.trimStart() }));
  return (
    <span class="hang" style={{ "--depth": `${depth}ch` }}>
      <Painted text={text.trimStart()} tokens={rest} />
    </span>
  );
}

export type LogLike = { at: string; level: string; message: string };
export function LogLines({ lines, since, clockFormat }: { lines: LogLike[]; since: string | null; clockFormat?: ((at: string) => string) | undefined }) {
  const zero = since ? Date.parse(since) : lines[0] ? Date.parse(lines[0].at) : 0;
  return (
    <>
      {lines.map((l, k) => (
        <div class={`ln ${l.level}`} key={k}>
          <span title={l.at}>{clockFormat ? clockFormat(l.at) : `+${(Math.max(0, Date.parse(l.at) - zero) / 1000).toFixed(3)}`}</span>
          <span>{l.message}</span>
        </div>
      ))}
    </>
  );
}

export const Box = ({ title, aside, actions, class: extra, children }: { title: ComponentChildren; aside?: ComponentChildren; actions?: ComponentChildren; class?: string; children: ComponentChildren }) => (
  <section class={`box ${extra ?? ""}`}>
    <div class="head">
      <h2>{title}</h2>
      {aside && <span class="meta num">{aside}</span>}
      {actions && <div class="acts">{actions}</div>}
    </div>
    {children}
  </section>
);
