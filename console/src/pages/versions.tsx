import { useEffect, useState } from "preact/hooks";
import { Link, useLocation } from "wouter-preact";
import { api, call, must } from "../api/client.ts";
import { sayError } from "../api/errors.ts";
import type { FunctionVersion, Statistics } from "../api/types.ts";
import { invalidate, useData } from "../state/data.ts";
import { readDraft } from "../state/draft.ts";
import { useHere } from "../state/session.ts";
import { toast } from "../state/toast.ts";
import { fnAt, withQuery } from "../support/routes.ts";
import { useQuery } from "../support/query.ts";
import { filesOf } from "../support/files.ts";
import { countChanges, diffFiles } from "../support/diff.ts";
import { formatCount, formatDuration, plural, share, shortName } from "../support/format.ts";
import { callSnippets } from "../support/snippets.ts";
import { Ago, Bones, Button, Failed, Segmented } from "../parts/basic.tsx";
import { Box } from "../parts/data.tsx";
import { Diff } from "../parts/diff.tsx";
import { Confirm, CopyAs, CopyDialog, Menu } from "../parts/overlays.tsx";
import { Frame, type FunctionProps } from "./function.tsx";
import { setLive } from "./shares.tsx";

export default function Versions(props: FunctionProps) {
  const { fn, live, reload } = props;
  const { may } = useHere();
  const [query, setQuery] = useQuery();
  const [rolling, setRolling] = useState(false);
  const [copying, setCopying] = useState(false);
  const [, go] = useLocation();
  const [all, setAll] = useState(false);
  const [form, setForm] = useState<"side" | "one">("side");
  const list = useData(`versions ${fn.id} ${fn.version}`, () => must(api.GET("/functions/{id}/versions", { params: { path: { id: fn.id }, query: { limit: 100 } } })));
  const stats = useData(`statistics ${fn.id} versions`, () => call<Statistics>("GET", withQuery(`/functions/${fn.id}/statistics`, { since: new Date(Date.now() - 86_400_000).toISOString(), step: 3600 })));
  const versions = list.data?.items ?? [];
  const to = Number(query.to) || fn.version;
  const from = Number(query.from) || (list.data ? previous(versions, to) : to - 1 || null);
  const draft = readDraft(fn.id);
  const chosen = to === fn.version ? from : to;
  const rollTo = chosen && chosen !== fn.version ? chosen : null;
  const figures = (version: number): { calls: number; failed: number; p95: number | null } | null => {
    const v = stats.data?.versions.find((x) => x.version === version);
    return v ? { calls: v.success + v.error + v.timeout + v.cancelled, failed: v.error + v.timeout, p95: v.duration_ms?.p95 ?? null } : null;
  };
  const snippets = callSnippets(location.origin, "POST", `/functions/${fn.id}/versions/${rollTo ?? fn.version}/rollback`, undefined, `zmesh functions rollback ${fn.slug} ${rollTo ?? fn.version}`);
  const shown = versions.filter((v, k) => all || k < RECENT || v.version === from || v.version === to);
  return (
    <Frame
      {...props}
      tab="versions"
      actions={
        <>
          <CopyAs snippets={snippets} />
          {may("developer") && chosen && (
            <Link class="btn wide" href={withQuery(fnAt(fn.slug, "code"), { test: 1, run: chosen })}>
              Run v{chosen}
            </Link>
          )}
          {may("developer") && rollTo && (
            <Button onClick={() => setRolling(true)}>
              Roll back<span class="wide"> to v{rollTo}</span>
            </Button>
          )}
          <span class="narrow">
            <Menu
              label="More"
              items={[
                ...(may("developer") && chosen ? [{ label: `Run v${chosen}`, run: () => go(withQuery(fnAt(fn.slug, "code"), { test: 1, run: chosen })) }] : []),
                { label: "Copy as SQL, curl or CLI", run: () => setCopying(true) },
              ]}
            />
          </span>
        </>
      }
    >
      <div class="scroll">
        <div class="page stack">
          {fn.version > 1 && !list.data && <div class="box live-place" aria-hidden="true" />}
          {versions.length > 1 && <LiveBox {...props} versions={versions} from={from} figures={figures} />}
          <div class="cols ver-cols">
            <Box title="Versions" aside={formatCount(fn.version)}>
              {!list.data && (list.error ? <Failed error={list.error} retry={() => void list.reload()} /> : <Bones rows={4} />)}
              <ol class="vers">
                {draft && (
                  <li>
                    <Link href={fnAt(fn.slug, "code")}>
                      <span class="vn num">draft</span>
                      <span class="grow">
                        <b class="m cut">Draft in this browser</b>
                      </span>
                    </Link>
                  </li>
                )}
                {shown.map((v) => {
                  const f = figures(v.version);
                  const part = (live?.versions as Record<string, number> | undefined)?.[String(v.version)];
                  return (
                    <li key={v.version} class={v.version === to ? "on" : v.version === from ? "base" : ""}>
                      <Link href={withQuery(fnAt(fn.slug, "versions"), { to: v.version, from: v.version === to ? from : previous(versions, v.version) })} aria-current={v.version === to ? "true" : undefined}>
                        <span class="vn num">v{v.version}</span>
                        <span class="grow">
                          <span class="row between">
                            <b class="m cut" title={v.message || undefined}>
                              {v.message || <Ago at={v.created_at} />}
                            </b>
                            {part !== undefined ? <span class="tag">{part} %</span> : v.current ? <span class="tag">current</span> : v.retired_at ? <span class="tag amber">retired</span> : null}
                          </span>
                          <span class="row between meta">
                            <span class="cut" title={v.deployed_by ?? undefined}>
                              {shortName(v.deployed_by)}
                              {v.message ? (
                                <>
                                  {v.deployed_by && ", "}
                                  <Ago at={v.created_at} />
                                </>
                              ) : (
                                !v.deployed_by && plural(Math.max(1, Object.keys(v.file_sizes).length), "file")
                              )}
                            </span>
                            {f && f.calls > 0 ? <span class={`num ${f.failed / f.calls > 0.05 ? "err" : ""}`}>{f.failed ? `${formatCount(f.failed)} of ${formatCount(f.calls)} failed` : plural(f.calls, "call")}</span> : null}
                          </span>
                        </span>
                      </Link>
                    </li>
                  );
                })}
              </ol>
              {shown.length < versions.length && (
                <button type="button" class="older meta" onClick={() => setAll(true)}>
                  {versions.length - shown.length} older
                </button>
              )}
            </Box>
            {from ? <Compare fn={fn} from={from} to={to} form={form} setForm={setForm} swap={() => setQuery({ from: String(to), to: String(from) })} /> : <Box title={`v${to}`}><div class="body"><p class="soft">The first version. Once there are two, this shows what changed between them.</p></div></Box>}
          </div>
        </div>
      </div>
      {copying && <CopyDialog snippets={snippets} close={() => setCopying(false)} />}
      {rolling && rollTo && (
        <Confirm
          title={`Roll back ${fn.slug} to v${rollTo}?`}
          action={`Roll back to v${rollTo}`}
          onClose={() => setRolling(false)}
          run={async () => {
            const now = await must(api.POST("/functions/{id}/versions/{version}/rollback", { params: { path: { id: fn.id, version: rollTo }, header: { "If-Match": `"${fn.revision}"` } as never } }));
            setQuery({ from: null, to: null });
            await reload();
            invalidate("versions");
            toast(`${fn.slug} is at v${now.version}, with the code of v${rollTo}`);
          }}
        >
          v{rollTo} becomes v{fn.version + 1}
          {live ? ". The shares of “live” do not change." : " and gets all calls immediately."} v{fn.version} is kept, so this can be undone.
        </Confirm>
      )}
    </Frame>
  );
}

/** More of them would push the comparison off a phone. */
const RECENT = 12;

const previous = (versions: FunctionVersion[], of: number): number | null => Math.max(0, ...versions.map((v) => v.version).filter((v) => v < of)) || null;

function Compare({ fn, from, to, form, setForm, swap }: { fn: FunctionProps["fn"]; from: number; to: number; form: "side" | "one"; setForm: (f: "side" | "one") => void; swap: () => void }) {
  const read = (version: number) => useData(`version ${fn.id} ${version}`, () => must(api.GET("/functions/{id}/versions/{version}", { params: { path: { id: fn.id, version } } })));
  const before = read(from);
  const after = read(to);
  if (before.error || after.error) return <Failed error={before.error ?? after.error} what="The versions could not be loaded." />;
  if (!before.data || !after.data) return <Bones rows={8} />;
  const [a, b] = [filesOf(before.data, fn.slug), filesOf(after.data, fn.slug)];
  const diffs = diffFiles(a, b);
  const added = diffs.reduce((n, d) => n + d.added, 0);
  const removed = diffs.reduce((n, d) => n + d.removed, 0);
  return (
    <section class="box diffbox" aria-label={`v${from} and v${to}`}>
      <div class="head">
        <span class="tag num">v{from}</span>
        <Button kind="bare" small icon="rightc" label={`Swap v${from} and v${to}`} onClick={swap} />
        <span class="tag num">v{to}</span>
        <span class="meta num">
          <span class="okc">+{added}</span> <span class="err">−{removed}</span> in {plural(countChanges(diffs).files, "file")}
        </span>
        <div class="acts">
          <Segmented
            small
            class="wide"
            label="Form"
            value={form}
            options={[
              ["side", "Side by side"],
              ["one", "Unified"],
            ]}
            onChange={setForm}
          />
        </div>
      </div>
      {diffs.length ? <Diff diffs={diffs} before={a} after={b} unified={form === "one"} /> : <p class="soft pad">The files are the same.</p>}
    </section>
  );
}

type LiveProps = FunctionProps & { versions: FunctionVersion[]; from: number | null; figures: (v: number) => { calls: number; failed: number; p95: number | null } | null };
/** The alias "live": used by calls that name no version, with the error rate of each side. */
function LiveBox({ fn, live, versions, reload, figures }: LiveProps) {
  const { may } = useHere();
  const shares = (live?.versions ?? {}) as Record<string, number>;
  const set = Object.keys(shares).map(Number).sort((a, b) => a - b);
  const newest = versions[0]!.version;
  const next = set.length > 1 ? set.at(-1)! : set.includes(newest) || !set.length ? newest : newest;
  const base = set.length > 1 ? set[0]! : set.length === 1 && set[0] !== next ? set[0]! : previous(versions, next)!;
  const kept = live ? (shares[String(next)] ?? 0) : 100;
  const [part, setPart] = useState(kept);
  const [busy, setBusy] = useState(false);
  const [wrong, setWrong] = useState<string>();
  useEffect(() => setPart(kept), [kept, next]);
  const save = async (): Promise<void> => {
    setBusy(true);
    setWrong(undefined);
    try {
      await setLive(fn, part === 0 ? { [base]: 100 } : part === 100 ? { [next]: 100 } : { [base]: 100 - part, [next]: part });
      await reload();
      toast(part === 100 || part === 0 ? `v${part ? next : base} takes all calls` : `v${next} takes ${part} % of the calls`);
    } catch (error) {
      setWrong(sayError(error));
    }
    setBusy(false);
  };
  const side = (version: number, percent: number) => {
    const f = figures(version);
    const bad = f && f.calls >= 30 && f.failed >= 3 && f.failed / f.calls > 0.05;
    return (
      <>
        <div class="row">
          <b class="m">v{version}</b>
          <span class="num m share">{percent} %</span>
        </div>
        <ul class="row meta num">
          <li>{f ? plural(f.calls, "call") : "no calls in 24 h"}</li>
          {f && f.calls > 0 && <li class={bad ? "err m" : ""}>{share(f.failed, f.calls)} % failed</li>}
          {f?.p95 != null && <li>p95 {formatDuration(f.p95)}</li>}
        </ul>
      </>
    );
  };
  return (
    <section class="box alias" aria-label="Shares of live">
      <div class="head">
        <h2>live</h2>
        <span class="meta wide">{live ? "used by calls that name no version" : "not set: every call runs the current version"}</span>
        {may("developer") && (
          <div class="acts">
            <Segmented small label={`Share of v${next}`} value={String(part)} options={["0", "1", "10", "25", "50", "100"].map((p): [string, string] => [p, p === "100" ? "100 %" : p])} onChange={(p) => setPart(Number(p))} />
            <Button small busy={busy} off={part === kept ? "No changes" : false} onClick={() => void save()}>
              Save
            </Button>
          </div>
        )}
      </div>
      <div class="body">
        <div class="slide">
          <div class="track">
            <i style={{ width: `${100 - part}%` }} />
            <i style={{ width: `${part}%` }} />
          </div>
          {may("developer") && <input type="range" min="0" max="100" value={part} aria-label={`Share of v${next} in percent`} onInput={(e) => setPart(Number(e.currentTarget.value))} />}
        </div>
        <div class="sides">
          <div>{side(base, 100 - part)}</div>
          <div class="r">{side(next, part)}</div>
        </div>
        {wrong && (
          <p class="err" role="alert">
            {wrong}
          </p>
        )}
      </div>
    </section>
  );
}
