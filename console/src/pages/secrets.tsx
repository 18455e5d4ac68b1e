import { useState } from "preact/hooks";
import { api, must } from "../api/client.ts";
import { sayError } from "../api/errors.ts";
import type { Secret } from "../api/types.ts";
import { useData } from "../state/data.ts";
import { useHere } from "../state/session.ts";
import { toast } from "../state/toast.ts";
import { Ago, Bones, Button, Failed, TextField } from "../parts/basic.tsx";
import { Box } from "../parts/data.tsx";
import { Confirm, Dialog } from "../parts/overlays.tsx";
import { Bar } from "../parts/shell.tsx";

export default function Secrets() {
  return (
    <>
      <Bar title="Secrets" line />
      <div class="scroll">
        <div class="page stack form">
          <p class="soft">Every function of the project gets them as environment variables. Values are never shown again.</p>
          <SecretList title="Secrets of the project" />
        </div>
      </div>
    </>
  );
}

/** Names and times; values go in and never come back. */
export function SecretList({ fn, title }: { fn?: string; title: string }) {
  const { may } = useHere();
  const [editing, setEditing] = useState<string | null>(null);
  const [deleting, setDeleting] = useState<Secret | null>(null);
  const list = useData(`secrets ${fn ?? ""}`, () => must(fn ? api.GET("/functions/{id}/secrets", { params: { path: { id: fn }, query: { limit: 100 } } }) : api.GET("/secrets", { params: { query: { limit: 100 } } })));
  const items = list.data?.items ?? [];
  return (
    <Box
      title={title}
      aside={items.length ? String(items.length) : undefined}
      actions={
        may("developer") && (
          <Button small icon="plus" onClick={() => setEditing("")}>
            Set a secret
          </Button>
        )
      }
    >
      {!!list.error && <Failed error={list.error} retry={() => void list.reload()} />}
      {!list.data && !list.error && <Bones rows={2} />}
      {list.data && !items.length && (
        <div class="body">
          <p class="soft">No secrets. A secret is a value that functions can read and people cannot.</p>
        </div>
      )}
      {items.length > 0 && (
        <table class="tbl in-box plainlist">
          <thead>
            <tr>
              <th>Name</th>
              <th>Set</th>
              <th />
            </tr>
          </thead>
          <tbody>
            {items.map((s) => (
              <tr key={s.name}>
                <td class="mono">{s.name}</td>
                <td class="quiet" data-label="set">
                  <Ago at={s.updated_at} />
                </td>
                <td class="r">
                  {may("developer") && (
                    <span class="row end-row">
                      <Button small onClick={() => setEditing(s.name)}>
                        Replace
                      </Button>
                      <Button small kind="danger" onClick={() => setDeleting(s)}>
                        Delete
                      </Button>
                    </span>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {editing !== null && <SetSecret fn={fn} name={editing} close={() => setEditing(null)} done={list.reload} />}
      {deleting && (
        <Confirm
          title={`Delete the secret ${deleting.name}?`}
          action={`Delete ${deleting.name}`}
          danger
          onClose={() => setDeleting(null)}
          run={async () => {
            const name = deleting.name;
            await must(fn ? api.DELETE("/functions/{id}/secrets/{name}", { params: { path: { id: fn, name } } }) : api.DELETE("/secrets/{name}", { params: { path: { name } } }));
            await list.reload();
            toast(`${name} is deleted`);
          }}
        >
          Functions that start from now on do not see it.
        </Confirm>
      )}
    </Box>
  );
}

function SetSecret({ fn, name: given, close, done }: { fn?: string | undefined; name: string; close: () => void; done: () => Promise<void> }) {
  const [name, setName] = useState(given);
  const [value, setValue] = useState("");
  const [busy, setBusy] = useState(false);
  const [wrong, setWrong] = useState<string>();
  const save = async (): Promise<void> => {
    setBusy(true);
    try {
      const body = { value } as never;
      await must(fn ? api.PUT("/functions/{id}/secrets/{name}", { params: { path: { id: fn, name } }, body }) : api.PUT("/secrets/{name}", { params: { path: { name } }, body }));
      await done();
      toast(`${name} is set`);
      close();
    } catch (error) {
      setWrong(sayError(error));
      setBusy(false);
    }
  };
  return (
    <Dialog
      title={given ? `Replace ${given}` : "Set a secret"}
      onClose={close}
      onSubmit={() => void save()}
      footer={
        <>
          <Button kind="bare" onClick={close}>
            Cancel
          </Button>
          <Button kind="primary" type="submit" busy={busy} off={!name || !value ? "Enter a name and a value" : false}>
            Set secret
          </Button>
        </>
      }
    >
      <div class="bd">
        {!given && <TextField label="Name" value={name} onInput={setName} placeholder="SMTP_URL" autocomplete="off" />}
        <TextField label="Value" type="password" value={value} onInput={setValue} autocomplete="new-password" wrong={wrong} help="Stored encrypted. Runs that start from now on get it." />
      </div>
    </Dialog>
  );
}
