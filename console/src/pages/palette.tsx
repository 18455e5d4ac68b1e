import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { useLocation } from "wouter-preact";
import { api, call, must } from "../api/client.ts";
import type { Page } from "../api/types.ts";
import { useData } from "../state/data.ts";
import { signOut, useHere } from "../state/session.ts";
import { at, fnAt, invocationAt, withQuery } from "../support/routes.ts";
import { fit } from "../support/search.ts";
import { Icon } from "../parts/basic.tsx";
import { ownPages, setScheme } from "../parts/shell.tsx";

type Item = { group: string; icon: string; text: string; says?: string; run: () => void };

/** Reaches everything: functions, then actions of the one the page shows, pages, documentation. */
export default function Palette({ first, close, openHelp }: { first: string; close: () => void; openHelp: () => void }) {
  const { may, session, project } = useHere();
  const [path, go] = useLocation();
  const [text, setText] = useState(first);
  const [chosen, setChosen] = useState(0);
  const ref = useRef<HTMLDialogElement>(null);
  const functions = useData("function names", () => must(api.GET("/functions", { params: { query: { limit: 100, code: false } as never } })));
  const more = useSearch(functions.data?.next_cursor ? text.trim() : "");
  useLayoutEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    ref.current?.showModal();
    ref.current?.querySelector("input")?.focus();
    return () => before?.focus?.();
  }, []);
  const here = /\/functions\/([^/]+)/.exec(path)?.[1];
  const items = useMemo((): Item[] => {
    const to = (href: string) => () => go(href);
    const id = /^[0-9a-f]{8}-[0-9a-f-]{27}$/i.exec(text.trim())?.[0];
    const all: Item[] = [
      ...(id ? [{ group: "Invocation", icon: "runs", text: `Open invocation ${id}`, run: to(invocationAt(id)) }] : []),
      ...(here && here !== "new"
        ? (
            [
              ["Code and test", "code"],
              ["Invocations", "invocations"],
              ["Live logs", "logs"],
              ["Versions: compare, roll back, shares", "versions"],
              ["Triggers", "triggers"],
              ["Settings and secrets", "settings"],
            ] as const
          ).map(([t, tab]) => ({ group: decodeURIComponent(here), icon: "rightc", text: t, run: to(fnAt(decodeURIComponent(here), tab)) }))
        : []),
      ...[...new Map([...(functions.data?.items ?? []), ...more].map((f) => [f.slug, f])).values()].map((f) => ({ group: "Functions", icon: "fn", text: f.slug, says: f.description, run: to(fnAt(f.slug)) })),
      ...(may("developer")
        ? [
            { group: "Actions", icon: "plus", text: "New function", run: to(at("functions", "new")) },
            { group: "Actions", icon: "plus", text: "New schedule", run: to(withQuery(at("schedules"), {}) + "?new=") },
            { group: "Actions", icon: "plus", text: "New webhook", run: to(at("webhooks") + "?new=") },
          ]
        : []),
      { group: "Actions", icon: "warn", text: "Failed invocations of the last hour", run: to(withQuery(at("invocations"), { status: "error", since: "1h" })) },
      ...ownPages(may).flatMap((g) => g.links.map(([key, icon, name]) => ({ group: "Pages", icon, text: name, run: to(at(key)) }))),
      ...session.projects.filter((p) => p.slug !== project.slug).map((p) => ({ group: "Projects", icon: "folder", text: p.name, run: () => location.assign(`/p/${p.slug}/functions`) })),
      { group: "Console", icon: "sun", text: "Light", run: () => setScheme("light") },
      { group: "Console", icon: "sun", text: "Dark", run: () => setScheme("dark") },
      { group: "Console", icon: "key", text: "Keys", says: "?", run: openHelp },
      { group: "Console", icon: "book", text: "API reference", run: () => location.assign("/schema") },
      { group: "Console", icon: "out", text: "Sign out", run: () => void signOut().then(() => location.assign("/signin")) },
    ];
    if (!text.trim()) return all.filter((i) => i.group !== "Functions").concat(all.filter((i) => i.group === "Functions").slice(0, 8)).sort((a, b) => order(a, here) - order(b, here));
    return all
      .map((i) => ({ i, score: Math.max(fit(text, i.text) ?? -1, i.says ? (fit(text, i.says) ?? -1) / 2 : -1) }))
      .filter((x) => x.score > 0)
      .sort((a, b) => b.score - a.score)
      .slice(0, 30)
      .map((x) => x.i);
  }, [text, functions.data, more, here]);
  const grouped = useMemo(() => {
    const groups = new Map<string, Item[]>();
    for (const i of items) groups.set(i.group, [...(groups.get(i.group) ?? []), i]);
    return [...groups];
  }, [items]);
  const flat = grouped.flatMap(([, list]) => list);
  useEffect(() => setChosen(0), [text]);
  useEffect(() => ref.current?.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" }), [chosen]);
  const run = (item: Item | undefined): void => {
    if (!item) return;
    close();
    item.run();
  };
  return (
    <dialog
      ref={ref}
      class="palette"
      aria-label="Command palette"
      onCancel={(e) => {
        e.preventDefault();
        close();
      }}
      onClick={(e) => e.target === ref.current && close()}
      onKeyDown={(e) => {
        e.stopPropagation();
        if (e.key === "ArrowDown") setChosen(Math.min(flat.length - 1, chosen + 1));
        else if (e.key === "ArrowUp") setChosen(Math.max(0, chosen - 1));
        else if (e.key === "Enter") run(flat[chosen]);
        else return;
        e.preventDefault();
      }}
    >
      <div class="pin">
        <Icon name="search" />
        <input role="combobox" aria-expanded="true" aria-controls="plist" aria-activedescendant={flat.length ? `p${chosen}` : undefined} aria-label="Search or go to" placeholder="A function, a page, an action or an invocation’s id" value={text} onInput={(e) => setText(e.currentTarget.value)} />
        <kbd class="wide">Esc</kbd>
      </div>
      <div class="plist" id="plist" role="listbox" aria-label="Results">
        {grouped.map(([group, list]) => (
          <div role="group" aria-label={group} key={group}>
            <div class="grp" aria-hidden="true">
              {group}
            </div>
            {list.map((i) => {
              const k = flat.indexOf(i);
              return (
                <div role="option" id={`p${k}`} key={i.text} aria-selected={k === chosen} onClick={() => run(i)} onMouseMove={() => setChosen(k)}>
                  <Icon name={i.icon} />
                  <span class="cut">{i.text}</span>
                  {i.says && <span class="meta cut">{i.says}</span>}
                </div>
              );
            })}
          </div>
        ))}
        {!flat.length && <p class="soft pad">Nothing fits “{text}”.</p>}
      </div>
      <div class="pfoot meta" aria-hidden="true">
        <span>
          <kbd>↑</kbd>
          <kbd>↓</kbd>move
        </span>
        <span>
          <kbd>↵</kbd>open
        </span>
        <span>
          <kbd>?</kbd>keys
        </span>
      </div>
    </dialog>
  );
}

type Named = { slug: string; description: string };

/** Functions that the server finds, in a project with more of them than are listed here. */
function useSearch(text: string): Named[] {
  const [found, set] = useState<Named[]>([]);
  useEffect(() => {
    if (!text) return set([]);
    let on = true;
    const timer = setTimeout(() => {
      void call<Page<Named>>("GET", withQuery("/statistics/functions", { search: text, limit: 20 })).then((page) => on && set(page.items), () => {});
    }, 150);
    return () => {
      on = false;
      clearTimeout(timer);
    };
  }, [text]);
  return found;
}

const ORDER = ["Invocation", "Functions", "Actions", "Pages", "Projects", "Console"];
const order = (i: Item, here: string | undefined): number => (here && i.group === decodeURIComponent(here) ? 0 : ORDER.indexOf(i.group) + 1);
