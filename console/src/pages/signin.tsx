import { useEffect, useState } from "preact/hooks";
import { sayError } from "../api/errors.ts";
import type { Session } from "../api/types.ts";
import { home, signIn, signInByLink } from "../state/session.ts";
import { Button, Field, Input, Mark } from "../parts/basic.tsx";
import { Dialog } from "../parts/overlays.tsx";

const wanted = (): string | null => {
  const next = new URLSearchParams(location.search).get("next");
  return next?.startsWith("/p/") ? next : null;
};

export function SignIn({ signedIn }: { signedIn: Session | undefined }) {
  const [wrong, setWrong] = useState<string>();
  const [link, setLink] = useState(() => (location.hash.startsWith("#zl_") ? location.hash.slice(1) : null));
  useEffect(() => {
    document.title = "Sign in · zMesh";
    if (link) {
      history.replaceState(null, "", location.pathname + location.search);
      void signInByLink(link).then((s) => location.replace(home(s)), (e) => (setWrong(sayError(e)), setLink(null)));
    } else if (signedIn) location.replace(wanted() ?? home(signedIn));
  }, []);
  const leaving = !!link || !!signedIn;
  return (
    <main class="signin">
      <div class="signin-in">
        <Mark />
        <h1>{leaving ? "Signing in to zMesh" : "Sign in to zMesh"}</h1>
        <p class="soft">{location.host}</p>
        {!leaving && (
          <>
            <Credentials wrong={wrong} done={(s) => location.replace(wanted() ?? home(s))} />
            <p class="meta">
              If you started zMesh on this machine, its terminal shows a link that signs you in once, without a password; <code>zmesh console</code> makes a new one.
            </p>
            <p class="meta">
              Forgot your password? An administrator can run <code>zmesh admin reset-password</code>.
            </p>
          </>
        )}
      </div>
      <Health />
    </main>
  );
}

function Health() {
  const [health, set] = useState<{ database: string; listeners: number } | null>(null);
  useEffect(() => {
    void fetch("/health")
      .then((r) => r.json())
      .then(set, () => {});
  }, []);
  if (!health) return <footer class="meta" />;
  return (
    <footer class="meta">
      <span class={`st ${health.database === "ok" ? "success" : "error"}`}>Database {health.database === "ok" ? "connected" : "away"}</span>
      <span>
        {health.listeners} {health.listeners === 1 ? "listener" : "listeners"}
      </span>
    </footer>
  );
}

function Credentials({ done, wrong: before, email: known }: { done: (s: Session) => void; wrong?: string | undefined; email?: string }) {
  const [email, setEmail] = useState(known ?? "");
  const [password, setPassword] = useState("");
  const [shown, setShown] = useState(false);
  const [busy, setBusy] = useState(false);
  const [wrong, setWrong] = useState(before);
  useEffect(() => {
    if (matchMedia("(pointer: fine)").matches) document.querySelector<HTMLInputElement>("input[name=email]")?.focus(); // on a phone it would raise the keyboard
  }, []);
  const submit = async (e: Event): Promise<void> => {
    e.preventDefault();
    setBusy(true);
    try {
      done(await signIn(email, password));
    } catch (error) {
      setWrong(sayError(error));
    } finally {
      setBusy(false);
    }
  };
  return (
    <form class="stack lg" onSubmit={(e) => void submit(e)}>
      <Field label="Email address">{(p) => <Input {...p} type="email" name="email" autocomplete="username" required value={email} onInput={setEmail} />}</Field>
      <Field label="Password" wrong={wrong}>
        {(p) => (
          <Input {...p} type={shown ? "text" : "password"} name="password" autocomplete="current-password" required value={password} onInput={setPassword} wrong={!!wrong}>
            <button type="button" class="quiet meta" onClick={() => setShown(!shown)}>
              {shown ? "Hide" : "Show"}
            </button>
          </Input>
        )}
      </Field>
      <Button kind="primary" type="submit" busy={busy}>
        Sign in
      </Button>
    </form>
  );
}

/** The session ended: the password is asked on top of the page, and what was refused is repeated. */
export function SignInAgain({ email, done }: { email: string; done: (s: Session) => void }) {
  return (
    <Dialog title="Your session has ended" onClose={() => {}} footer={<span class="meta grow">Nothing on this page is lost. Refused requests are sent again.</span>}>
      <div class="bd" onSubmit={(e) => e.stopPropagation()}>
        <CredentialsInDialog email={email} done={done} />
      </div>
    </Dialog>
  );
}

/** A form cannot lie in a form: here the fields submit by their button. */
function CredentialsInDialog({ email, done }: { email: string; done: (s: Session) => void }) {
  const [password, setPassword] = useState("");
  const [wrong, setWrong] = useState<string>();
  const [busy, setBusy] = useState(false);
  const submit = async (): Promise<void> => {
    setBusy(true);
    try {
      done(await signIn(email, password));
    } catch (error) {
      setWrong(sayError(error));
    } finally {
      setBusy(false);
    }
  };
  return (
    <div class="stack">
      <p>Signed in as {email}.</p>
      <Field label="Password" wrong={wrong}>
        {(p) => <Input {...p} type="password" autocomplete="current-password" value={password} onInput={setPassword} wrong={!!wrong} onKeyDown={(e: KeyboardEvent) => e.key === "Enter" && (e.preventDefault(), void submit())} />}
      </Field>
      <div>
        <Button kind="primary" busy={busy} onClick={() => void submit()}>
          Sign in again
        </Button>
      </div>
    </div>
  );
}
