import { useEffect, useState } from "preact/hooks";
import { Link } from "wouter-preact";
import { api, call, must, raw } from "../api/client.ts";
import { ApiError, problemOf, sayError } from "../api/errors.ts";
import type { Envelope, FunctionDetails, LogLine } from "../api/types.ts";
import type { Draft } from "../state/draft.ts";
import type { TestRequest } from "../state/examples.ts";
import { contentOf, entryFile, filesOf } from "../support/files.ts";
import { formatDuration, plural } from "../support/format.ts";
import { METHODS, NEW_REQUEST, hasBody, writtenRequest } from "../support/request.ts";
import { invocationAt } from "../support/routes.ts";
import { placeOf } from "../support/stack.ts";
import { Ago, Button, Segmented, Select, StatusMark, keyName } from "../parts/basic.tsx";
import { Json, LogLines, TimingBar, TimingKey } from "../parts/data.tsx";
import { CodeEditor } from "../parts/editor.tsx";
import { Menu } from "../parts/overlays.tsx";
import { Examples } from "./examples.tsx";

type Run = { envelope: Envelope; at: number };
const HISTORY = 12;
const LATEST = 20; // versions to choose from
/** What is in the editor; it is what is deployed while nothing is changed. */
const DRAFT = 0;
const historyOf = (slug: string): string[] => {
  try {
    return JSON.parse(localStorage.getItem(`zmesh.payloads.${slug}`) ?? "[]") as string[];
  } catch {
    return [];
  }
};

/** What is sent to run a version, or what is in the editor; a text says what is wrong with the input. */
async function startOf(fn: FunctionDetails, draft: Draft, version: number, payload: string, request: TestRequest | null): Promise<{ path: string; body: unknown } | string> {
  const drafted = draft.changed && version === DRAFT;
  let input: object;
  if (request) {
    const written = writtenRequest(request, payload);
    if (typeof written === "string") return written;
    input = { request: written };
  } else {
    try {
      input = { payload: payload.trim() ? (JSON.parse(payload) as unknown) : null };
    } catch (error) {
      return `The payload is not JSON: ${(error as Error).message}`;
    }
  }
  if (drafted) return { path: `/functions/${fn.id}/test`, body: { ...input, ...contentOf(fn, draft.files) } };
  const earlier = version !== DRAFT && version !== fn.version;
  if (!request) return { path: `/functions/${fn.id}/invoke${earlier ? `?version=${version}` : ""}`, body: input };
  return { path: `/functions/${fn.id}/test`, body: { ...input, ...(earlier ? await codeOf(fn, version) : {}) } };
}

async function codeOf(fn: FunctionDetails, version: number): Promise<object> {
  const v = await must(api.GET("/functions/{id}/versions/{version}", { params: { path: { id: fn.id, version } } }));
  return { language: v.language, entry_point: v.entry_point, style: v.style, ...contentOf({ ...fn, language: v.language, entry_file: v.entry_file }, filesOf(v, fn.slug)) };
}

type Props = { fn: FunctionDetails; draft: Draft; runner: { current: () => void }; first: number | null; onLine: (file: string, line: number) => void };
export function TestPane({ fn, draft, runner, first, onLine }: Props) {
  const given = sessionStorage.getItem(`zmesh.payload.${fn.slug}`);
  const [payload, setPayload] = useState(given ?? historyOf(fn.slug)[0] ?? "{}");
  const [request, setRequest] = useState<TestRequest | null>(null);
  const [wrong, setWrong] = useState<string>();
  const [version, setVersion] = useState(first ?? DRAFT);
  const [busy, setBusy] = useState(false);
  const [run, setRun] = useState<Run | null>(null);
  const [log, setLog] = useState<LogLine[]>([]);
  const [history, setHistory] = useState(() => historyOf(fn.slug));
  useEffect(() => setVersion(first ?? DRAFT), [fn.version, first]);
  useEffect(() => sessionStorage.removeItem(`zmesh.payload.${fn.slug}`), []);

  const go = async (): Promise<void> => {
    if (busy) return;
    setBusy(true);
    setWrong(undefined);
    setLog([]);
    setRun(null);
    try {
      const start = await startOf(fn, draft, version, payload, request);
      if (typeof start === "string") setWrong(start);
      else {
        keep();
        setRun({ envelope: await runToEnd(start.path, start.body, (line) => setLog((l) => [...l, line])), at: Date.now() });
      }
    } catch (error) {
      setWrong(sayError(error));
    }
    setBusy(false);
  };
  const keep = (): void => {
    const kept = [payload, ...history.filter((h) => h !== payload)].slice(0, HISTORY);
    setHistory(kept);
    try {
      localStorage.setItem(`zmesh.payloads.${fn.slug}`, JSON.stringify(kept));
    } catch {
      // Full: the payload runs all the same.
    }
  };
  runner.current = () => void go();
  const shown = version === DRAFT && !draft.changed ? fn.version : version;
  const versions = Array.from({ length: Math.min(LATEST, fn.version) }, (_, k) => fn.version - k);
  if (shown > 0 && !versions.includes(shown)) versions.push(shown);

  return (
    <div class="pane-test" aria-label="Test" role="region">
      <div class="testhead">
        <Segmented
          small
          label="Test with"
          value={request ? "request" : "payload"}
          options={[
            ["payload", "Payload"],
            ["request", "Request"],
          ]}
          onChange={(kind) => setRequest(kind === "request" ? NEW_REQUEST : null)}
        />
        <span class="end row">
          <Examples
            id={fn.id}
            payload={payload}
            request={request}
            choose={(e) => {
              setPayload(e.payload);
              setRequest(e.request);
            }}
          />
          {history.length > 0 && <Menu label="Earlier payloads" text="Earlier" small items={history.map((h) => ({ label: h.replace(/\s+/g, " ").slice(0, 44), run: () => setPayload(h) }))} />}
        </span>
      </div>
      {request && <RequestFields request={request} set={setRequest} />}
      {(!request || hasBody(request.method)) && (
        <div class="payload">
          <CodeEditor small label={request ? "Body" : "Payload"} file="payload.json" text={payload} onChange={setPayload} keys={{ "Mod-Enter": () => void go() }} />
        </div>
      )}
      <div class="runbar">
        <Select
          aria-label="What runs"
          value={String(shown)}
          options={[...(draft.changed ? [[String(DRAFT), "Draft"] as [string, string]] : []), ...versions.map((v): [string, string] => [String(v), `v${v}`])]}
          onChange={(v) => setVersion(Number(v))}
        />
        <span class="meta grow cut">{draft.changed && version === DRAFT ? `Runs here only. v${fn.version} stays live.` : request ? "A test, not counted in statistics." : "A real invocation."}</span>
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
        {run ? <Result run={run} fn={fn} draft={draft} onLine={onLine} /> : !busy && !wrong && <p class="quiet">The result, log and duration appear here.</p>}
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

function RequestFields({ request, set }: { request: TestRequest; set: (r: TestRequest) => void }) {
  return (
    <div class="reqfields stack">
      <div class="row">
        <Select aria-label="Method" value={request.method} options={METHODS.map((m) => [m, m])} onChange={(method) => set({ ...request, method })} />
        <div class="in grow">
          <input class="mono" aria-label="Path and query" placeholder="/orders/7?full=1" value={request.target} onInput={(e) => set({ ...request, target: e.currentTarget.value })} />
        </div>
      </div>
      <div class="in">
        <textarea class="mono" rows={3} aria-label="Headers" placeholder="name: value" value={request.headers} onInput={(e) => set({ ...request, headers: e.currentTarget.value })} />
      </div>
    </div>
  );
}

type HttpResponse = { status: number; headers: Record<string, string | string[]> | [string, string][]; body_base64: string };
type Ended = Envelope & { response?: HttpResponse | null; queue_ms?: number | null; start_ms?: number | null; cpu_ms?: number | null; peak_memory_mb?: number | null };
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
          {e.response ? <Response response={e.response} /> : <Json value={e.result} label="Result" />}
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

/** A response that the function built itself; its body is text, whatever it says it is. */
function Response({ response }: { response: HttpResponse }) {
  const headers = Array.isArray(response.headers) ? response.headers : Object.entries(response.headers);
  const body = new TextDecoder().decode(Uint8Array.from(atob(response.body_base64), (c) => c.charCodeAt(0)));
  return (
    <pre class="json well" tabIndex={0} aria-label="Result">
      {[`HTTP ${response.status}`, ...headers.map(([name, value]) => `${name}: ${String(value)}`), "", body].join("\n")}
    </pre>
  );
}

/** Starts an invocation and follows its log to its end. A failed run answers 500 or 504 with its envelope: that is a result, not a refusal. */
async function runToEnd(path: string, body: unknown, line: (l: LogLine) => void): Promise<Ended> {
  const response = await raw(path, { method: "POST", headers: { "content-type": "application/json", prefer: "respond-async" }, body: JSON.stringify(body) });
  if (![200, 202, 500, 504].includes(response.status) || !/^application\/json/.test(response.headers.get("content-type") ?? "")) throw new ApiError(response.status, await problemOf(response));
  const started = (await response.json()) as Envelope;
  await follow(started.invocation_id, line);
  return settle(started.invocation_id);
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
