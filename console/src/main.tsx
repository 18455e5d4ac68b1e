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
import { Shell, restoreScheme } from "./parts/shell.tsx";
import { Accept } from "./pages/accept.tsx";
import { Functions } from "./pages/functions.tsx";
import { SignIn, SignInAgain } from "./pages/signin.tsx";
import { HereContext, allows, readSession } from "./state/session.ts";
import { at } from "./support/routes.ts";

const FunctionPage = lazily(() => import("./pages/function.tsx"));
const NewFunction = lazily(() => import("./pages/new_function.tsx"));
const Invocations = lazily(() => import("./pages/invocations.tsx"));
const InvocationPage = lazily(() => import("./pages/invocation.tsx"));
const Logs = lazily(() => import("./pages/logs.tsx"));
const Schedules = lazily(() => import("./pages/schedules.tsx"));
const Webhooks = lazily(() => import("./pages/webhooks.tsx"));
const Changes = lazily(() => import("./pages/changes.tsx"));
const QueuePage = lazily(() => import("./pages/queue.tsx"));
const Usage = lazily(() => import("./pages/usage.tsx"));
const Secrets = lazily(() => import("./pages/secrets.tsx"));
const Keys = lazily(() => import("./pages/api_keys.tsx"));
const Members = lazily(() => import("./pages/members.tsx"));
const More = lazily(() => import("./pages/more.tsx"));
const Palette = lazily(() => import("./pages/palette.tsx"));
const KeyHelp = lazily(() => import("./pages/key_help.tsx"));
const Parts = lazily(() => import("./pages/parts.tsx"));

function App() {
  return (
    <>
      <Switch>
        <Route path="/signin">
            <SignIn />
          </Route>
        <Route path="/accept">
          <Accept />
        </Route>
        <Route path="/parts">
            <Parts />
          </Route>
        <Route path="/p/:project/*?">{(p) => <Project slug={p.project!} key={p.project} />}</Route>
        <Route>
          <Home />
        </Route>
      </Switch>
      <Toasts />
    </>
  );
}

const toSignIn = (): void => location.replace(`/signin?next=${encodeURIComponent(location.pathname + location.search)}`);
const refused = (error: unknown): boolean => error instanceof ApiError && error.status === 401;

function Home() {
  const [to, set] = useState<string>();
  useEffect(() => {
    void readSession().then((s) => set(s.projects[0] ? `/p/${s.projects[0].slug}/functions` : "/signin"), toSignIn);
  }, []);
  return to ? <Redirect to={to} replace /> : null;
}

function Project({ slug }: { slug: string }) {
  const [session, setSession] = useState<Session>();
  const [failed, setFailed] = useState<unknown>();
  const [ended, setEnded] = useState<(() => void) | null>(null);
  const asking = useRef<Promise<void> | null>(null);
  useEffect(() => {
    void readSession().then(setSession, (e) => (refused(e) ? toSignIn() : setFailed(e)));
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
  if (failed)
    return (
      <main class="page">
        <Failed error={failed} what="The console could not start." retry={() => location.reload()} />
      </main>
    );
  if (!session) return null;
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
            <NewFunction />
          </Route>
          <Route path="/p/:project/functions/:slug/:tab?">{(p) => <FunctionPage slug={decodeURIComponent(p.slug!)} tab={p.tab ?? "overview"} key={p.slug} />}</Route>
          <Route path="/p/:project/invocations">
            <Invocations />
          </Route>
          <Route path="/p/:project/invocations/:id">{(p) => <InvocationPage id={p.id!} key={p.id} />}</Route>
          <Route path="/p/:project/logs">
            <Logs />
          </Route>
          <Route path="/p/:project/schedules/:id?">{(p) => <Schedules id={p.id} />}</Route>
          <Route path="/p/:project/webhooks/:id?">{(p) => <Webhooks id={p.id} />}</Route>
          <Route path="/p/:project/changes">
            <Changes />
          </Route>
          <Route path="/p/:project/queue">
            <QueuePage />
          </Route>
          <Route path="/p/:project/usage">
            <Usage />
          </Route>
          <Route path="/p/:project/secrets">
            <Secrets />
          </Route>
          <Route path="/p/:project/keys">
            <Keys />
          </Route>
          <Route path="/p/:project/members">
            <Members />
          </Route>
          <Route path="/p/:project/more">
            <More />
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

restoreScheme();
render(
  <Router>
    <App />
  </Router>,
  document.getElementById("frame")!,
);
