import { useEffect, useRef, useState } from "preact/hooks";
import { Link } from "wouter-preact";
import { API, project } from "../api/client.ts";
import { fnAt, invocationAt } from "../support/routes.ts";
import { clockMs, plural, shortId } from "../support/format.ts";
import { Button, Empty, FilterField, Segmented, Switch } from "../parts/basic.tsx";
import { Bar } from "../parts/shell.tsx";
import { usePageKeys } from "../parts/keys.tsx";

type Line = { invocation_id: string; function?: string; at: string; level: string; message: string; attempt: number; line: number };
const MOST = 2000;

export default function Logs() {
  return (
    <>
      <Bar title="Live logs" />
      <LogStream path="/logs" named />
    </>
  );
}

/** Lines of all invocations as they are written; the newest is last and stays in sight unless one scrolls up. */
export function LogStream({ path, named }: { path: string; named?: boolean }) {
  const [lines, setLines] = useState<Line[]>([]);
  const [on, setOn] = useState(true);
  const [text, setText] = useState("");
  const [level, setLevel] = useState("");
  const [lost, setLost] = useState(false);
  const box = useRef<HTMLDivElement>(null);
  const following = useRef(true);
  useEffect(() => {
    if (!on) return;
    const source = new EventSource(`${API}${path}?project=${encodeURIComponent(project())}`);
    let waiting: Line[] = [];
    // Four times a second at most, however fast lines come.
    const timer = setInterval(() => {
      if (!waiting.length) return;
      const more = waiting;
      waiting = [];
      setLines((old) => [...old, ...more].slice(-MOST));
    }, 250);
    source.addEventListener("log", (e) => waiting.push(JSON.parse((e as MessageEvent<string>).data) as Line));
    source.onopen = () => setLost(false);
    source.onerror = () => setLost(true);
    return () => {
      clearInterval(timer);
      source.close();
    };
  }, [on, path]);
  useEffect(() => {
    if (following.current && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [lines]);
  usePageKeys({ " ": () => setOn(!on) });
  const wanted = text.toLowerCase();
  const shown = lines.filter((l) => (!level || l.level === level || (level === "warning" && l.level === "error")) && (!wanted || l.message.toLowerCase().includes(wanted)));
  return (
    <>
      <div class={`tools ${named ? "" : "in-tab"}`}>
        <Segmented
          label="Level"
          value={level}
          options={[
            ["", "All"],
            ["warning", "Warnings"],
            ["error", "Errors"],
          ]}
          onChange={setLevel}
        />
        <FilterField label="Filter lines" placeholder="Text in the line" value={text} onInput={setText} />
        <span class="end row">
          <Button kind="bare" small onClick={() => setLines([])}>
            Clear
          </Button>
          <span class="soft">Live</span>
          <Switch on={on} label="Live" onChange={setOn} />
        </span>
      </div>
      <div
        class="scroll"
        ref={box}
        tabIndex={0}
        role="log"
        aria-live="off"
        aria-label="Log lines"
        onScroll={(e) => {
          const at = e.currentTarget;
          following.current = at.scrollHeight - at.scrollTop - at.clientHeight < 40;
        }}
      >
        {shown.length ? (
          <div class="log stream">
            {shown.map((l) => (
              <div class={`ln ${l.level}`} key={`${l.invocation_id}${l.attempt}-${l.line}`}>
                <span title={l.at}>{clockMs(l.at)}</span>
                {named && l.function ? (
                  <Link class="fnm cut" href={fnAt(l.function)}>
                    {l.function}
                  </Link>
                ) : (
                  <span class="fnm">{l.level}</span>
                )}
                <Link class="quiet" href={invocationAt(l.invocation_id)}>
                  {shortId(l.invocation_id)}
                </Link>
                <span>{l.message}</span>
              </div>
            ))}
          </div>
        ) : (
          <Empty title={lines.length ? "No matching lines" : lost ? "Not connected." : on ? "Waiting for lines" : "Held"}>{lines.length ? "Change the level or the text to see more." : lost ? "Reconnecting automatically." : "New log lines appear here as functions print them."}</Empty>
        )}
      </div>
      <div class="statusbar meta">
        <span class="num">{plural(shown.length, "line")}</span>
        {on && !lost && (
          <span class="row">
            <span class="live" />
            Live
          </span>
        )}
        {lines.length >= MOST && <span>The last {MOST} are kept here.</span>}
      </div>
    </>
  );
}
