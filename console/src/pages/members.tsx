import { useState } from "preact/hooks";
import { api, must } from "../api/client.ts";
import { fieldErrors, sayError } from "../api/errors.ts";
import type { Member, Role } from "../api/types.ts";
import { useData } from "../state/data.ts";
import { useHere } from "../state/session.ts";
import { toast } from "../state/toast.ts";
import { Ago, Bones, Button, CopyButton, Failed, Select, SelectField, TextField } from "../parts/basic.tsx";
import { Box } from "../parts/data.tsx";
import { Confirm, Dialog } from "../parts/overlays.tsx";
import { invitationLink } from "../support/invitations.ts";
import { Bar } from "../parts/shell.tsx";
import { usePageKeys } from "../parts/keys.tsx";

const ROLES: [string, string][] = [
  ["viewer", "Viewer: reads everything except keys"],
  ["developer", "Developer: deploys and operates"],
  ["owner", "Owner: also manages members, keys and limits"],
];

export default function Members() {
  const { may, session } = useHere();
  const [inviting, setInviting] = useState(false);
  const [made, setMade] = useState<{ email: string; token: string } | null>(null);
  const [removing, setRemoving] = useState<Member | null>(null);
  const members = useData("members", () => must(api.GET("/members", { params: { query: { limit: 100 } } })));
  const invitations = useData("invitations", () => must(api.GET("/invitations", { params: { query: { limit: 100 } } })));
  usePageKeys({ C: () => may("owner") && setInviting(true) });
  const change = async (m: Member, role: Role): Promise<void> => {
    try {
      await must(api.PATCH("/members/{id}", { params: { path: { id: m.user_id } }, body: { role } as never }));
      toast(`${m.email} is ${role} now`);
    } catch (error) {
      toast(sayError(error));
    }
    await members.reload();
  };
  return (
    <>
      <Bar
        title="Members"
        count={members.data?.items.length}
        line
        actions={
          may("owner") && (
            <Button kind="primary" icon="plus" keys="C" onClick={() => setInviting(true)}>
              Invite
            </Button>
          )
        }
      />
      <div class="scroll">
        <div class="page stack form">
          {!!members.error && <Failed error={members.error} what="The list could not be loaded." retry={() => void members.reload()} />}
          {!members.data && !members.error && <Bones />}
          {members.data && (
            <Box title="Members" aside={String(members.data.items.length)}>
              <ul class="simple">
                {members.data.items.map((m) => (
                  <li key={m.user_id}>
                    <span class="face">{m.email.slice(0, 2).toUpperCase()}</span>
                    <span class="m cut">{m.email}</span>
                    {m.user_id === session.user.id && <span class="tag">you</span>}
                    <span class="end row">
                      {may("owner") && m.user_id !== session.user.id ? (
                        <>
                          <Select aria-label={`Role of ${m.email}`} value={m.role} options={ROLES.map(([k]) => [k, k])} onChange={(r) => void change(m, r as Role)} />
                          <Button kind="bare" icon="x" label={`Remove ${m.email}`} onClick={() => setRemoving(m)} />
                        </>
                      ) : (
                        <span class="soft">{m.role}</span>
                      )}
                    </span>
                  </li>
                ))}
              </ul>
            </Box>
          )}
          {!!invitations.data?.items.length && (
            <Box title="Invited">
              <ul class="simple">
                {invitations.data.items.map((i) => (
                  <li key={i.id}>
                    <span class="m cut">{i.email}</span>
                    <span class="soft">{i.role}</span>
                    <span class="end row">
                      <span class="meta nowrap">
                        expires <Ago at={i.expires_at} />
                      </span>
                      {may("owner") && (
                        <Button
                          small
                          onClick={() =>
                            void must(api.DELETE("/invitations/{id}", { params: { path: { id: i.id } } })).then(
                              () => (toast(`The invitation of ${i.email} is withdrawn`), invitations.reload()),
                              (e: unknown) => toast(sayError(e)),
                            )
                          }
                        >
                          Withdraw
                        </Button>
                      )}
                    </span>
                  </li>
                ))}
              </ul>
            </Box>
          )}
        </div>
      </div>
      {inviting && <Invite close={() => setInviting(false)} done={async (i) => (await invitations.reload(), setMade(i))} />}
      {made && (
        <Dialog title={`Invitation of ${made.email}`} onClose={() => setMade(null)} footer={<Button onClick={() => setMade(null)}>I have copied it</Button>}>
          <div class="bd">
            <p>Send this link to {made.email}. It is shown only once, and works once within a week.</p>
            <div class="in ro">
              <code class="grow cut">{invitationLink(location.origin, made.token, made.email)}</code>
              <CopyButton text={invitationLink(location.origin, made.token, made.email)} label="Copy the link" />
            </div>
          </div>
        </Dialog>
      )}
      {removing && (
        <Confirm
          title={`Remove ${removing.email}?`}
          action="Remove member"
          danger
          onClose={() => setRemoving(null)}
          run={async () => {
            await must(api.DELETE("/members/{id}", { params: { path: { id: removing.user_id } } }));
            await members.reload();
            toast(`${removing.email} is no longer a member`);
          }}
        >
          They lose access to this project at once.
        </Confirm>
      )}
    </>
  );
}

function Invite({ close, done }: { close: () => void; done: (i: { email: string; token: string }) => Promise<unknown> }) {
  const [email, setEmail] = useState("");
  const [role, setRole] = useState("developer");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const wrong = fieldErrors(error);
  const send = async (): Promise<void> => {
    setBusy(true);
    try {
      const i = await must(api.POST("/invitations", { body: { email, role } as never }));
      close();
      await done(i);
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  };
  return (
    <Dialog
      title="Invite somebody"
      onClose={close}
      onSubmit={() => void send()}
      footer={
        <>
          <Button kind="bare" onClick={close}>
            Cancel
          </Button>
          <Button kind="primary" type="submit" busy={busy} off={!email && "Enter an email address"}>
            Make the invitation
          </Button>
        </>
      }
    >
      <div class="bd">
        <TextField label="Email address" type="email" value={email} onInput={setEmail} wrong={wrong.email ?? (error !== undefined && !Object.keys(wrong).length ? sayError(error) : undefined)} />
        <SelectField label="Role" value={role} options={ROLES} onChange={setRole} />
      </div>
    </Dialog>
  );
}
