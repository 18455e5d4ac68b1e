import { useEffect, useState } from "preact/hooks";
import { Link } from "wouter-preact";
import { call, raw } from "../api/client.ts";
import { ApiError, problemOf, sayError } from "../api/errors.ts";
import type { Envelope, FunctionDetails, LogLine } from "../api/types.ts";
import type { Draft } from "../state/draft.ts";
import { contentOf, entryFile } from "../support/files.ts";
import { formatDuration, plural } from "../support/format.ts";
import { invocationAt } from "../support/routes.ts";
import { placeOf } from "../support/stack.ts";
import { Ago, Button, Select, StatusMark, keyName } from "../parts/basic.tsx";
import { Json, LogLines, TimingBar, TimingKey } from "../parts/data.tsx";
import { CodeEditor } from "../parts/editor.tsx";
import { Menu } from "../parts/overlays.tsx";

type Run = { envelope: Envelope; at: number };
const HISTORY = 12;
/** What is in the editor; it is what is deployed while nothing is changed. */
const DRAFT = 0;
const historyOf = (slug: string): string[] => {
  try {
    return JSON.parse(localStorage.getItem(`zmesh.payloads.${slug}`) ?? "[]") as string[];
  } catch {
    return [];
  }
};

export function TestPane({ fn, draft, runner, onLine }: { fn: FunctionDetails; draft: Draft; runner: { current: () => void }; onLine: (file: string, line: number) => void }) {
  const given = sessionStorage.getItem(`zmesh.payload.${fn.slug}`);
  const [payload, setPayload] = useState(given ?? historyOf(fn.slug)[0] ?? "{}");
  const [wrong, setWrong] = useState<string>();
  const [version, setVersion] = useState(DRAFT);
  const [busy, setBusy] = useState(false);
  const [run, setRun] = useState<Run | null>(null);
  const [log, setLog] = useState<LogLine[]>([]);
  const [history, setHistory] = useState(() => historyOf(fn.slug));
  useEffect(() => setVersion(DRAFT), [fn.version]);
  useEffect(() => sessionStorage.removeItem(`zmesh.payload.${fn.slug}`), []);

  const go = async (): Promise<void> => {
    if (busy) return;
    let value: unknown;
    try {
      value = payload.trim() ? (JSON.parse(payload) as unknown) : null;
    } catch (error) {
      setWrong(`The payload is no JSON: ${(error as Error).message}`);
      return;
    }
    setBusy(true);
    setWrong(undefined);
    setLog([]);
    setRun(null);
    const kept = [payload, ...history.filter((h) => h !== payload)].slice(0, HISTORY);
    setHistory(kept);
    localStorage.setItem(`zmesh.payloads.${fn.slug}`, JSON.stringify(kept));
    try {
      // A failed run answers 500 or 504 with its envelope: that is a result, not a refusal.
      const drafted = draft.changed && version === DRAFT;
      const path = drafted ? `/functions/${fn.id}/test` : `/functions/${fn.id}/invoke${version === DRAFT || version === fn.version ? "" : `?version=${version}`}`;
      const body = drafted ? { payload: value, ...contentOf(fn, draft.files) } : { payload: value };
      const response = await raw(path, { method: "POST", headers: { "content-type": "application/json", prefer: "respond-async" }, body: JSON.stringify(body) });
      if (![200, 202, 500, 504].includes(response.status) || !/^application\/json/.test(response.headers.get("content-type") ?? "")) throw new ApiError(response.status, await problemOf(response));
      const started = (await response.json()) as Envelope;
      await follow(started.invocation_id, (line) => setLog((l) => [...l, line]));
      const ended = await settle(started.invocation_id);
      setRun({ envelope: ended, at: Date.now() });
      setBusy(false);
    } catch (error) {
      setWrong(sayError(error));
      setBusy(false);
    }
  };
  runner.current = () => void go();

  return (
    <div class="pane-test" aria-label="Test" role="region">
      <div class="testhead">
        <b class="m">Payload</b>
        <span class="end row">
          {history.length > 0 && <Menu label="Earlier payloads" text="Earlier" small items={history.map((h) => ({ label: h.replace(/\s+/g, " ").slice(0, 44), run: () => setPayload(h) }))} />}
        </span>
      </div>
      <div class="payload">
        <CodeEditor small label="Payload" file="payload.json" text={payload} onChange={setPayload} keys={{ "Mod-Enter": () => void go() }} />
      </div>
      <div class="runbar">
        <Select
          aria-label="What runs"
          value={String(version === DRAFT && !draft.changed ? fn.version : version)}
          options={[...(draft.changed ? [[String(DRAFT), "Draft"] as [string, string]] : []), ...Array.from({ length: Math.min(20, fn.version) }, (_, k): [string, string] => [String(fn.version - k), `v${fn.version - k}`])]}
          onChange={(v) => setVersion(Number(v))}
        />
        <span class="meta grow cut">{draft.changed && version === DRAFT ? `Runs here only. v${fn.version} stays live.` : "A real invocation."}</span>
        <Button kind="primary" icon="play" keys={keyName("↵")} busy={busy} onClick={() => void go()}>
          Run
        </Button>
      </div>
      <div class="result" aria-live="polite">
        {wrong && (
          <p class="err" role="alert">
            {wrong}
          </p>
        )}
        {run ? <Result run={run} fn={fn} draft={draft} onLine={onLine} /> : !busy && !wrong && <p class="quiet">The result appears here, with its log and what took how long.</p>}
        {busy && <StatusMark status="running" pill />}
        {log.length > 0 && (
          <>
            <div class="row between">
              <h3>Log</h3>
              <span class="meta num">{plural(log.length, "line")}</span>
            </div>
            <div class="log well-log" tabIndex={0} role="group" aria-label="Log">
              <LogLines lines={log} since={null} />
            </div>
          </>
        )}
      </div>
    </div>
  );
}

type Ended = Envelope & { queue_ms?: number | null; start_ms?: number | null; cpu_ms?: number | null; peak_memory_mb?: number | null };
function Result({ run, fn, draft, onLine }: { run: Run; fn: FunctionDetails; draft: Draft; onLine: (file: string, line: number) => void }) {
  const e = run.envelope as Ended;
  const place = e.error ? placeOf(e.error.stack, [...Object.keys(draft.files), entryFile(fn, fn.slug)]) : null;
  const timing = { queue: e.queue_ms ?? null, start: e.start_ms ?? null, run: e.duration_ms === null ? null : Math.max(0, e.duration_ms - (e.start_ms ?? 0)) };
  return (
    <>
      <div class="row between">
        <span class="row">
          <StatusMark status={e.status} pill />
          <b class="m num">{formatDuration(e.duration_ms)}</b>
          <span class="meta">
            <Ago at={new Date(run.at).toISOString()} />
          </span>
        </span>
        <Link class="link meta" href={invocationAt(e.invocation_id)}>
          Open invocation
        </Link>
      </div>
      <TimingBar size="big" status={e.status} timing={timing} />
      <TimingKey status={e.status} timing={timing} />
      {e.error ? (
        <>
          <h3 class={e.status === "timeout" ? "amber" : "err"}>{e.error.type}</h3>
          <p class="said">{e.error.message}</p>
          {place && (
            <div>
              <Button small onClick={() => onLine(place.file, place.line)}>
                Go to {place.file}:{place.line}
              </Button>
            </div>
          )}
          {e.error.stack && (
            <pre class="json well" tabIndex={0} aria-label="Stack">
              {e.error.stack}
            </pre>
          )}
        </>
      ) : (
        <>
          <h3>Result</h3>
          <Json value={e.result} label="Result" />
        </>
      )}
      {(e.cpu_ms != null || e.peak_memory_mb != null) && (
        <div class="meta usage">
          CPU {formatDuration(e.cpu_ms)} · memory {e.peak_memory_mb ?? "–"} of {fn.memory_mb} MB
        </div>
      )}
    </>
  );
}

/** Log lines as they are written, until the invocation has ended. */
async function follow(id: string, line: (l: LogLine) => void): Promise<void> {
  const response = await raw(`/invocations/${id}/logs`, { headers: { accept: "text/event-stream" } });
  if (!response.ok || !response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    const events = rest.split("\n\n");
    rest = events.pop() ?? "";
    for (const event of events) {
      const name = /^event: (.*)$/m.exec(event)?.[1];
      const data = /^data: (.*)$/m.exec(event)?.[1];
      if (name === "log" && data) line(JSON.parse(data) as LogLine);
      if (name === "end") return void reader.cancel();
    }
  }
}

async function settle(id: string): Promise<Ended> {
  for (let turn = 0; ; turn++) {
    const i = await call<Ended & { id: string }>("GET", `/invocations/${id}`);
    if (!["queued", "running"].includes(i.status) || turn > 600) return { ...i, invocation_id: id };
    await new Promise((r) => setTimeout(r, 250));
  }
}
