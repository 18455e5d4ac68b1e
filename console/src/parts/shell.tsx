import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Link, useLocation } from "wouter-preact";
import { useHere, signOut } from "../state/session.ts";
import type { Queue } from "../api/types.ts";
import { latestQueue, listen, watchConnection } from "../live/stream.ts";
import { DOCK, NAV, type Group } from "../support/navigation.ts";
import { at } from "../support/routes.ts";
import { clock, formatCount } from "../support/format.ts";
import { Icon, Mark, Notice, keyName } from "./basic.tsx";
import { Menu } from "./overlays.tsx";

export const ownPages = (may: (least: "developer" | "owner" | "viewer") => boolean): Group[] => NAV.map((g) => ({ ...g, links: g.links.filter(([page]) => page !== "keys" || may("developer")) }));

export function Shell({ openPalette, children }: { openPalette: () => void; children: ComponentChildren }) {
  const { session, project, may } = useHere();
  const [path, go] = useLocation();
  const page = path.split("/")[3] ?? "functions";
  const queue = useQueue();
  const initials = session.user.email.slice(0, 2).toUpperCase();
  const leave = async (): Promise<void> => {
    await signOut();
    location.assign("/signin");
  };
  return (
    <div class="shell">
      <a class="skip-link" href="#main">
        Skip to the page
      </a>
      <aside class="side" aria-label="Console">
        <ProjectMenu />
        <button type="button" class="find" onClick={openPalette}>
          <Icon name="search" small />
          <span class="grow">Search or go to</span>
          <kbd aria-hidden="true">{keyName("K")}</kbd>
        </button>
        {ownPages(may).map((group) => (
          <nav class="nav" aria-label={group.label} key={group.label}>
            {group.name && <h2>{group.name}</h2>}
            {group.links.map(([key, icon, text]) => (
              <Link key={key} href={at(key)} aria-current={page === key ? "page" : undefined} aria-label={text} title={text}>
                <Icon name={icon} />
                <span>{text}</span>
                {key === "queue" && !!queue?.queued && <span class="n">{formatCount(queue.queued)}</span>}
              </Link>
            ))}
          </nav>
        ))}
        <div class="foot">
          <Pulse queue={queue} />
          <Menu
            label={`Account ${session.user.email}`}
            text={
              <span class="me">
                <span class="face">{initials}</span>
                <span class="cut grow m">{session.user.email}</span>
                <span class="meta">{project.role}</span>
              </span>
            }
            items={[
              { label: "Light", icon: "sun", run: () => setScheme("light") },
              { label: "Dark", icon: "sun", run: () => setScheme("dark") },
              { label: "Like the system", icon: "sun", run: () => setScheme("") },
              "line",
              { label: "All parts", icon: "box", run: () => go("/parts") },
              { label: "Sign out", icon: "out", run: () => void leave() },
            ]}
          />
        </div>
      </aside>
      <main class="main" id="main" tabIndex={-1}>
        <Connection />
        {children}
      </main>
      <nav class="dock" aria-label="Main, phone">
        {DOCK.map(([key, icon, text]) => (
          <Link key={key} href={at(key)} aria-current={page === key ? "page" : undefined}>
            <Icon name={icon} />
            <span>{text}</span>
          </Link>
        ))}
        <button type="button" onClick={openPalette}>
          <Icon name="search" />
          <span>Search</span>
        </button>
        <Link href={at("more")} aria-current={page === "more" ? "page" : undefined}>
          <Icon name="dots" />
          <span>More</span>
        </Link>
      </nav>
    </div>
  );
}

export function setScheme(scheme: string): void {
  if (scheme) localStorage.setItem("zmesh.scheme", scheme);
  else localStorage.removeItem("zmesh.scheme");
  document.documentElement.style.colorScheme = scheme || "light dark";
  dispatchEvent(new Event("zmesh-scheme"));
}
export const chosenScheme = (): string => localStorage.getItem("zmesh.scheme") ?? "";
export function useQueue(): Queue | null {
  const [queue, set] = useState<Queue | null>(latestQueue);
  useEffect(() => listen("queue", set), []);
  return queue;
}

/** Its place is kept until the figures come. */
function Pulse({ queue }: { queue: Queue | null }) {
  const { total, busy } = queue?.slots ?? { total: 16, busy: 0 };
  const ticks = Math.min(total, 48);
  return (
    <Link class="pulse" href={at("queue")}>
      <span class="row between meta">
        <span>Running</span>
        <span class="num">
          {queue && `${busy} of ${total} slots`}
        </span>
      </span>
      <span class="ticks" aria-hidden="true">
        {Array.from({ length: ticks }, (_, k) => (
          <i key={k} class={k < Math.ceil((busy / Math.max(1, total)) * ticks) ? "on" : ""} />
        ))}
      </span>
    </Link>
  );
}

function ProjectMenu() {
  const { session, project } = useHere();
  return (
    <Menu
      label={`Project ${project.name}`}
      text={
        <span class="proj">
          <Mark />
          <span class="cut grow">{project.name}</span>
        </span>
      }
      items={session.projects.map((p) => ({ label: p.name, icon: p.slug === project.slug ? "check" : "folder", run: () => location.assign(`/p/${p.slug}/functions`) }))}
    />
  );
}

function Connection() {
  const [since, set] = useState<number | null>(null);
  const [late, setLate] = useState(false);
  useEffect(() => watchConnection(set), []);
  useEffect(() => {
    setLate(false);
    if (since === null) return;
    const timer = setTimeout(() => setLate(true), 3000);
    return () => clearTimeout(timer);
  }, [since]);
  if (!late || since === null) return null;
  return (
    <div class="connection">
      <Notice kind="warn">
        <b>Not connected.</b> This page shows the state of {clock(since)}. Reconnecting automatically.
      </Notice>
    </div>
  );
}

/** After a change of page, its heading takes the focus, so that a screen reader says where the user is; so does a heading
 *  that comes later, with the page's data, unless the user has pressed a key or clicked in the meantime. */
let isHeadingDue = false;
for (const event of ["keydown", "pointerdown"]) addEventListener(event, () => (isHeadingDue = false), true);
const isLost = (e: Element | null): boolean => !e || e === document.body || !e.isConnected;
export function focusHeading(): void {
  isHeadingDue = true;
  const active = document.activeElement;
  if (isLost(active) || active!.closest(".side, .dock")) document.querySelector<HTMLElement>("main h1")?.focus({ preventScroll: true });
}

type HeadProps = { title: string; count?: number | string | undefined; back?: [string, string]; line?: boolean; before?: ComponentChildren; after?: ComponentChildren; actions?: ComponentChildren };
/** The bar of a page: where, name, state; at most three buttons. The heading takes the focus when the page changes. */
export function Bar({ title, count, back, line, before, after, actions }: HeadProps) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${title} · zMesh`;
  }, [title]);
  useEffect(() => {
    if (isHeadingDue && isLost(document.activeElement)) heading.current?.focus({ preventScroll: true });
  }, []);
  return (
    <header class={`bar ${line ? "line" : ""}`}>
      {back && (
        <Link class="btn bare icon back" href={back[1]} aria-label={`Back to ${back[0]}`}>
          <Icon name="left" />
        </Link>
      )}
      <div class="title">
        {back && (
          <>
            <Link class="crumb wide" href={back[1]}>
              {back[0]}
            </Link>
            <span class="sep wide" aria-hidden="true">
              /
            </span>
          </>
        )}
        {before}
        <h1 class="cut" ref={heading} tabIndex={-1}>
          {title}
        </h1>
        {count !== undefined && <span class="quiet num">{count}</span>}
        {after}
      </div>
      {actions && <div class="acts">{actions}</div>}
    </header>
  );
}
