import { useState } from "preact/hooks";
import { Link } from "wouter-preact";
import { api, must } from "../api/client.ts";
import { fieldErrors, sayError } from "../api/errors.ts";
import type { Change } from "../api/types.ts";
import { useData } from "../state/data.ts";
import { useHere } from "../state/session.ts";
import { toast } from "../state/toast.ts";
import { fnAt } from "../support/routes.ts";
import { useQuery } from "../support/query.ts";
import { Bones, Button, Check, Empty, Failed, SelectField, TextField } from "../parts/basic.tsx";
import { Confirm, Dialog } from "../parts/overlays.tsx";
import { Bar } from "../parts/shell.tsx";
import { usePageKeys } from "../parts/keys.tsx";
import { functionOptions } from "./schedules.tsx";

export default function Changes() {
  const { may } = useHere();
  const [query, setQuery] = useQuery();
  const [stopping, setStopping] = useState<Change | null>(null);
  const list = useData("changes", () => must(api.GET("/changes")));
  const items = list.data?.items ?? [];
  usePageKeys({ C: () => may("developer") && setQuery({ new: "" }) });
  return (
    <>
      <Bar
        title="Table changes"
        count={list.data ? items.length : undefined}
        line
        actions={
          may("developer") && (
            <Button kind="primary" icon="plus" keys="C" onClick={() => setQuery({ new: "" })}>
              Follow a table
            </Button>
          )
        }
      />
      <div class="scroll">
        {!!list.error && (
          <div class="page">
            <Failed error={list.error} what="The list could not be loaded." retry={() => void list.reload()} />
          </div>
        )}
        {!list.data && !list.error && <Bones />}
        {list.data && !items.length && (
          <Empty title="No table changes" actions={may("developer") && <Button onClick={() => setQuery({ new: "" })}>Follow a table</Button>}>
            A function runs for each row that is inserted, updated or deleted, in the same transaction as the change.
          </Empty>
        )}
        {items.length > 0 && (
          <table class="tbl two plainlist">
            <thead class="stick">
              <tr>
                <th>Table</th>
                <th>Function</th>
                <th>On</th>
                <th>Only when</th>
                <th />
              </tr>
            </thead>
            <tbody>
              {items.map((c) => (
                <tr key={`${c.table} ${c.function_id}`}>
                  <td class="m">{c.table}</td>
                  <td>
                    <Link class="link" href={fnAt(c.function)}>
                      {c.function}
                    </Link>
                  </td>
                  <td class="soft">
                    {c.events.join(", ").toLowerCase()}
                    {c.columns && <div class="meta">of {c.columns.join(", ")}</div>}
                  </td>
                  <td>{c.when ? <code>{c.when}</code> : <span class="quiet">always</span>}</td>
                  <td class="r">
                    {may("developer") && c.function_id && (
                      <Button small kind="danger" onClick={() => setStopping(c)}>
                        Stop
                      </Button>
                    )}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
      </div>
      {query.new !== undefined && <Form given={query.new} close={() => setQuery({ new: null })} done={list.reload} />}
      {stopping && (
        <Confirm
          title={`Stop invoking ${stopping.function} on changes of ${stopping.table}?`}
          action="Stop"
          danger
          onClose={() => setStopping(null)}
          run={async () => {
            await must(api.DELETE("/changes", { params: { query: { table: stopping.table, function_id: stopping.function_id! } } }));
            await list.reload();
            toast(`Changes of ${stopping.table} no longer invoke ${stopping.function}`);
          }}
        >
          Changes made from now on invoke nothing.
        </Confirm>
      )}
    </>
  );
}

const EVENTS = ["INSERT", "UPDATE", "DELETE"] as const;
function Form({ given, close, done }: { given: string; close: () => void; done: () => Promise<void> }) {
  const { options } = functionOptions();
  const [table, setTable] = useState("");
  const [chosen, setChosen] = useState("");
  const [events, setEvents] = useState<string[]>(["INSERT"]);
  const [when, setWhen] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const wrong = fieldErrors(error);
  const fn = chosen || options.find(([, slug]) => slug === given)?.[0] || options[0]?.[0] || "";
  const save = async (): Promise<void> => {
    setBusy(true);
    try {
      await must(api.POST("/changes", { body: { table, function_id: fn, events, when: when || null } as never }));
      await done();
      toast(`Changes of ${table} are passed on`);
      close();
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  };
  return (
    <Dialog
      title="Follow a table"
      onClose={close}
      onSubmit={() => void save()}
      footer={
        <>
          <Button kind="bare" onClick={close}>
            Cancel
          </Button>
          <Button kind="primary" type="submit" busy={busy} off={!table || !events.length ? "Choose a table and an event" : false}>
            Follow the table
          </Button>
        </>
      }
    >
      <div class="bd">
        <TextField label="Table" value={table} onInput={setTable} wrong={wrong.table} placeholder="orders" autocomplete="off" />
        <SelectField label="Function" value={fn} options={options} onChange={setChosen} wrong={wrong.function_id} />
        <div class="field">
          <span class="lab">On</span>
          <div class="row">
            {EVENTS.map((e) => (
              <label class="row" key={e}>
                <Check on={events.includes(e)} label={e.toLowerCase()} onChange={(on) => setEvents(on ? [...events, e] : events.filter((x) => x !== e))} />
                {e.toLowerCase()}
              </label>
            ))}
          </div>
        </div>
        <TextField label="Only when" value={when} onInput={setWhen} wrong={wrong.when} placeholder="new.status = 'paid'" help="An SQL condition on old and new. Empty: every change." />
        {error !== undefined && !Object.keys(wrong).length && (
          <p class="err" role="alert">
            {sayError(error)}
          </p>
        )}
      </div>
    </Dialog>
  );
}
