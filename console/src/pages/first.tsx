import { useState } from "preact/hooks";
import { useLocation } from "wouter-preact";
import { api, must } from "../api/client.ts";
import { sayError } from "../api/errors.ts";
import type { Envelope, FunctionDetails, Language } from "../api/types.ts";
import { invalidate } from "../state/data.ts";
import { Button, CopyButton, Lang, StatusMark, languageName } from "../parts/basic.tsx";
import { Code } from "../parts/data.tsx";
import { fnAt } from "../support/routes.ts";
import { formatDuration } from "../support/format.ts";

export type Start = { name: string; title: string; says: string; language: Language; code: string; payload: unknown };
export const STARTS: Start[] = [
  {
    name: "hello",
    title: "Respond to a request",
    says: "Reads the clock of your database",
    language: "javascript",
    code: `exports.handler = async (payload, zmesh) => {
  const { now } = await zmesh.db.queryOne("select now()");
  console.log("hello", payload.name);
  return { message: \`Hello \${payload.name}\`, now };
};
`,
    payload: { name: "Ada" },
  },
  {
    name: "nightly-report",
    title: "Report every night",
    says: "Python, made for a schedule",
    language: "python",
    code: `def handler(payload, zmesh):
    day = zmesh.db.query_one("select current_date - 1 as day")["day"]
    print("report of", day)
    return {"day": str(day), "orders": 0}
`,
    payload: {},
  },
  {
    name: "receive-webhook",
    title: "Receive a webhook",
    says: "Responds immediately, then works in the background",
    language: "typescript",
    code: `type Event = { type: string; data: unknown };

exports.handler = async (event: Event, zmesh: any) => {
  console.log("received", event.type);
  return { type: event.type };
};
`,
    payload: { type: "order.paid", data: { id: 1 } },
  },
  {
    name: "follow-table",
    title: "Follow a table",
    says: "Runs for each new or changed row",
    language: "javascript",
    code: `exports.handler = async (change, zmesh) => {
  console.log(change.operation, "on", change.table);
  return change.new ?? change.old;
};
`,
    payload: { operation: "INSERT", table: "orders", new: { id: 1 }, old: null },
  },
];
const ENDING: Record<Language, string> = { javascript: "js", typescript: "ts", python: "py" };

/** Nothing is here yet: a working function in three clicks. */
export function FirstFunction() {
  const [start, setStart] = useState(STARTS[0]!);
  const [busy, setBusy] = useState<"deploy" | "run" | null>(null);
  const [made, setMade] = useState<FunctionDetails>();
  const [result, setResult] = useState<Envelope>();
  const [wrong, setWrong] = useState<string>();
  const [, go] = useLocation();
  const attempt = async (what: "deploy" | "run", work: () => Promise<void>): Promise<void> => {
    setBusy(what);
    setWrong(undefined);
    try {
      await work();
    } catch (error) {
      setWrong(sayError(error));
    }
    setBusy(null);
  };
  const deploy = (): Promise<void> => attempt("deploy", async () => setMade(await must(api.POST("/functions", { body: { name: start.name, language: start.language, code: start.code } as never }))));
  const run = (): Promise<void> => attempt("run", async () => setResult(await must(api.POST("/functions/{id}/invoke", { params: { path: { id: made!.id } }, body: { payload: start.payload } as never }))));
  const file = `${start.name}.${ENDING[start.language]}`;
  return (
    <div class="scroll">
      <div class="page first">
        <div class="first-head">
          <h2>Your first function</h2>
          <p class="soft">Choose an example, deploy it and run it. Each run gets its own process and this project’s database.</p>
        </div>
        <div class="first-grid">
          <div class="picks" role="radiogroup" aria-label="Start from">
            {STARTS.map((s) => (
              <button type="button" role="radio" key={s.name} aria-checked={s === start} class="pick" disabled={!!made && s !== start} onClick={() => setStart(s)}>
                <Lang of={s.language} />
                <span>
                  <b>{s.title}</b>
                  <span>{s.says}</span>
                </span>
              </button>
            ))}
          </div>
          <div class="box first-code">
            <div class="head">
              <span class="m">{file}</span>
              <span class="meta wide">{languageName(start.language)}</span>
              <div class="acts">
                {made ? (
                  <>
                    <Button
                      onClick={() => {
                        invalidate("functions ");
                        go(fnAt(made.slug, "code"));
                      }}
                    >
                      Open {made.slug}
                    </Button>
                    <Button kind="primary" icon="play" busy={busy === "run"} onClick={() => void run()}>
                      Run
                    </Button>
                  </>
                ) : (
                  <Button kind="primary" busy={busy === "deploy"} onClick={() => void deploy()}>
                    Deploy
                  </Button>
                )}
              </div>
            </div>
            <Code code={start.code.trimEnd()} file={file} />
            <div class="first-run">
              <span class="meta">Payload</span>
              <code>{JSON.stringify(start.payload)}</code>
            </div>
            <div class="first-run" aria-live="polite">
              <span class="meta">Result</span>
              {wrong ? (
                <span class="err">{wrong}</span>
              ) : result ? (
                <span class="row wrap grow">
                  <StatusMark status={result.status} pill />
                  <b class="m num">{formatDuration(result.duration_ms)}</b>
                  <code>{JSON.stringify(result.result ?? result.error)}</code>
                </span>
              ) : (
                <span class="quiet">{made ? "deployed; run it" : "the result, log and duration appear here"}</span>
              )}
            </div>
            <div class="first-foot">
              <span class="meta">or from a terminal</span>
              <code>zmesh functions deploy {file}</code>
              <CopyButton text={`zmesh functions deploy ${file}`} label="Copy the command" />
            </div>
          </div>
        </div>
      </div>
    </div>
  );
}
