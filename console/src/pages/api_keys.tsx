import { useState } from "preact/hooks";
import { api, must } from "../api/client.ts";
import { fieldErrors, sayError } from "../api/errors.ts";
import type { Key } from "../api/types.ts";
import { useData } from "../state/data.ts";
import { useHere } from "../state/session.ts";
import { toast } from "../state/toast.ts";
import { keySnippets } from "../support/snippets.ts";
import { Ago, Bones, Button, CopyButton, Empty, Failed, SelectField, TextField } from "../parts/basic.tsx";
import { Confirm, Dialog, SnippetTabs } from "../parts/overlays.tsx";
import { Bar } from "../parts/shell.tsx";
import { usePageKeys } from "../parts/keys.tsx";

export default function Keys() {
  const { may } = useHere();
  const [creating, setCreating] = useState(false);
  const [made, setMade] = useState<{ name: string; key: string } | null>(null);
  const [revoking, setRevoking] = useState<Key | null>(null);
  const list = useData(may("developer") ? "keys" : null, () => must(api.GET("/keys", { params: { query: { limit: 100 } } })));
  const items = list.data?.items ?? [];
  usePageKeys({ C: () => may("owner") && setCreating(true) });
  return (
    <>
      <Bar
        title="API keys"
        count={list.data ? items.length : undefined}
        line
        actions={
          may("owner") && (
            <Button kind="primary" icon="plus" keys="C" onClick={() => setCreating(true)}>
              New key
            </Button>
          )
        }
      />
      <div class="scroll">
        {!may("developer") && <Empty title="Viewers cannot see API keys." />}
        {!!list.error && (
          <div class="page">
            <Failed error={list.error} what="The list could not be loaded." retry={() => void list.reload()} />
          </div>
        )}
        {may("developer") && !list.data && !list.error && <Bones />}
        {list.data && !items.length && (
          <Empty title="No API keys" actions={may("owner") && <Button onClick={() => setCreating(true)}>New key</Button>}>
            Programs call functions with a key, in the header x-api-key.
          </Empty>
        )}
        {items.length > 0 && (
          <table class="tbl two plainlist">
            <thead class="stick">
              <tr>
                <th>Name</th>
                <th>Prefix</th>
                <th>For</th>
                <th>Last used</th>
                <th>Expires</th>
                <th>Made</th>
                <th />
              </tr>
            </thead>
            <tbody>
              {items.map((k) => (
                <tr key={k.id} class={k.revoked_at ? "off" : ""}>
                  <td class="m">
                    {k.name} {k.scope === "deploy" && <span class="tag">deploys</span>} {k.revoked_at ? <span class="tag">revoked</span> : expired(k) && <span class="tag amber">expired</span>}
                  </td>
                  <td class="mono soft">{k.prefix}…</td>
                  <td class="soft">{k.functions ? k.functions.join(", ") : "all functions"}</td>
                  <td class="quiet" data-label="last used">{k.last_used_at ? <Ago at={k.last_used_at} /> : "never"}</td>
                  <td class={expired(k) ? "amber" : "quiet"} data-label="expires">{k.expires_at ? <Ago at={k.expires_at} /> : "never"}</td>
                  <td class="quiet" data-label="made">
                    <Ago at={k.created_at} />
                    {k.created_by && ` by ${k.created_by}`}
                  </td>
                  <td class="r">
                    {may("owner") && !k.revoked_at && (
                      <Button small kind="danger" onClick={() => setRevoking(k)}>
                        Revoke
                      </Button>
                    )}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
      </div>
      {creating && <Form close={() => setCreating(false)} done={async (k) => (await list.reload(), setMade(k))} />}
      {made && (
        <Dialog title={`Key ${made.name}`} onClose={() => setMade(null)} footer={<Button onClick={() => setMade(null)}>I have copied it</Button>}>
          <div class="bd">
            <p>It is shown only once.</p>
            <div class="in ro">
              <code class="grow cut">{made.key}</code>
              <CopyButton text={made.key} label="Copy the key" />
            </div>
          </div>
        </Dialog>
      )}
      {revoking && (
        <Confirm
          title={`Revoke the key ${revoking.name}?`}
          action="Revoke key"
          danger
          onClose={() => setRevoking(null)}
          run={async () => {
            await must(api.DELETE("/keys/{id}", { params: { path: { id: revoking.id } } }));
            await list.reload();
            toast(`${revoking.name} is revoked`);
          }}
        >
          Programs that use it are refused from now on. This cannot be undone.
        </Confirm>
      )}
    </>
  );
}

const expired = (k: Key): boolean => !!k.expires_at && Date.parse(k.expires_at) <= Date.now();
const SCOPES: [string, string][] = [
  ["invoke", "Invokes functions"],
  ["deploy", "Deploys functions, in CI"],
];

function Form({ close, done }: { close: () => void; done: (k: { name: string; key: string }) => Promise<unknown> }) {
  const [name, setName] = useState("");
  const [scope, setScope] = useState("invoke");
  const [functions, setFunctions] = useState("");
  const [expiry, setExpiry] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const wrong = fieldErrors(error);
  const slugs = functions.split(",").map((slug) => slug.trim()).filter(Boolean);
  const unnamed = Object.entries(wrong).find(([field]) => field.startsWith("functions"))?.[1];
  const save = async (): Promise<void> => {
    setBusy(true);
    try {
      const k = await must(api.POST("/keys", { body: { name, scope, functions: slugs.length ? slugs : null, expires_at: expiry ? new Date(Date.now() + Number(expiry) * 86_400_000).toISOString() : null } as never }));
      close();
      await done(k);
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  };
  return (
    <Dialog
      title="New API key"
      onClose={close}
      onSubmit={() => void save()}
      footer={
        <>
          <Button kind="bare" onClick={close}>
            Cancel
          </Button>
          <Button kind="primary" type="submit" busy={busy} off={!name && "Enter a name"}>
            Create key
          </Button>
        </>
      }
    >
      <div class="bd">
        <TextField label="Name" value={name} onInput={setName} wrong={wrong.name ?? (error !== undefined && !Object.keys(wrong).length ? sayError(error) : undefined)} placeholder="shop" />
        <SelectField label="Scope" value={scope} options={SCOPES} onChange={setScope} wrong={wrong.scope} />
        <TextField label="Functions" value={functions} onInput={setFunctions} wrong={unnamed} placeholder="All, including future ones" help="Slugs, separated by commas." />
        <SelectField
          label="Valid"
          value={expiry}
          options={[
            ["", "Until it is revoked"],
            ["30", "30 days"],
            ["90", "90 days"],
            ["365", "A year"],
          ]}
          onChange={setExpiry}
        />
        <details>
          <summary class="meta">From a terminal</summary>
          <SnippetTabs snippets={keySnippets(name, scope, slugs, expiry)} />
        </details>
      </div>
    </Dialog>
  );
}
