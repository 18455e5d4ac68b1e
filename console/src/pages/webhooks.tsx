import { useEffect, useState } from "preact/hooks";
import { Link, useLocation } from "wouter-preact";
import { api, call, must } from "../api/client.ts";
import { fieldErrors, sayError } from "../api/errors.ts";
import type { Delivery, DeliverySummary, Page, Webhook } from "../api/types.ts";
import { listen } from "../live/stream.ts";
import { invalidate, setData, useData } from "../state/data.ts";
import { useHere } from "../state/session.ts";
import { toast } from "../state/toast.ts";
import { at, fnAt, invocationAt, withQuery } from "../support/routes.ts";
import { eventOf } from "../support/events.ts";
import { PRESETS, presetName } from "../support/presets.ts";
import { useQuery } from "../support/query.ts";
import { clock, exact, formatBytes, shortId } from "../support/format.ts";
import { Bones, Button, CopyButton, Empty, Failed, Icon, Input, Field, Segmented, SelectField, StatusMark, Switch, TextField } from "../parts/basic.tsx";
import { Box, Json } from "../parts/data.tsx";
import { CodeEditor } from "../parts/editor.tsx";
import { Confirm, Dialog, Menu } from "../parts/overlays.tsx";
import { Bar } from "../parts/shell.tsx";
import { usePageKeys } from "../parts/keys.tsx";
import { functionOptions } from "./schedules.tsx";

export default function Webhooks({ id }: { id: string | undefined }) {
  const { may } = useHere();
  const [query, setQuery] = useQuery();
  const [, go] = useLocation();
  const list = useData("webhooks", () => must(api.GET("/webhooks", { params: { query: { limit: 100 } } })));
  const [made, setMade] = useState<{ name: string; secret: string } | null>(null);
  const items = list.data?.items ?? [];
  const narrow = matchMedia("(max-width: 720px)").matches;
  const chosen = items.find((w) => w.id === id) ?? (narrow ? undefined : items[0]);
  usePageKeys({ C: () => may("developer") && setQuery({ new: "" }) });
  return (
    <>
      <Bar
        title="Webhooks"
        count={list.data ? items.length : undefined}
        line
        {...(id && narrow ? { back: ["Webhooks", at("webhooks")] as [string, string] } : {})}
        actions={
          may("developer") && (
            <Button kind="primary" icon="plus" keys="C" onClick={() => go(`${at("webhooks")}?new=`)}>
              New webhook
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
        <Empty title="No webhooks" actions={may("developer") && <Button onClick={() => setQuery({ new: "" })}>New webhook</Button>}>
          A webhook is an address for another service. It checks the sender’s signature, queues a call and answers at once.
        </Empty>
      )}
      {items.length > 0 && (
        <div class={`master hookm ${id ? "open" : ""}`}>
          <div class="hooklist scroll">
            <ul class="sidelist" data-list>
              {items.map((w) => (
                <li key={w.id} class={w === chosen ? "on" : ""}>
                  <Link class="go" href={at("webhooks", w.id)} aria-current={w === chosen ? "true" : undefined}>
                    <span class="row between">
                      <b class="m cut">{w.name}</b>
                      {!w.enabled && <span class="tag">disabled</span>}
                    </span>
                    <span class="row between meta">
                      <span class="cut">
                        {presetName(w.preset)} to {w.function}
                      </span>
                    </span>
                  </Link>
                </li>
              ))}
            </ul>
          </div>
          {chosen && <Detail key={chosen.id} w={chosen} reload={list.reload} showSecret={setMade} />}
        </div>
      )}
      {query.new !== undefined && (
        <Form
          given={query.new}
          close={() => setQuery({ new: null })}
          done={async (w, secret) => {
            await list.reload();
            go(at("webhooks", w.id));
            if (secret) setMade({ name: w.name, secret });
          }}
        />
      )}
      {made && (
        <Dialog title={`Secret of ${made.name}`} onClose={() => setMade(null)} footer={<Button onClick={() => setMade(null)}>I have copied it</Button>}>
          <div class="bd">
            <p>The sender signs with it. It is shown only once; afterwards it can only be replaced.</p>
            <div class="in ro">
              <code class="grow cut">{made.secret}</code>
              <CopyButton text={made.secret} label="Copy the secret" />
            </div>
          </div>
        </Dialog>
      )}
    </>
  );
}

const address = (w: Webhook): string => location.origin + w.path;

function Detail({ w, reload, showSecret }: { w: Webhook; reload: () => Promise<void>; showSecret: (s: { name: string; secret: string }) => void }) {
  const { may } = useHere();
  const [query, setQuery] = useQuery();
  const [testing, setTesting] = useState(false);
  const [rotating, setRotating] = useState(false);
  const [deleting, setDeleting] = useState(false);
  const verdict = query.verdict ?? "";
  const path = withQuery(`/webhooks/${w.id}/deliveries`, { verdict, limit: 50 });
  const list = useData(`deliveries ${path}`, () => call<Page<DeliverySummary>>("GET", path));
  useEffect(() => listen("invocations", (e) => e.items.some((i) => i.source === "webhook" && i.function_id === w.function_id) && void list.reload()), [w.id, verdict]);
  const items = list.data?.items ?? [];
  const chosen = items.find((d) => d.id === query.delivery) ?? null;
  const toggle = async (enabled: boolean): Promise<void> => {
    const put = (on: boolean): void => setData<Page<Webhook>>("webhooks", (old) => old && { ...old, items: old.items.map((x) => (x.id === w.id ? { ...x, enabled: on } : x)) });
    put(enabled);
    try {
      await must(api.PATCH("/webhooks/{id}", { params: { path: { id: w.id } }, body: { enabled } as never }));
      toast(enabled ? `${w.name} is enabled` : `${w.name} is disabled`);
    } catch (error) {
      put(!enabled);
      toast(sayError(error));
    }
  };
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={w.name}>
      <div class="page stack">
        <div class="row between wrap">
          <div>
            <h2 class="big">{w.name}</h2>
            <span class="soft">
              {w.preset === "none" ? "Unsigned: anybody who knows the address may send" : PRESETS.find(([k]) => k === w.preset)?.[1]}
              {["stripe", "slack", "standard"].includes(w.preset) ? `, at most ${w.replay_window_seconds / 60} minutes old` : ""}. Runs{" "}
              <Link class="link" href={fnAt(w.function)}>
                {w.function}
              </Link>
            </span>
          </div>
          {may("developer") && (
            <div class="row">
              <Switch on={w.enabled} label="Enabled" onChange={(on) => void toggle(on)} />
              <Button icon="send" onClick={() => setTesting(true)}>
                Send a test
              </Button>
              <Menu label="More" items={[{ label: "Delete", danger: true, run: () => setDeleting(true) }]} />
            </div>
          )}
        </div>
        <div class="cols two-cols">
          <div class="field">
            <span class="lab">Address for the sender</span>
            <div class="in ro">
              <span class="mono cut grow">{address(w)}</span>
              <CopyButton text={address(w)} label="Copy the address" />
            </div>
          </div>
          {w.preset !== "none" && (
            <div class="field">
              <span class="lab">Signing secret</span>
              <div class="in ro">
                <span class="grow quiet cut">{w.previous_secret_valid_until ? `The previous one is valid until ${clock(w.previous_secret_valid_until)}` : "Set; cannot be shown"}</span>
                {may("developer") && (
                  <Button kind="bare" small onClick={() => setRotating(true)}>
                    Rotate
                  </Button>
                )}
              </div>
            </div>
          )}
        </div>
        <Box
          title="Deliveries"
          actions={
            <Segmented
              small
              label="Verdict"
              value={verdict}
              options={[
                ["", "All"],
                ["refused", "Refused"],
                ["duplicate", "Duplicates"],
              ]}
              onChange={(v) => setQuery({ verdict: v || null, delivery: null })}
            />
          }
        >
          {!!list.error && <Failed error={list.error} what="The deliveries could not be loaded." retry={() => void list.reload()} />}
          {list.data && !items.length && (
            <div class="body">
              <p class="soft">{verdict ? "None." : "No deliveries yet. Send a test, or configure the URL at the sender."}</p>
            </div>
          )}
          {items.length > 0 && (
            <table class="tbl in-box deliv">
              <thead>
                <tr>
                  <th>Time</th>
                  <th>Verdict</th>
                  <th>Event or reason</th>
                  <th>Message id</th>
                  <th>Answer</th>
                  <th>Invocation</th>
                </tr>
              </thead>
              <tbody>
                {items.map((d) => (
                  <tr key={d.id} aria-selected={d.id === chosen?.id || undefined}>
                    <td class="num c-at" title={exact(d.received_at)}>
                      {clock(d.received_at)}
                    </td>
                    <td class="c-v">
                      <StatusMark status={{ accepted: "success", duplicate: "cancelled", refused: "error" }[d.verdict as string] ?? "queued"} word={d.test ? `${d.verdict}, test` : d.verdict} />
                    </td>
                    <td class="c-ev">
                      <Link class="go cut block" href={withQuery(at("webhooks", w.id), { ...query, delivery: d.id })} title={`${formatBytes(d.body_size)} from ${d.client}`}>
                        <About d={d} />
                      </Link>
                    </td>
                    <td class="mono quiet c-id cut">{d.message_id ?? "–"}</td>
                    <td class="num c-code">{d.status_code}</td>
                    <td class="mono c-inv">
                      {d.invocation_id ? (
                        <Link class="link over" href={invocationAt(d.invocation_id)}>
                          {shortId(d.invocation_id)}
                        </Link>
                      ) : (
                        <span class="quiet">none</span>
                      )}
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          )}
        </Box>
        {chosen && <DeliveryBox w={w} id={chosen.id} done={list.reload} />}
      </div>
      {testing && <SendTest w={w} close={() => setTesting(false)} done={async (d) => (await list.reload(), setQuery({ delivery: d.id, verdict: null }))} />}
      {rotating && (
        <Confirm
          title={`Rotate the secret of ${w.name}?`}
          action="Rotate the secret"
          onClose={() => setRotating(false)}
          run={async () => {
            const next = await must(api.POST("/webhooks/{id}/rotate", { params: { path: { id: w.id } }, body: {} as never }));
            await reload();
            if (next.secret) showSecret({ name: w.name, secret: next.secret });
          }}
        >
          A new secret is made and shown once. The old one stays valid for a day, so that the sender can change over.
        </Confirm>
      )}
      {deleting && (
        <Confirm
          title={`Delete the webhook ${w.name}?`}
          action="Delete webhook"
          danger
          onClose={() => setDeleting(false)}
          run={async () => {
            await must(api.DELETE("/webhooks/{id}", { params: { path: { id: w.id } } }));
            await reload();
            toast(`${w.name} is deleted`);
          }}
        >
          Its address answers 404 from now on. A new one has another address.
        </Confirm>
      )}
    </div>
  );
}

/** Why it was refused, or else the event that the body names, or how the body begins if it names none. */
function About({ d }: { d: DeliverySummary }) {
  const named = d.detail ?? (d.verdict === "refused" ? d.code : (eventOf(d.headers) ?? d.event));
  if (named) return <>{named}</>;
  return d.beginning ? <span class="mono soft">{d.beginning}</span> : <>{formatBytes(d.body_size)}</>;
}

const kept = (d: Delivery): boolean => d.body !== null || d.body_base64 !== null;
const headersOf = (d: Delivery): [string, string][] => Object.entries((d.headers ?? {}) as Record<string, string | string[]>).flatMap(([name, value]) => [value].flat().map((v): [string, string] => [name, v]));

function DeliveryBox({ w, id, done }: { w: Webhook; id: string; done: () => Promise<void> }) {
  const { may } = useHere();
  const found = useData(`delivery ${id}`, () => call<Delivery>("GET", `/webhooks/${w.id}/deliveries/${id}`));
  const [busy, setBusy] = useState(false);
  const d = found.data;
  if (!d) return found.error ? <Failed error={found.error} what="The delivery could not be loaded." /> : <Bones rows={3} />;
  const body = d.body;
  let parsed: unknown = body;
  try {
    if (body) parsed = JSON.parse(body) as unknown;
  } catch {
    // No JSON: it is shown as text.
  }
  const again = async (): Promise<void> => {
    setBusy(true);
    try {
      await call("POST", `/webhooks/${w.id}/deliveries/${d.id}/redeliver`);
      toast("Redelivered");
      await done();
      invalidate("deliveries");
    } catch (error) {
      toast(sayError(error));
    }
    setBusy(false);
  };
  return (
    <Box
      title={d.message_id ?? "Delivery"}
      aside={`${clock(d.received_at)}, ${formatBytes(d.body_size)}`}
      actions={
        may("developer") &&
        kept(d) && (
          <Button small icon="retry" busy={busy} onClick={() => void again()}>
            Redeliver
          </Button>
        )
      }
    >
      <div class="body stack">
        {d.verdict === "refused" && (
          <div class="note bad">
            <Icon name="warn" />
            <div>
              <b>Refused{d.detail ? ": " : "."}</b>
              {d.detail} {d.code && <code>{d.code}</code>}
            </div>
          </div>
        )}
        <div class="cols two-cols">
          <div>
            <h3>Headers</h3>
            <div class="hdrs mono">
              {headersOf(d).map(([name, value], k) => [<span key={`${k}n`}>{name}</span>, <span key={`${k}v`}>{value}</span>])}
            </div>
          </div>
          <div>
            <h3>Body</h3>
            {!kept(d) ? <p class="soft">Not stored: larger than 64 KB.</p> : body === null ? <p class="soft">Binary data.</p> : <Json value={parsed} label="Body" />}
          </div>
        </div>
      </div>
    </Box>
  );
}

function SendTest({ w, close, done }: { w: Webhook; close: () => void; done: (d: Delivery) => Promise<unknown> }) {
  const [payload, setPayload] = useState('{\n  "type": "test"\n}');
  const [busy, setBusy] = useState(false);
  const [wrong, setWrong] = useState<string>();
  const send = async (): Promise<void> => {
    setBusy(true);
    try {
      const d = await call<Delivery>("POST", `/webhooks/${w.id}/test`, { payload: JSON.parse(payload) as unknown });
      await done(d);
      toast(`The test got the status ${d.status_code}`);
      close();
    } catch (error) {
      setWrong(error instanceof SyntaxError ? `The payload is not JSON: ${error.message}` : sayError(error));
      setBusy(false);
    }
  };
  return (
    <Dialog
      title={`Send a test to ${w.name}`}
      onClose={close}
      onSubmit={() => void send()}
      footer={
        <>
          <Button kind="bare" onClick={close}>
            Cancel
          </Button>
          <Button kind="primary" type="submit" busy={busy}>
            Send the test
          </Button>
        </>
      }
    >
      <div class="bd">
        <p>It is signed with the webhook’s secret, verified like any other and invokes {w.function}.</p>
        <div class="smalleditor">
          <CodeEditor small label="Payload" file="payload.json" text={payload} onChange={setPayload} />
        </div>
        {wrong && (
          <p class="err" role="alert">
            {wrong}
          </p>
        )}
      </div>
    </Dialog>
  );
}

function Form({ given, close, done }: { given: string; close: () => void; done: (w: Webhook, secret: string | null) => Promise<void> }) {
  const { options } = functionOptions();
  const [form, setForm] = useState({ name: "", function_id: "", preset: "hmac", secret: "" });
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const wrong = fieldErrors(error);
  const set = (name: keyof typeof form) => (v: string) => setForm({ ...form, [name]: v });
  const fn = form.function_id || options.find(([, slug]) => slug === given)?.[0] || options[0]?.[0] || "";
  const save = async (): Promise<void> => {
    setBusy(true);
    try {
      const w = await must(api.POST("/webhooks", { body: { function_id: fn, preset: form.preset, name: form.name || null, secret: form.secret || null } as never }));
      close();
      await done(w, form.secret ? null : w.secret);
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  };
  return (
    <Dialog
      title="New webhook"
      onClose={close}
      onSubmit={() => void save()}
      footer={
        <>
          <Button kind="bare" onClick={close}>
            Cancel
          </Button>
          <Button kind="primary" type="submit" busy={busy}>
            Create webhook
          </Button>
        </>
      }
    >
      <div class="bd">
        <TextField label="Name" value={form.name} onInput={set("name")} wrong={wrong.name} placeholder="stripe-payments" />
        <SelectField label="Function" value={fn} options={options} onChange={set("function_id")} wrong={wrong.function_id} />
        <SelectField label="Signature" value={form.preset} options={PRESETS} onChange={set("preset")} wrong={wrong.preset} />
        {form.preset !== "none" && (
          <Field label="Secret" wrong={wrong.secret} help="Empty: one is generated and shown once. Services such as Stripe generate their own.">
            {(p) => <Input {...p} type="password" autocomplete="new-password" value={form.secret} onInput={set("secret")} />}
          </Field>
        )}
        {error !== undefined && !Object.keys(wrong).length && (
          <p class="err" role="alert">
            {sayError(error)}
          </p>
        )}
      </div>
    </Dialog>
  );
}
