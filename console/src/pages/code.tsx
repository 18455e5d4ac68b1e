import { useEffect, useRef, useState } from "preact/hooks";
import { call, raw } from "../api/client.ts";
import { ApiError, problemOf, sayError } from "../api/errors.ts";
import type { Envelope, FunctionDetails, LogLine } from "../api/types.ts";
import type { Editor } from "../editor/editor.ts";
import { invalidate } from "../state/data.ts";
import { useDraft, type Draft } from "../state/draft.ts";
import { useHere } from "../state/session.ts";
import { toast } from "../state/toast.ts";
import { invocationAt } from "../support/routes.ts";
import { useQuery } from "../support/query.ts";
import { entryFile, isLock, textOf } from "../support/files.ts";
import { formatDuration, plural } from "../support/format.ts";
import { placeOf } from "../support/stack.ts";
import { problemPlace } from "../support/problems.ts";
import { Ago, Button, Icon, Segmented, Select, StatusMark, TextField, keyName, languageName } from "../parts/basic.tsx";
import { Json, LogLines, TimingBar, TimingKey } from "../parts/data.tsx";
import { CodeEditor } from "../parts/editor.tsx";
import { Confirm, Dialog, Menu } from "../parts/overlays.tsx";
import { Diff } from "../parts/diff.tsx";
import { Link } from "wouter-preact";
import { Frame, type FunctionProps } from "./function.tsx";
import { lazily } from "../parts/lazy.tsx";

const Merge = lazily(() => import("./merge.tsx"));

type Problem = { file: string; line: number; message: string };

export default function CodePage(props: FunctionProps) {
  const { fn } = props;
  const { may } = useHere();
  const editable = may("developer");
  const draft = useDraft(fn);
  const [query, setQuery] = useQuery();
  const names = Object.keys(draft.files).sort((a, b) => Number(isLock(a)) - Number(isLock(b)) || a.localeCompare(b));
  const entry = entryFile(fn, fn.slug);
  const file = query.file && draft.files[query.file] !== undefined ? query.file : names.includes(entry) ? entry : names[0]!;
  const [pane, setPane] = useState<"code" | "test">(query.test ? "test" : "code");
  const [cursor, setCursor] = useState<[number, number]>([1, 1]);
  const [problems, setProblems] = useState<Problem[]>([]);
  const [typed, setTyped] = useState<{ line: number; message: string }[]>([]);
  const [deploying, setDeploying] = useState(false);
  const [merging, setMerging] = useState(false);
  const [discarding, setDiscarding] = useState(false);
  const [adding, setAdding] = useState(false);
  const editor = useRef<Editor | null>(null);
  const runTest = useRef<() => void>(() => {});
  const goneTo = useRef("");

  const toLine = (line: number): void => editor.current?.goTo(line);
  const arrive = (e: Editor | null): void => {
    editor.current = e;
    if (e && query.line) {
      goneTo.current = `${file}:${query.line}`;
      e.goTo(Number(query.line));
    }
  };
  useEffect(() => {
    if (query.line && goneTo.current !== `${file}:${query.line}`) {
      goneTo.current = `${file}:${query.line}`;
      toLine(Number(query.line));
    }
  }, [query.line, file]);
  useEffect(() => editor.current?.mark(problems.filter((p) => p.file === file)), [problems, file]);
  const review = (): void => {
    if (editable && draft.changed) setDeploying(true);
  };
  useEffect(() => {
    const onKey = (e: KeyboardEvent): void => {
      if ((e.metaKey || e.ctrlKey) && e.key.toLowerCase() === "s") {
        e.preventDefault();
        review();
      } else if ((e.metaKey || e.ctrlKey) && e.key === "Enter" && !document.querySelector("dialog[open]")) {
        e.preventDefault();
        runTest.current();
      }
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  });

  const shown = problems.length ? problems : typed.map((t) => ({ file, ...t }));
  const text = textOf(draft.files[file]);
  const dirty = new Set(draft.diffs.map((d) => d.file));
  const outdated = draft.changed && fn.revision !== draft.revision;
  return (
    <Frame
      {...props}
      tab="code"
      actions={
        editable ? (
          <>
            {draft.changed && (
              <>
                <span class="meta wide">
                  Draft kept in this browser, <Ago at={draft.keptAt ? new Date(draft.keptAt).toISOString() : null} />
                </span>
                <Button kind="bare" class="wide" onClick={() => setDiscarding(true)}>
                  Discard
                </Button>
              </>
            )}
            <Button kind="primary" keys={keyName("S")} off={!draft.changed && "Nothing is changed"} onClick={review}>
              Review and deploy
            </Button>
          </>
        ) : (
          <span class="meta">A viewer reads the code; a developer changes it.</span>
        )
      }
    >
      {outdated && (
        <div class="note warn flat" role="alert">
          <Icon name="warn" />
          <div class="grow">
            <b>Somebody deployed v{fn.version} meanwhile.</b> Your draft began from an older one; both are kept.
          </div>
          <div class="acts">
            <Button onClick={() => setMerging(true)}>Merge</Button>
          </div>
        </div>
      )}
      <div class="panes-switch narrow">
        <Segmented
          label="Pane"
          value={pane}
          options={[
            ["code", "Code"],
            ["test", "Test"],
          ]}
          onChange={setPane}
        />
      </div>
      <div class={`panes ${editable ? "" : "no-test"}`} data-show={pane}>
        <div class="pane-tree wide">
          <ul class="tree" aria-label="Files">
            {names.map((name) => (
              <li key={name} class={name === file ? "on" : isLock(name) ? "quiet" : ""}>
                <button type="button" class="row grow cut" aria-current={name === file ? "true" : undefined} onClick={() => setQuery({ file: name, line: null })}>
                  <Icon name={isLock(name) ? "lock" : "file"} />
                  <span class="cut">{name}</span>
                </button>
                {dirty.has(name) && <span class="dotc" title="changed" />}
                {editable && name !== entry && (
                  <Menu
                    small
                    label={`Actions for ${name}`}
                    items={[
                      { label: "Rename", run: () => renameFile(name, draft, (to) => setQuery({ file: to })) },
                      { label: "Remove", danger: true, run: () => (draft.set(name, null), setQuery({ file: null })) },
                    ]}
                  />
                )}
              </li>
            ))}
          </ul>
          <Packages draft={draft} />
          {editable && (
            <Button kind="bare" small icon="plus" class="add" onClick={() => setAdding(true)}>
              Add file
            </Button>
          )}
        </div>
        <div class="pane-code">
          <div class="filetabs">
            {names
              .filter((n) => n === file || dirty.has(n))
              .map((name) => (
                <button type="button" key={name} aria-current={name === file ? "true" : undefined} onClick={() => setQuery({ file: name, line: null })}>
                  {name}
                  {dirty.has(name) && <span class="dotc" />}
                </button>
              ))}
            <span class="meta end wide num">{draft.changed ? `${plural(draft.summary.lines, "line")} changed in ${plural(draft.summary.files, "file")} since v${fn.version}` : `as deployed, v${fn.version}`}</span>
          </div>
          <div class="editor">
            {text === null ? (
              <p class="meta pad">This file is no text. It is deployed as it is.</p>
            ) : (
              <CodeEditor
                key={editable ? "rw" : "ro"}
                label={`Code of ${file}`}
                text={text}
                file={file}
                readOnly={!editable || isLock(file)}
                onChange={(t) => {
                  draft.set(file, t);
                  setProblems([]);
                }}
                onCursor={(l, c) => setCursor([l, c])}
                onProblems={setTyped}
                handle={arrive}
                keys={{ "Mod-Enter": () => runTest.current() }}
              />
            )}
          </div>
          {shown.length > 0 && (
            <div class="problems" role="status">
              {shown.slice(0, 3).map((p) => (
                <button type="button" key={`${p.file}${p.line}${p.message}`} onClick={() => (p.file !== file ? setQuery({ file: p.file, line: String(p.line) }) : toLine(p.line))}>
                  <Icon name="st-error" small />
                  <b class="mono">
                    {p.file}:{p.line}
                  </b>
                  <span>{p.message}</span>
                </button>
              ))}
            </div>
          )}
          <div class="statusbar meta">
            <span>{languageName(fn.language)}</span>
            <span class={`st ${shown.length ? "error" : "success"}`}>
              <Icon name={shown.length ? "st-error" : "st-success"} />
              {shown.length ? plural(shown.length, "problem") : "No problems"}
            </span>
            <span class="end num">
              Line {cursor[0]}, column {cursor[1]}
            </span>
          </div>
        </div>
        {editable && <TestPane fn={fn} draft={draft} runner={runTest} onLine={(f, line) => (setPane("code"), setQuery({ file: f, line: String(line) }))} />}
      </div>
      {deploying && (
        <Deploy
          fn={fn}
          draft={draft}
          onClose={() => setDeploying(false)}
          onProblems={(found) => {
            setProblems(found);
            if (found[0]) {
              setQuery({ file: found[0].file, line: null });
              setTimeout(() => toLine(found[0]!.line), 60);
            }
          }}
          onOutrun={async () => {
            await props.reload();
            setMerging(true);
          }}
          done={async (to) => {
            draft.deployed(to);
            setProblems([]);
            await props.reload();
            invalidate("functions ");
            invalidate("versions");
          }}
        />
      )}
      {merging && <Merge fn={fn} draft={draft} close={() => setMerging(false)} />}
      {discarding && (
        <Confirm title="Discard the draft?" action="Discard" danger onClose={() => setDiscarding(false)} run={async () => draft.discard()}>
          {plural(draft.summary.lines, "changed line")} in {plural(draft.summary.files, "file")} will be gone. v{fn.version} stays as it is.
        </Confirm>
      )}
      {adding && <AddFile draft={draft} close={() => setAdding(false)} open={(name) => setQuery({ file: name, line: null })} />}
    </Frame>
  );
}

function renameFile(name: string, draft: Draft, done: (to: string) => void): void {
  const to = prompt(`New name of ${name}`, name);
  if (!to || to === name || draft.files[to] !== undefined) return;
  draft.rename(name, to);
  done(to);
}

function AddFile({ draft, close, open }: { draft: Draft; close: () => void; open: (name: string) => void }) {
  const [name, setName] = useState("");
  const wrong = draft.files[name] !== undefined ? `${name} exists already.` : /^\/|\.\.|\\/.test(name) ? "A path inside of the function, such as lib/vat.ts." : undefined;
  const add = (): void => {
    if (!name || wrong) return;
    draft.set(name, "");
    open(name);
    close();
  };
  return (
    <Dialog
      title="Add a file"
      onClose={close}
      onSubmit={add}
      footer={
        <>
          <Button kind="bare" onClick={close}>
            Cancel
          </Button>
          <Button kind="primary" type="submit" off={!name || wrong ? (wrong ?? "It needs a name") : false}>
            Add file
          </Button>
        </>
      }
    >
      <div class="bd">
        <TextField label="Name" value={name} onInput={setName} wrong={wrong} placeholder="lib/vat.ts" help="package.json or requirements.txt declare packages." />
      </div>
    </Dialog>
  );
}

function Packages({ draft }: { draft: Draft }) {
  const manifest = textOf(draft.files["package.json"]);
  let packages: [string, string][] = [];
  try {
    packages = manifest ? Object.entries((JSON.parse(manifest) as { dependencies?: Record<string, string> }).dependencies ?? {}) : [];
  } catch {
    // Half typed: the editor says what is wrong with it.
  }
  const lines = textOf(draft.files["requirements.txt"])?.split("\n") ?? [];
  packages.push(...lines.filter((l) => /^\s*[\w.-]+/.test(l)).map((l): [string, string] => [/^\s*([\w.-]+)/.exec(l)![1]!, /==\s*([^\s;]+)/.exec(l)?.[1] ?? ""]));
  if (!packages.length) return null;
  return (
    <>
      <h2 class="meta">Packages</h2>
      <ul class="tree" aria-label="Packages">
        {packages.map(([name, version]) => (
          <li key={name}>
            <Icon name="box" />
            <span class="cut">{name}</span>
            <span class="meta num">{version}</span>
          </li>
        ))}
      </ul>
    </>
  );
}

/** What is sent: the text of one file, or all of them. */
export function contentOf(fn: FunctionDetails, draft: Draft): Record<string, unknown> {
  const entry = entryFile(fn, fn.slug);
  const others = Object.keys(draft.files).filter((f) => f !== entry);
  if (!others.length && !fn.entry_file) return { code: textOf(draft.files[entry]) ?? "" };
  return { files: draft.files, entry_file: entry };
}

type DeployProps = { fn: FunctionDetails; draft: Draft; onClose: () => void; onProblems: (p: Problem[]) => void; onOutrun: () => Promise<void>; done: (to: FunctionDetails) => Promise<void> };
function Deploy({ fn, draft, onClose, onProblems, onOutrun, done }: DeployProps) {
  const [busy, setBusy] = useState(false);
  const [wrong, setWrong] = useState<{ text: string; place: Problem | null } | null>(null);
  const deploy = async (): Promise<void> => {
    if (busy) return;
    setBusy(true);
    try {
      const body = { functions: [{ name: fn.name, language: fn.language, entry_point: fn.entry_point, revision: draft.revision, ...contentOf(fn, draft) }] };
      const made = await call<{ items: { action: string; function: FunctionDetails }[] }>("POST", "/deployments", body);
      const to = made.items[0]!.function;
      onClose();
      await done(to);
      toast(`${fn.slug} v${to.version} is deployed`);
    } catch (error) {
      setBusy(false);
      if (error instanceof ApiError && (error.status === 412 || error.status === 409)) {
        onClose();
        await onOutrun();
        return;
      }
      const message = error instanceof ApiError ? error.problem.errors?.[0]?.message : undefined;
      const place = message ? problemPlace(message) : null;
      setWrong({ text: sayError(error), place });
      if (place) onProblems([place]);
    }
  };
  return (
    <Dialog
      wide
      title={`Deploy v${fn.version + 1} of ${fn.slug}`}
      aside={`${plural(draft.summary.lines, "line")} in ${plural(draft.summary.files, "file")}`}
      onClose={onClose}
      onSubmit={() => void deploy()}
      footer={
        <>
          <span class="meta grow wide">It takes all calls at once, unless shares are set under Versions.</span>
          <Button kind="bare" onClick={onClose}>
            Cancel
          </Button>
          <Button kind="primary" keys={keyName("↵")} busy={busy} type="submit">
            Deploy
          </Button>
        </>
      }
    >
      {wrong && (
        <div class="bd">
          <div class="note bad" role="alert">
            <Icon name="warn" />
            <div class="grow">
              <b>Not deployed: </b>
              {wrong.place ? `${wrong.place.file}:${wrong.place.line} does not compile. ${wrong.place.message}` : wrong.text}
            </div>
            {wrong.place && (
              <div class="acts">
                <Button onClick={onClose}>Go to line</Button>
              </div>
            )}
          </div>
        </div>
      )}
      <div class="dscroll" tabIndex={0} role="group" aria-label="Changes">
        <Diff unified diffs={draft.diffs} before={draft.base} after={draft.files} />
      </div>
    </Dialog>
  );
}

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

function TestPane({ fn, draft, runner, onLine }: { fn: FunctionDetails; draft: Draft; runner: { current: () => void }; onLine: (file: string, line: number) => void }) {
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
      const body = drafted ? { payload: value, ...contentOf(fn, draft) } : { payload: value };
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
