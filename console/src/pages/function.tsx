import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Link, useLocation } from "wouter-preact";
import { api, must } from "../api/client.ts";
import type { Alias, FunctionDetails } from "../api/types.ts";
import { listen, onReopened } from "../live/stream.ts";
import { useData } from "../state/data.ts";
import { readDraft } from "../state/draft.ts";
import { useHere } from "../state/session.ts";
import { TABS } from "../support/navigation.ts";
import { at, fnAt } from "../support/routes.ts";
import { invokeSnippets } from "../support/snippets.ts";
import { Bones, Button, Failed } from "../parts/basic.tsx";
import { CopyAs } from "../parts/overlays.tsx";
import { Bar } from "../parts/shell.tsx";
import { usePageKeys } from "../parts/keys.tsx";
import { TAB_PAGES } from "./code_of_pages.ts";
import { InvocationList } from "./invocations.tsx";

export type FunctionProps = { fn: FunctionDetails; live: Alias | undefined; reload: () => Promise<void> };

export default function FunctionPage({ slug, tab }: { slug: string; tab: string }) {
  const found = useData(`function ${slug}`, () => must(api.GET("/functions/{id}", { params: { path: { id: slug } } })));
  const aliases = useData(`aliases ${slug}`, () => must(api.GET("/functions/{id}/aliases", { params: { path: { id: slug } } })));
  const reload = async (): Promise<void> => {
    await Promise.all([found.reload(), aliases.reload()]);
  };
  useEffect(() => {
    const ends = [listen("functions", (e) => (!found.data || e.changed.includes(found.data.id)) && void reload()), onReopened(() => void reload())];
    return () => ends.forEach((end) => end());
  }, [found.data?.id]);
  const fn = found.data;
  if (found.error && !fn)
    return (
      <>
        <Bar title={slug} back={["Functions", at("functions")]} line />
        <div class="page">
          <Failed error={found.error} what="The function could not be loaded." retry={() => void found.reload()} />
        </div>
      </>
    );
  if (!fn)
    return (
      <>
        <Bar title={slug} back={["Functions", at("functions")]} />
        <Tabs slug={slug} tab={tab} />
        <Bones rows={8} />
      </>
    );
  const live = aliases.data?.items.find((a) => a.name === "live");
  const props: FunctionProps = { fn, live, reload };
  switch (tab) {
    case "overview":
      return (
        <Frame {...props} tab={tab}>
          <TAB_PAGES.overview {...props} />
        </Frame>
      );
    case "code":
      return <TAB_PAGES.code {...props} />;
    case "invocations":
      return (
        <Frame {...props} tab={tab}>
          <InvocationList of={fn.slug} />
        </Frame>
      );
    case "logs":
      return (
        <Frame {...props} tab={tab}>
          <TAB_PAGES.logs {...props} />
        </Frame>
      );
    case "versions":
      return <TAB_PAGES.versions {...props} />;
    case "triggers":
      return (
        <Frame {...props} tab={tab}>
          <TAB_PAGES.triggers {...props} />
        </Frame>
      );
    case "settings":
      return (
        <Frame {...props} tab={tab}>
          <TAB_PAGES.settings {...props} />
        </Frame>
      );
    default:
      return (
        <Frame {...props} tab={tab}>
          <div class="empty">
            <h3>No such tab</h3>
          </div>
        </Frame>
      );
  }
}

export const splitWords = (live: Alias | undefined): string | null => {
  if (!live) return null;
  const shares = Object.entries(live.versions as Record<string, number>);
  return shares.length === 1 ? `v${shares[0]![0]} takes all calls` : shares.map(([v, share]) => `v${v} ${share} %`).join(" · ");
};

/** The head that all tabs of a function share. */
export function Frame({ fn, live, tab, actions, children }: FunctionProps & { tab: string; actions?: ComponentChildren; children: ComponentChildren }) {
  const { may } = useHere();
  const [, go] = useLocation();
  const [draft] = useState(() => readDraft(fn.id));
  usePageKeys({ T: () => go(`${fnAt(fn.slug, "code")}?test=1`) });
  return (
    <>
      <Bar
        title={fn.slug}
        back={["Functions", at("functions")]}
        after={
          <>
            {!fn.enabled && <span class="tag">disabled</span>}
            {live ? (
              <>
                <span class="tag wide">live</span>
                <span class="meta num wide">{splitWords(live)}</span>
              </>
            ) : (
              <span class="tag wide">v{fn.version}</span>
            )}
          </>
        }
        actions={
          actions ?? (
            <>
              <CopyAs snippets={invokeSnippets(location.origin, fn.slug, {})} />
              {may("developer") && (
                <Button class="wide" icon="play" onClick={() => go(`${fnAt(fn.slug, "code")}?test=1`)}>
                  Test
                </Button>
              )}
              <Button kind="primary" onClick={() => go(fnAt(fn.slug, "code"))}>
                {may("developer") ? "Edit code" : "Show code"}
              </Button>
            </>
          )
        }
      />
      <Tabs slug={fn.slug} tab={tab} versions={fn.version} unsaved={!!draft} />
      {children}
    </>
  );
}

function Tabs({ slug, tab, versions, unsaved }: { slug: string; tab: string; versions?: number; unsaved?: boolean }) {
  useEffect(() => document.querySelector(".tabs [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" }), [tab]);
  return (
    <nav class="tabs" aria-label={slug}>
      {TABS.map(([key, text]) => (
        <Link key={key} href={key === "overview" ? fnAt(slug) : fnAt(slug, key)} aria-current={key === tab ? "page" : undefined}>
          {text}
          {key === "versions" && versions && <span class="n">{versions}</span>}
          {key === "code" && unsaved && tab !== "code" && <span class="dotc" title="changes not deployed, kept in this browser" />}
        </Link>
      ))}
    </nav>
  );
}
