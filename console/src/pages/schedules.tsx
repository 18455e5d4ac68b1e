import { useEffect, useState } from "preact/hooks";
import { Link, useLocation } from "wouter-preact";
import { api, must } from "../api/client.ts";
import { fieldErrors, sayError } from "../api/errors.ts";
import type { Schedule, ScheduleRun } from "../api/types.ts";
import { invalidate, setData, useData } from "../state/data.ts";
import { useHere } from "../state/session.ts";
import { toast } from "../state/toast.ts";
import { at, fnAt, invocationAt } from "../support/routes.ts";
import { useQuery } from "../support/query.ts";
import { clockChange, cronWords, ownZone, zoneName } from "../support/cron.ts";
import { exact, shortClock, shortId, spanExact, weekday } from "../support/format.ts";
import { Ago, Bones, Button, Empty, Facts, Failed, Icon, SelectField, StatusMark, Switch, TextField, useNow } from "../parts/basic.tsx";
import { Json } from "../parts/data.tsx";
import { CodeEditor } from "../parts/editor.tsx";
import { Confirm, Dialog, Menu } from "../parts/overlays.tsx";
import { Bar } from "../parts/shell.tsx";
import { usePageKeys } from "../parts/keys.tsx";

export const functionOptions = (): { options: [string, string][]; ready: boolean } => {
  const list = useData("function names", () => must(api.GET("/functions", { params: { query: { limit: 100 } as never } })));
  return { options: (list.data?.items ?? []).map((f): [string, string] => [f.id, f.slug]), ready: !!list.data };
};

export default function Schedules({ id }: { id: string | undefined }) {
  const { may } = useHere();
  const [, go] = useLocation();
  const [query, setQuery] = useQuery();
  const list = useData("schedules", () => must(api.GET("/schedules", { params: { query: { limit: 100 } } })));
  const items = list.data?.items ?? [];
  const narrow = matchMedia("(max-width: 720px)").matches;
  const chosen = items.find((s) => s.id === id) ?? (narrow ? undefined : items[0]);
  const creating = query.new !== undefined;
  const editing = query.edit ? items.find((s) => s.id === query.edit) : undefined;
  usePageKeys({ C: () => may("developer") && setQuery({ new: "" }) });
  return (
    <>
      <Bar
        title="Schedules"
        count={list.data ? items.length : undefined}
        line
        {...(id && narrow ? { back: ["Schedules", at("schedules")] as [string, string] } : {})}
        actions={
          may("developer") && (
            <Button kind="primary" icon="plus" keys="C" onClick={() => go(`${at("schedules")}?new=`)}>
              New schedule
            </Button>
          )
        }
      />
      {!!list.error && (
        <div class="page">
          <Failed error={list.error} what="The list could not be loaded." retry={() => void list.reload()} />
        </div>
      )}
      {!list.data && !list.error && <Bones />}
      {list.data && !items.length && (
        <Empty title="No schedules" actions={may("developer") && <Button onClick={() => setQuery({ new: "" })}>New schedule</Button>}>
          A schedule invokes a function at set times, in any time zone.
        </Empty>
      )}
      {items.length > 0 && (
        <div class={`master ${id ? "open" : ""}`}>
          <div class="scroll">
            <table class="tbl two scheds" data-list>
              <thead class="stick">
                <tr>
                  <th class="c-on">
                    <span class="sr">Enabled</span>
                  </th>
                  <th>Schedule</th>
                  <th>When</th>
                  <th>Next, your time</th>
                  <th class="wide r">Last 24</th>
                </tr>
              </thead>
              <tbody>
                {items.map((s) => (
                  <Row key={s.id} s={s} chosen={s === chosen} />
                ))}
              </tbody>
            </table>
          </div>
          {chosen && <Detail key={chosen.id} s={chosen} reload={list.reload} />}
        </div>
      )}
      {(creating || editing) && <Form schedule={editing} given={query.new} close={() => setQuery({ new: null, edit: null })} done={list.reload} />}
    </>
  );
}

async function toggle(s: Schedule, on: boolean): Promise<void> {
  const put = (enabled: boolean): void => setData<{ items: Schedule[]; next_cursor: string | null }>("schedules", (old) => old && { ...old, items: old.items.map((x) => (x.id === s.id ? { ...x, enabled } : x)) });
  put(on);
  try {
    await must(api.PATCH("/schedules/{id}", { params: { path: { id: s.id } }, body: { enabled: on } as never }));
    toast(on ? `${s.name} is resumed` : `${s.name} is paused`, { label: "Undo", run: () => void toggle(s, !on) });
    invalidate("schedules");
  } catch (error) {
    put(!on);
    toast(sayError(error));
  }
}

const useRuns = (id: string) => useData(`runs ${id}`, () => must(api.GET("/schedules/{id}/runs", { params: { path: { id }, query: { limit: 24 } } })));

function Row({ s, chosen }: { s: Schedule; chosen: boolean }) {
  const { may } = useHere();
  const now = useNow();
  const runs = useRuns(s.id);
  const next = s.next_due_at ? Date.parse(s.next_due_at) : null;
  return (
    <tr class={s.enabled ? "" : "off"} aria-selected={chosen || undefined}>
      <td class="c-on">{may("developer") ? <Switch on={s.enabled} label={`${s.name} enabled`} onChange={(on) => void toggle(s, on)} /> : <Icon name={s.enabled ? "check" : "pause"} />}</td>
      <td class="c-name">
        <Link class="m go cut block" href={at("schedules", s.id)}>
          {s.name}
        </Link>
        <div class="meta cut">{s.function}</div>
      </td>
      <td class="c-when">
        {cronWords(s.cron) ?? <span class="mono">{s.cron}</span>}
        <div class="meta">
          {cronWords(s.cron) && (
            <>
              <code>{s.cron}</code> ·{" "}
            </>
          )}
          {zoneName(s.timezone)}
        </div>
      </td>
      <td class="c-next">
        {s.enabled && next ? (
          <>
            <span title={exact(next)}>in {spanExact(Math.max(0, Math.round((next - now) / 1000)))}</span>
            <div class="meta">
              {weekday(next)}, {shortClock(next)}
            </div>
          </>
        ) : (
          "paused"
        )}
      </td>
      <td class="c-hist wide">
        <Due runs={runs.data?.items ?? []} />
      </td>
    </tr>
  );
}

const skipped = (r: ScheduleRun): boolean => r.outcome.startsWith("skipped");
const broken = (r: ScheduleRun): boolean => r.status === "error" || r.status === "timeout" || r.outcome === "skipped_failed";
const Due = ({ runs }: { runs: ScheduleRun[] }) => (
  <span class="sq" role="img" aria-label={`${runs.length} due times, ${runs.filter(broken).length} failed, ${runs.filter(skipped).length} skipped`}>
    {[...runs].reverse().map((r) => (
      <i key={r.due_at + r.outcome} class={broken(r) ? "e" : skipped(r) ? "k" : ""} title={`${exact(r.due_at)}: ${outcomeWords(r)}`} />
    ))}
  </span>
);
const OUTCOMES: Record<string, string> = {
  fired: "fired",
  run_now: "run now",
  skipped_overlap: "skipped, overlap",
  skipped_missed: "skipped, missed",
  skipped_disabled: "skipped, function disabled",
  skipped_paused: "skipped, paused",
  skipped_changed: "skipped, changed",
  skipped_failed: "not started",
};
const WHY: Record<string, string> = {
  skipped_overlap: "the previous run had not ended",
  skipped_missed: "the platform was not running",
  skipped_paused: "the schedule was paused",
  skipped_changed: "the schedule was changed",
};
const outcomeWords = (r: ScheduleRun): string => `${OUTCOMES[r.outcome] ?? r.outcome}${r.status === "error" || r.status === "timeout" ? ", failed" : ""}`;

function Detail({ s, reload }: { s: Schedule; reload: () => Promise<void> }) {
  const { may } = useHere();
  const [, setQuery] = useQuery();
  const now = useNow();
  const [busy, setBusy] = useState(false);
  const [deleting, setDeleting] = useState(false);
  const runs = useRuns(s.id);
  const preview = useData(`preview ${s.cron} ${s.timezone} ${s.next_due_at}`, () => must(api.GET("/schedules/preview", { params: { query: { cron: s.cron, timezone: s.timezone, count: 20 } as never } })));
  const due = preview.data?.due_at ?? [];
  const here = ownZone();
  const change = clockChange(due, s.timezone, here);
  const run = async (): Promise<void> => {
    setBusy(true);
    try {
      const started = await must(api.POST("/schedules/{id}/run", { params: { path: { id: s.id } } }));
      toast(`${s.function} was invoked`, { label: "Show", run: () => location.assign(invocationAt(started.invocation_id)) });
      await runs.reload();
    } catch (error) {
      toast(sayError(error));
    }
    setBusy(false);
  };
  return (
    <aside class="detail scroll" aria-label={s.name} tabIndex={0}>
      <div class="dhead">
        <div class="grow">
          <h2 class="cut">{s.name}</h2>
          <span class="soft row">
            runs
            <Link class="link cut" href={fnAt(s.function)}>
              {s.function}
            </Link>
          </span>
        </div>
        {may("developer") && (
          <>
            <Button icon="play" busy={busy} onClick={() => void run()}>
              Run now
            </Button>
            {s.enabled ? <Button icon="pause" label="Pause" onClick={() => void toggle(s, false)} /> : <Button onClick={() => void toggle(s, true)}>Resume</Button>}
            <Menu
              label="More"
              items={[
                { label: "Edit", run: () => setQuery({ edit: s.id }) },
                { label: "Delete", danger: true, run: () => setDeleting(true) },
              ]}
            />
          </>
        )}
      </div>
      <div class="dpad">
        <Facts
          items={[
            ["When", `${cronWords(s.cron) ?? s.cron} in ${zoneName(s.timezone)}`],
            ["If it is still running", s.overlap === "skip" ? "skip" : "queue the next one"],
            ["If due times were missed", { skip: "skip them", once: "fire once for all", all: "fire each" }[s.missed]],
          ]}
        />
      </div>
      {s.enabled && due.length > 0 && (
        <>
          <h3 class="dpad">Next</h3>
          <table class="tbl slim in-box">
            <thead>
              <tr>
                <th>{zoneName(s.timezone)}</th>
                <th>{zoneName(here)}, you</th>
                <th class="r">
                  <span class="sr">Until then</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {due.slice(0, 5).map((d) => (
                <tr key={d}>
                  <td>
                    {weekday(d, s.timezone)}, {shortClock(d, s.timezone)}
                  </td>
                  <td class="soft">{shortClock(d, here)}</td>
                  <td class="r quiet">in {spanExact(Math.max(0, Math.round((Date.parse(d) - now) / 1000)))}</td>
                </tr>
              ))}
            </tbody>
          </table>
          {change && (
            <div class="note dnote">
              <Icon name="clock" />
              <div>
                From {change.at} it runs at <b>{change.time} your time</b>: clocks change between the two zones.
              </div>
            </div>
          )}
        </>
      )}
      {(!s.enabled || !!preview.data || !!preview.error) && (
        <>
          <h3 class="dpad">Payload</h3>
          <div class="dpad">
            <Json value={s.payload} label="Payload" />
          </div>
          <h3 class="dpad">History</h3>
          {runs.data?.items.length ? (
            <ul class="hist-list">
              {runs.data.items.map((r) => (
                <li key={r.due_at + r.outcome}>
                  <span class="when num" title={exact(r.due_at)}>
                    {weekday(r.due_at).split(" ").slice(1).join(" ")}, {shortClock(r.due_at)}
                  </span>
                  <span>
                    <StatusMark status={broken(r) ? "error" : skipped(r) ? "cancelled" : (r.status ?? "success")} word={outcomeWords(r)} />
                    <div class="meta">
                      {r.invocation_id ? (
                        <Link class="link" href={invocationAt(r.invocation_id)}>
                          {s.function} {shortId(r.invocation_id)}
                        </Link>
                      ) : (
                        (r.error ?? WHY[r.outcome] ?? "")
                      )}
                    </div>
                  </span>
                  <span class="quiet">
                    <Ago at={r.due_at} />
                  </span>
                </li>
              ))}
            </ul>
          ) : (
            <p class="dpad soft">Not due yet.</p>
          )}
        </>
      )}
      {deleting && (
        <Confirm
          title={`Delete the schedule ${s.name}?`}
          action="Delete schedule"
          danger
          onClose={() => setDeleting(false)}
          run={async () => {
            await must(api.DELETE("/schedules/{id}", { params: { path: { id: s.id } } }));
            await reload();
            toast(`${s.name} is deleted`);
          }}
        >
          {s.function} is no longer invoked by it. What runs now goes on.
        </Confirm>
      )}
    </aside>
  );
}

const COMMON: [string, string][] = [
  ["*/5 * * * *", "Every 5 minutes"],
  ["0 * * * *", "Every hour"],
  ["30 2 * * *", "Every day at 02:30"],
  ["0 7 * * mon", "Mondays at 07:00"],
  ["0 6 1 * *", "On the 1st at 06:00"],
];

function Form({ schedule: s, given, close, done }: { schedule: Schedule | undefined; given: string | undefined; close: () => void; done: () => Promise<void> }) {
  const { options } = functionOptions();
  const [form, setForm] = useState({ name: s?.name ?? "", function_id: s?.function_id ?? "", cron: s?.cron ?? "30 2 * * *", timezone: s?.timezone ?? ownZone(), overlap: (s?.overlap ?? "skip") as string, missed: (s?.missed ?? "once") as string });
  const [payload, setPayload] = useState(JSON.stringify(s?.payload ?? {}, null, 2));
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const [preview, setPreview] = useState<{ due: string[]; wrong: string | null }>({ due: [], wrong: null });
  const set = (name: keyof typeof form) => (v: string) => setForm({ ...form, [name]: v });
  const wrong = fieldErrors(error);
  const fn = form.function_id || options.find(([, slug]) => slug === given)?.[0] || options[0]?.[0] || "";
  useEffect(() => {
    const timer = setTimeout(() => {
      void must(api.GET("/schedules/preview", { params: { query: { cron: form.cron, timezone: form.timezone, count: 3 } as never } })).then(
        (p) => setPreview({ due: p.due_at, wrong: null }),
        (e) => setPreview({ due: [], wrong: sayError(e) }),
      );
    }, 250);
    return () => clearTimeout(timer);
  }, [form.cron, form.timezone]);
  const save = async (): Promise<void> => {
    setBusy(true);
    try {
      const body = { ...form, function_id: fn, name: form.name || null, payload: JSON.parse(payload || "null") as unknown } as never;
      if (s) await must(api.PATCH("/schedules/{id}", { params: { path: { id: s.id } }, body }));
      else await must(api.POST("/schedules", { body }));
      await done();
      toast(s ? `${form.name} is saved` : "The schedule is created");
      close();
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  };
  const zones = [...new Set([form.timezone, ownZone(), "UTC", ...Intl.supportedValuesOf("timeZone")])];
  return (
    <Dialog
      title={s ? `Edit ${s.name}` : "New schedule"}
      onClose={close}
      onSubmit={() => void save()}
      footer={
        <>
          <Button kind="bare" onClick={close}>
            Cancel
          </Button>
          <Button kind="primary" type="submit" busy={busy}>
            {s ? "Save schedule" : "Create schedule"}
          </Button>
        </>
      }
    >
      <div class="bd">
        <SelectField label="Function" value={fn} options={options} onChange={set("function_id")} wrong={wrong.function_id} />
        <TextField label="Name" value={form.name} onInput={set("name")} wrong={wrong.name} placeholder="nightly-report" />
        <TextField label="When" value={form.cron} onInput={set("cron")} wrong={preview.wrong ?? wrong.cron} help={<>{cronWords(form.cron) ?? "A cron expression, or an interval such as “30 seconds”"}{preview.due[0] ? `. Next: ${preview.due.map((d) => `${weekday(d, form.timezone)}, ${shortClock(d, form.timezone)}`).join("; ")}` : ""}</>} />
        <div class="row wrap">
          {COMMON.map(([cron, text]) => (
            <Button small key={cron} pressed={form.cron === cron} onClick={() => set("cron")(cron)}>
              {text}
            </Button>
          ))}
        </div>
        <SelectField label="Time zone" value={form.timezone} options={zones.map((z) => [z, z])} onChange={set("timezone")} />
        <div class="fieldgrid">
          <SelectField
            label="If it is still running"
            value={form.overlap}
            options={[
              ["skip", "Skip"],
              ["queue", "Queue the next one"],
            ]}
            onChange={set("overlap")}
          />
          <SelectField
            label="If due times were missed"
            value={form.missed}
            options={[
              ["skip", "Skip them"],
              ["once", "Fire once for all"],
              ["all", "Fire each"],
            ]}
            onChange={set("missed")}
          />
        </div>
        <div class="field">
          <span class="lab">Payload</span>
          <div class="smalleditor">
            <CodeEditor small label="Payload" file="payload.json" text={payload} onChange={setPayload} />
          </div>
        </div>
        {error !== undefined && !Object.keys(wrong).length && (
          <p class="err" role="alert">
            {error instanceof SyntaxError ? `The payload is not JSON: ${error.message}` : sayError(error)}
          </p>
        )}
      </div>
    </Dialog>
  );
}
