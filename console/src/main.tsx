import { render } from "preact";
import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Link, Redirect, Route, Router, Switch, useLocation } from "wouter-preact";
import { onSessionEnded, setProject } from "./api/client.ts";
import { ApiError } from "./api/errors.ts";
import type { Session } from "./api/types.ts";
import { startLive } from "./live/stream.ts";
import { Button, Empty, Failed } from "./parts/basic.tsx";
import { handleKey, takeEarlyKeys } from "./parts/keys.tsx";
import { lazily } from "./parts/lazy.tsx";
import { Toasts } from "./parts/overlays.tsx";
import { Lone } from "./parts/lone.tsx";
import { Bar, Shell, focusHeading } from "./parts/shell.tsx";
import { Accept } from "./pages/accept.tsx";
import { PAGES, loadPage } from "./pages/code_of_pages.ts";
import { Functions } from "./pages/functions.tsx";
import { SignIn, SignInAgain } from "./pages/signin.tsx";
import { HereContext, allows, home, readSession, signOut, useHere } from "./state/session.ts";
import { at } from "./support/routes.ts";

const Palette = lazily(() => import("./pages/palette.tsx"));
const KeyHelp = lazily(() => import("./pages/key_help.tsx"));

function App({ first }: { first: First }) {
  return (
    <>
      <Switch>
        <Route path="/signin">
          {first.session?.projects.length === 0 ? <NoProject session={first.session} /> : <SignIn signedIn={first.session} />}
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
    <Lone title="zMesh">
      <Failed error={error} what="The console could not start." retry={() => location.reload()} />
    </Lone>
  );
}

const leave = (): void => void signOut().then(() => location.assign("/signin"));

function NoProject({ session }: { session: Session }) {
  return (
    <Lone title="No project yet">
      <p class="soft">{session.user.email} is not a member of any project. An owner of a project can send you an invitation link.</p>
      <p class="lone-acts">
        <Button onClick={leave}>Sign out</Button>
      </p>
    </Lone>
  );
}

function ProjectList({ session }: { session: Session }) {
  return (
    <nav aria-label="Your projects">
      <ul class="lone-list">
        {session.projects.map((p) => (
          <li key={p.id}>
            <a href={`/p/${p.slug}/functions`}>
              <span class="m cut">{p.name}</span>
              <span class="meta">{p.role}</span>
            </a>
          </li>
        ))}
      </ul>
      <p class="lone-acts row">
        <span class="meta grow">Signed in as {session.user.email}</span>
        <Button small onClick={leave}>
          Sign out
        </Button>
      </p>
    </nav>
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
      <Lone title="Project not found">
        <p class="soft">There is no project “{slug}”, or you are not a member of it.</p>
        <ProjectList session={session} />
      </Lone>
    );
  return (
    <HereContext.Provider value={here}>
      <Pages />
      {ended && <SignInAgain email={session.user.email} done={(s) => (setSession(s), ended())} />}
    </HereContext.Provider>
  );
}

function Pages() {
  const here = useHere();
  const [palette, setPalette] = useState<string | null>(null);
  const [help, setHelp] = useState(false);
  const [path, go] = useLocation();
  const coming = useRef(false); // the palette was requested, but its code may not be loaded yet
  const open = useCallback((text = "") => {
    coming.current = true;
    setPalette(text);
  }, []);
  const close = (): void => {
    coming.current = false;
    setPalette(null);
  };
  useEffect(() => {
    const onKey = (e: KeyboardEvent): void => {
      if ((e.metaKey || e.ctrlKey) && e.key.toLowerCase() === "k") {
        e.preventDefault();
        if (!coming.current) open();
      } else if (coming.current && !document.querySelector("dialog[open]")) {
        if (e.key.length === 1) setPalette((text) => text + e.key);
      } else if (e.key === "?" && !(e.target as HTMLElement | null)?.closest?.("input, textarea, select, .cm-host")) setHelp(true);
      else handleKey(e, (page) => go(at(page)));
    };
    addEventListener("keydown", onKey);
    const early = takeEarlyKeys();
    if (early.search !== null) open(early.search);
    else for (const key of early.keys) onKey(new KeyboardEvent("keydown", { key }));
    setTimeout(() => void Palette.load().catch(() => {}), 1000); // or what is typed right after Ctrl-K would be lost
    return () => removeEventListener("keydown", onKey);
  }, []);
  useFocusOnPage(path);
  return (
    <>
      <Shell openPalette={() => open()}>
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
            <Bar title="Page not found" line />
            <Empty title="There is no page at this address">
              <Link class="link" href={at("functions")}>
                Functions of {here.project.name}
              </Link>
            </Empty>
          </Route>
        </Switch>
      </Shell>
      {palette !== null && <Palette first={palette} close={close} openHelp={() => setHelp(true)} />}
      {help && <KeyHelp close={() => setHelp(false)} />}
    </>
  );
}

function useFocusOnPage(path: string): void {
  const first = useRef(true);
  useEffect(() => {
    if (!first.current) focusHeading();
    first.current = false;
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
