import { useState } from "preact/hooks";
import { useLocation } from "wouter-preact";
import { api, must } from "../api/client.ts";
import { ApiError, fieldErrors, sayError } from "../api/errors.ts";
import type { FunctionDetails } from "../api/types.ts";
import { invalidate } from "../state/data.ts";
import { useHere } from "../state/session.ts";
import { toast } from "../state/toast.ts";
import { at } from "../support/routes.ts";
import { formatDuration } from "../support/format.ts";
import { Button, Facts, SelectField, Switch, TextField } from "../parts/basic.tsx";
import { Box } from "../parts/data.tsx";
import { Confirm } from "../parts/overlays.tsx";
import { SecretList } from "./secrets.tsx";
import type { FunctionProps } from "./function.tsx";

export default function Settings({ fn, reload }: FunctionProps) {
  const { may } = useHere();
  const [, go] = useLocation();
  const [deleting, setDeleting] = useState(false);
  if (!may("developer"))
    return (
      <div class="scroll">
        <div class="page stack form">
          <Box title="Settings">
            <div class="body">
              <Facts items={summary(fn)} />
            </div>
          </Box>
        </div>
      </div>
    );
  return (
    <div class="scroll">
      <div class="page stack form">
        <Form key={fn.revision} fn={fn} reload={reload} />
        <Environment key={`e${fn.revision}`} fn={fn} reload={reload} />
        <SecretList fn={fn.id} title="Secrets of this function" />
        <Box title="Delete">
          <div class="body row between wrap">
            <p class="soft">Deletes its versions, schedules and webhooks too, and cancels queued invocations.</p>
            <Button kind="danger" onClick={() => setDeleting(true)}>
              Delete function
            </Button>
          </div>
        </Box>
      </div>
      {deleting && (
        <Confirm
          title={`Delete ${fn.slug}?`}
          action="Delete function"
          danger
          typed={fn.slug}
          onClose={() => setDeleting(false)}
          run={async () => {
            await must(api.DELETE("/functions/{id}", { params: { path: { id: fn.id } } }));
            toast(`${fn.slug} is deleted`);
            go(at("functions"));
          }}
        >
          All {fn.version} versions are deleted with it. This cannot be undone.
        </Confirm>
      )}
    </div>
  );
}

const summary = (fn: FunctionDetails): [string, string][] => [
  ["Time", formatDuration(fn.timeout_ms)],
  ["Memory", `${fn.memory_mb} MB`],
  ["Attempts", String(fn.max_attempts)],
  ["Runs at once", fn.max_concurrency ? String(fn.max_concurrency) : "no limit of its own"],
  ["Who may call it", AUTH.find(([k]) => k === fn.auth)?.[1] ?? fn.auth],
  ["Network", fn.network === "none" ? "closed" : "open"],
];
const AUTH: [string, string][] = [
  ["api_key", "Callers with an API key"],
  ["jwt", "Signed-in users (JWT)"],
  ["none", "Everybody"],
];

function Form({ fn, reload }: { fn: FunctionDetails; reload: () => Promise<void> }) {
  const start = {
    description: fn.description,
    timeout_ms: String(fn.timeout_ms),
    memory_mb: String(fn.memory_mb),
    max_attempts: String(fn.max_attempts),
    max_concurrency: fn.max_concurrency === null ? "" : String(fn.max_concurrency),
    auth: fn.auth as string,
    network: fn.network as string,
    tags: fn.tags.join(", "),
    enabled: fn.enabled,
  };
  const [form, setForm] = useState(start);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const wrong = fieldErrors(error);
  const set = (name: keyof typeof start) => (v: string | boolean) => setForm({ ...form, [name]: v });
  const changed = JSON.stringify(form) !== JSON.stringify(start);
  const save = async (): Promise<void> => {
    setBusy(true);
    setError(undefined);
    try {
      const body = {
        description: form.description,
        timeout_ms: Number(form.timeout_ms),
        memory_mb: Number(form.memory_mb),
        max_attempts: Number(form.max_attempts),
        max_concurrency: form.max_concurrency === "" ? null : Number(form.max_concurrency),
        auth: form.auth,
        network: form.network,
        tags: form.tags.split(",").map((t) => t.trim()).filter(Boolean),
        enabled: form.enabled,
      };
      await must(api.PATCH("/functions/{id}", { params: { path: { id: fn.id }, header: { "If-Match": `"${fn.revision}"` } as never }, body: body as never }));
      toast(`Settings of ${fn.slug} saved`);
      invalidate("functions ");
      await reload();
    } catch (problem) {
      setError(problem);
    }
    setBusy(false);
  };
  const number = { inputMode: "numeric" as const, pattern: "[0-9]*" };
  return (
    <Box title="Settings" actions={<span class="row">Enabled <Switch label="Enabled" on={form.enabled} onChange={set("enabled")} /></span>}>
      <form
        class="body stack"
        onSubmit={(e) => {
          e.preventDefault();
          void save();
        }}
      >
        <TextField label="Description" value={form.description} onInput={set("description")} wrong={wrong.description} help="One line, shown in the list." />
        <div class="fieldgrid">
          <TextField label="Time limit, ms" {...number} value={form.timeout_ms} onInput={set("timeout_ms")} wrong={wrong.timeout_ms} />
          <TextField label="Memory, MB" {...number} value={form.memory_mb} onInput={set("memory_mb")} wrong={wrong.memory_mb} />
          <TextField label="Largest number of attempts" {...number} value={form.max_attempts} onInput={set("max_attempts")} wrong={wrong.max_attempts} help="1: failed attempts are not retried." />
          <TextField label="Runs at once" {...number} value={form.max_concurrency} onInput={set("max_concurrency")} wrong={wrong.max_concurrency} help="Empty: only the project’s limit applies." />
          <SelectField label="Who may call it" value={form.auth} options={AUTH} onChange={set("auth")} wrong={wrong.auth} />
          <SelectField
            label="Network"
            value={form.network}
            options={[
              ["open", "Open: connects to anything"],
              ["none", "Closed: only the database"],
            ]}
            onChange={set("network")}
            wrong={wrong.network}
          />
        </div>
        <TextField label="Tags" value={form.tags} onInput={set("tags")} wrong={wrong.tags} help="Separated by commas." />
        {error !== undefined && !Object.keys(wrong).length && (
          <p class="err" role="alert">
            {error instanceof ApiError && error.status === 412 ? "Somebody else has changed this function. Copy your changes, then reload the page." : sayError(error)}
          </p>
        )}
        <div class="row">
          <Button kind="primary" type="submit" busy={busy} off={!changed && "No changes"}>
            Save settings
          </Button>
          {changed && (
            <Button kind="bare" onClick={() => setForm(start)}>
              Undo
            </Button>
          )}
        </div>
      </form>
    </Box>
  );
}

function Environment({ fn, reload }: { fn: FunctionDetails; reload: () => Promise<void> }) {
  const [rows, setRows] = useState<[string, string][]>(Object.entries(fn.env_vars as Record<string, string>));
  const [wrong, setWrong] = useState<string>();
  const [busy, setBusy] = useState(false);
  const changed = JSON.stringify(Object.fromEntries(rows.filter(([k]) => k))) !== JSON.stringify(fn.env_vars);
  const save = async (): Promise<void> => {
    setBusy(true);
    setWrong(undefined);
    try {
      await must(api.PATCH("/functions/{id}", { params: { path: { id: fn.id }, header: { "If-Match": `"${fn.revision}"` } as never }, body: { env_vars: Object.fromEntries(rows.filter(([k]) => k)) } as never }));
      toast(`Variables of ${fn.slug} saved`);
      await reload();
    } catch (error) {
      setWrong(sayError(error));
    }
    setBusy(false);
  };
  return (
    <Box
      title="Environment variables"
      actions={
        <Button small icon="plus" onClick={() => setRows([...rows, ["", ""]])}>
          Add
        </Button>
      }
    >
      <div class="body stack">
        <p class="soft">{rows.length ? "" : "None. "}Every member can read them. Store passwords as secrets.</p>
        {rows.map(([name, value], k) => (
          <div class="row pairs" key={k}>
            <div class="in">
              <input class="mono" aria-label={`Name of variable ${k + 1}`} value={name} placeholder="NAME" onInput={(e) => setRows(rows.map((r, n) => (n === k ? [e.currentTarget.value, r[1]] : r)))} />
            </div>
            <div class="in grow">
              <input class="mono" aria-label={`Value of ${name || `variable ${k + 1}`}`} value={value} onInput={(e) => setRows(rows.map((r, n) => (n === k ? [r[0], e.currentTarget.value] : r)))} />
            </div>
            <Button kind="bare" icon="x" label={`Remove ${name || "the variable"}`} onClick={() => setRows(rows.filter((_, n) => n !== k))} />
          </div>
        ))}
        {wrong && (
          <p class="err" role="alert">
            {wrong}
          </p>
        )}
        {(changed || rows.length > 0) && (
          <div>
            <Button busy={busy} off={!changed && "No changes"} onClick={() => void save()}>
              Save variables
            </Button>
          </div>
        )}
      </div>
    </Box>
  );
}
