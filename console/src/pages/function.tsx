import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Link, useLocation } from "wouter-preact";
import { api, must } from "../api/client.ts";
import type { Alias, FunctionDetails } from "../api/types.ts";
import { listen, onReopened } from "../live/stream.ts";
import { useData } from "../state/data.ts";
import { readDraft } from "../state/draft.ts";
import { useHere } from "../state/session.ts";
import { at, fnAt } from "../support/routes.ts";
import { invokeSnippets } from "../support/snippets.ts";
import { Bones, Button, Failed } from "../parts/basic.tsx";
import { lazily } from "../parts/lazy.tsx";
import { CopyAs } from "../parts/overlays.tsx";
import { Bar } from "../parts/shell.tsx";
import { usePageKeys } from "../parts/keys.tsx";
import { InvocationList } from "./invocations.tsx";

const Overview = lazily(() => import("./overview.tsx"));
const CodePage = lazily(() => import("./code.tsx"));
const Versions = lazily(() => import("./versions.tsx"));
const Triggers = lazily(() => import("./triggers.tsx"));
const Settings = lazily(() => import("./settings.tsx"));
const FunctionLogs = lazily(() => import("./function_logs.tsx"));

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
  if (!fn) return <Bones rows={8} />;
  const live = aliases.data?.items.find((a) => a.name === "live");
  const props: FunctionProps = { fn, live, reload };
  switch (tab) {
    case "overview":
      return (
        <Frame {...props} tab={tab}>
          <Overview {...props} />
        </Frame>
      );
    case "code":
      return <CodePage {...props} />;
    case "invocations":
      return (
        <Frame {...props} tab={tab}>
          <InvocationList of={fn.slug} />
        </Frame>
      );
    case "logs":
      return (
        <Frame {...props} tab={tab}>
          <FunctionLogs {...props} />
        </Frame>
      );
    case "versions":
      return <Versions {...props} />;
    case "triggers":
      return (
        <Frame {...props} tab={tab}>
          <Triggers {...props} />
        </Frame>
      );
    case "settings":
      return (
        <Frame {...props} tab={tab}>
          <Settings {...props} />
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

const TABS: [string, string][] = [
  ["overview", "Overview"],
  ["code", "Code and test"],
  ["invocations", "Invocations"],
  ["logs", "Live logs"],
  ["versions", "Versions"],
  ["triggers", "Triggers"],
  ["settings", "Settings"],
];

/** The head that all tabs of a function share. */
export function Frame({ fn, live, tab, actions, children }: FunctionProps & { tab: string; actions?: ComponentChildren; children: ComponentChildren }) {
  const { may } = useHere();
  const [, go] = useLocation();
  const [draft] = useState(() => readDraft(fn.id));
  usePageKeys({ T: () => go(`${fnAt(fn.slug, "code")}?test=1`) });
  useEffect(() => document.querySelector(".tabs [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" }), [tab]);
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
      <nav class="tabs" aria-label={fn.slug}>
        {TABS.map(([key, text]) => (
          <Link key={key} href={key === "overview" ? fnAt(fn.slug) : fnAt(fn.slug, key)} aria-current={key === tab ? "page" : undefined}>
            {text}
            {key === "versions" && <span class="n">{fn.version}</span>}
            {key === "code" && draft && tab !== "code" && <span class="dotc" title="changes not deployed, kept in this browser" />}
          </Link>
        ))}
      </nav>
      {children}
    </>
  );
}
