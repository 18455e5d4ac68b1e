import { useEffect, useState } from "preact/hooks";
import { sayError } from "../api/errors.ts";
import { acceptInvitation, home, signIn } from "../state/session.ts";
import { readInvitation } from "../support/invitations.ts";
import { Button, Field, Input, Mark } from "../parts/basic.tsx";

/** Where the link of an invitation leads. The token stands behind #, so that no server's log has it. */
export function Accept() {
  const [invitation] = useState(() => readInvitation(location.hash));
  const [password, setPassword] = useState("");
  const [busy, setBusy] = useState(false);
  const [wrong, setWrong] = useState<string>();
  useEffect(() => {
    document.title = "Accept an invitation · zMesh";
    history.replaceState(null, "", location.pathname);
  }, []);
  const accept = async (e: Event): Promise<void> => {
    e.preventDefault();
    if (busy || !invitation) return;
    setBusy(true);
    setWrong(undefined);
    try {
      await acceptInvitation(invitation.token, password);
      location.replace(invitation.email ? home(await signIn(invitation.email, password)) : "/signin");
    } catch (error) {
      setWrong(sayError(error));
      setBusy(false);
    }
  };
  return (
    <main class="signin">
      <div class="signin-in">
        <Mark />
        <h1>Accept the invitation</h1>
        {invitation ? (
          <form class="stack lg" onSubmit={(e) => void accept(e)}>
            {invitation.email && <p class="soft">For {invitation.email}</p>}
            <Field label="Password" wrong={wrong} help="Your account’s password. If you have no account, choose a password of at least 12 characters.">
              {(p) => <Input {...p} type="password" name="password" autocomplete="current-password" required value={password} onInput={setPassword} wrong={!!wrong} />}
            </Field>
            <Button kind="primary" type="submit" busy={busy}>
              Accept
            </Button>
          </form>
        ) : (
          <p>This link contains no invitation. Copy the whole link, or ask for a new one.</p>
        )}
      </div>
      <footer class="meta" />
    </main>
  );
}
