import { render } from "preact";
import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Redirect, Route, Router, Switch, useLocation } from "wouter-preact";
import { onSessionEnded, setProject } from "./api/client.ts";
import { ApiError } from "./api/errors.ts";
import type { Session } from "./api/types.ts";
import { startLive } from "./live/stream.ts";
import { Failed } from "./parts/basic.tsx";
import { handleKey } from "./parts/keys.tsx";
import { lazily } from "./parts/lazy.tsx";
import { Toasts } from "./parts/overlays.tsx";
import { Shell } from "./parts/shell.tsx";
import { Accept } from "./pages/accept.tsx";
import { PAGES, loadPage } from "./pages/code_of_pages.ts";
import { Functions } from "./pages/functions.tsx";
import { SignIn, SignInAgain } from "./pages/signin.tsx";
import { HereContext, allows, home, readSession } from "./state/session.ts";
import { at } from "./support/routes.ts";

const Palette = lazily(() => import("./pages/palette.tsx"));
const KeyHelp = lazily(() => import("./pages/key_help.tsx"));

function App({ first }: { first: First }) {
  return (
    <>
      <Switch>
        <Route path="/signin">
          <SignIn signedIn={first.session} />
        </Route>
        <Route path="/accept">
          <Accept />
        </Route>
        <Route path="/parts">
          <PAGES.parts />
        </Route>
        <Route path="/p/:project/*?">{(p) => <Project slug={p.project!} first={first} key={p.project} />}</Route>
        <Route>
          <Home first={first} />
        </Route>
      </Switch>
      <Toasts />
    </>
  );
}

const toSignIn = (): void => location.replace(`/signin?next=${encodeURIComponent(location.pathname + location.search)}`);
const refused = (error: unknown): boolean => error instanceof ApiError && error.status === 401;

function Home({ first }: { first: First }) {
  useEffect(() => void (refused(first.error) && toSignIn()), []);
  return first.session ? <Redirect to={home(first.session)} replace /> : <NotStarted error={first.error} />;
}

/** What the console is started with: who is signed in, or why that is not known. */
type First = { session?: Session; error?: unknown };

function NotStarted({ error }: { error: unknown }) {
  if (refused(error)) return null;
  return (
    <main class="page">
      <Failed error={error} what="The console could not start." retry={() => location.reload()} />
    </main>
  );
}

function Project({ slug, first }: { slug: string; first: First }) {
  const [session, setSession] = useState(first.session);
  const [ended, setEnded] = useState<(() => void) | null>(null);
  const asking = useRef<Promise<void> | null>(null);
  useEffect(() => {
    if (refused(first.error)) toSignIn();
    onSessionEnded(
      () =>
        (asking.current ??= new Promise<void>((resolve) =>
          setEnded(() => () => {
            asking.current = null;
            setEnded(null);
            resolve();
          }),
        )),
    );
  }, []);
  const project = session?.projects.find((p) => p.slug === slug || p.id === slug);
  setProject(project?.slug ?? null);
  useEffect(() => (project ? startLive() : undefined), [project?.slug]);
  const here = useMemo(() => (session && project ? { session, project, may: (least: "viewer" | "developer" | "owner") => allows(project.role, least) } : null), [session, project]);
  if (!session) return <NotStarted error={first.error} />;
  if (!here)
    return (
      <main class="page stack">
        <h1>No project “{slug}”</h1>
        <p>
          It does not exist, or you are not a member of it. Your projects:{" "}
          {session.projects.map((p) => (
            <a class="link" key={p.id} href={`/p/${p.slug}/functions`}>
              {p.name}{" "}
            </a>
          ))}
        </p>
      </main>
    );
  return (
    <HereContext.Provider value={here}>
      <Pages />
      {ended && <SignInAgain email={session.user.email} done={(s) => (setSession(s), ended())} />}
    </HereContext.Provider>
  );
}

function Pages() {
  const [palette, setPalette] = useState(false);
  const [help, setHelp] = useState(false);
  const [path, go] = useLocation();
  const open = useCallback(() => setPalette(true), []);
  useEffect(() => {
    const onKey = (e: KeyboardEvent): void => {
      if ((e.metaKey || e.ctrlKey) && e.key.toLowerCase() === "k") {
        e.preventDefault();
        setPalette(true);
      } else if (e.key === "?" && !(e.target as HTMLElement).closest("input, textarea, select, .cm-host")) setHelp(true);
      else handleKey(e, (page) => go(at(page)));
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
  useFocusOnPage(path);
  return (
    <>
      <Shell openPalette={open}>
        <Switch>
          <Route path="/p/:project/functions">
            <Functions />
          </Route>
          <Route path="/p/:project/functions/new">
            <PAGES.newFunction />
          </Route>
          <Route path="/p/:project/functions/:slug/:tab?">{(p) => <PAGES.function slug={decodeURIComponent(p.slug!)} tab={p.tab ?? "overview"} key={p.slug} />}</Route>
          <Route path="/p/:project/invocations">
            <PAGES.invocations />
          </Route>
          <Route path="/p/:project/invocations/:id">{(p) => <PAGES.invocation id={p.id!} key={p.id} />}</Route>
          <Route path="/p/:project/logs">
            <PAGES.logs />
          </Route>
          <Route path="/p/:project/schedules/:id?">{(p) => <PAGES.schedules id={p.id} />}</Route>
          <Route path="/p/:project/webhooks/:id?">{(p) => <PAGES.webhooks id={p.id} />}</Route>
          <Route path="/p/:project/changes">
            <PAGES.changes />
          </Route>
          <Route path="/p/:project/queue">
            <PAGES.queue />
          </Route>
          <Route path="/p/:project/usage">
            <PAGES.usage />
          </Route>
          <Route path="/p/:project/secrets">
            <PAGES.secrets />
          </Route>
          <Route path="/p/:project/keys">
            <PAGES.keys />
          </Route>
          <Route path="/p/:project/members">
            <PAGES.members />
          </Route>
          <Route path="/p/:project/more">
            <PAGES.more />
          </Route>
          <Route path="/p/:project">
            <Redirect to={at("functions")} replace />
          </Route>
          <Route>
            <div class="empty">
              <h1>No such page</h1>
            </div>
          </Route>
        </Switch>
      </Shell>
      {palette && <Palette close={() => setPalette(false)} openHelp={() => setHelp(true)} />}
      {help && <KeyHelp close={() => setHelp(false)} />}
    </>
  );
}

/** After a change of page the focus is on its heading, so that a screen reader says where one is. */
function useFocusOnPage(path: string): void {
  const first = useRef(true);
  useEffect(() => {
    if (first.current) {
      first.current = false;
      return;
    }
    const active = document.activeElement;
    if (active && active !== document.body && !active.closest(".side, .dock") && active.isConnected) return;
    document.querySelector<HTMLElement>("main h1")?.focus({ preventScroll: true });
  }, [path]);
}

/** Until the session and the page's code are there, the frame in index.html stays. */
async function start(): Promise<void> {
  const wanted = loadPage(location.pathname).catch(() => {}); // the page says itself that it did not load
  const first: First = await readSession().then((session) => ({ session }), (error: unknown) => ({ error }));
  if (first.session) await wanted;
  render(
    <Router>
      <App first={first} />
    </Router>,
    document.getElementById("frame")!,
  );
}
void start();
