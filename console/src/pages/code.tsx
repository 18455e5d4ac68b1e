import { useEffect, useRef, useState } from "preact/hooks";
import type { Editor } from "../editor/editor.ts";
import { invalidate } from "../state/data.ts";
import { useDraft, type Draft } from "../state/draft.ts";
import { useHere } from "../state/session.ts";
import { useQuery } from "../support/query.ts";
import { entryFile, isLock, textOf } from "../support/files.ts";
import { plural } from "../support/format.ts";
import type { ProblemPlace } from "../support/problems.ts";
import { Ago, Button, Icon, Segmented, keyName, languageName } from "../parts/basic.tsx";
import { CodeEditor } from "../parts/editor.tsx";
import { Confirm, Menu } from "../parts/overlays.tsx";
import { Deploy } from "./deploy.tsx";
import { FileName } from "./file_name.tsx";
import { Frame, type FunctionProps } from "./function.tsx";
import { TestPane } from "./test_pane.tsx";
import { lazily } from "../parts/lazy.tsx";

const Merge = lazily(() => import("./merge.tsx"));

export default function CodePage(props: FunctionProps) {
  const { fn } = props;
  const { may } = useHere();
  const editable = may("developer");
  const draft = useDraft(fn);
  const [query, setQuery] = useQuery();
  const names = Object.keys(draft.files).sort((a, b) => Number(isLock(a)) - Number(isLock(b)) || a.localeCompare(b));
  const entry = entryFile(fn, fn.slug);
  const file = query.file && draft.files[query.file] !== undefined ? query.file : names.includes(entry) ? entry : names[0]!;
  const [pane, setPane] = useState<"code" | "test">(query.test ? "test" : "code");
  const [cursor, setCursor] = useState<[number, number]>([1, 1]);
  const [problems, setProblems] = useState<ProblemPlace[]>([]);
  const [typed, setTyped] = useState<{ line: number; message: string }[]>([]);
  const [deploying, setDeploying] = useState(false);
  const [merging, setMerging] = useState(false);
  const [discarding, setDiscarding] = useState(false);
  const [adding, setAdding] = useState(false);
  const [renaming, setRenaming] = useState<string>();
  const editor = useRef<Editor | null>(null);
  const runTest = useRef<() => void>(() => {});
  const goneTo = useRef("");

  const toLine = (line: number): void => editor.current?.goTo(line);
  const arrive = (e: Editor | null): void => {
    editor.current = e;
    if (e && query.line) {
      goneTo.current = `${file}:${query.line}`;
      e.goTo(Number(query.line));
    }
  };
  useEffect(() => {
    if (query.line && goneTo.current !== `${file}:${query.line}`) {
      goneTo.current = `${file}:${query.line}`;
      toLine(Number(query.line));
    }
  }, [query.line, file]);
  useEffect(() => editor.current?.mark(problems.filter((p) => p.file === file)), [problems, file]);
  const review = (): void => {
    if (editable && draft.changed) setDeploying(true);
  };
  useEffect(() => {
    const onKey = (e: KeyboardEvent): void => {
      if ((e.metaKey || e.ctrlKey) && e.key.toLowerCase() === "s") {
        e.preventDefault();
        review();
      } else if ((e.metaKey || e.ctrlKey) && e.key === "Enter" && !document.querySelector("dialog[open]")) {
        e.preventDefault();
        runTest.current();
      }
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  });

  const shown = problems.length ? problems : typed.map((t) => ({ file, ...t }));
  const text = textOf(draft.files[file]);
  const dirty = new Set(draft.diffs.map((d) => d.file));
  const outdated = draft.changed && fn.revision !== draft.revision;
  return (
    <Frame
      {...props}
      tab="code"
      actions={
        editable ? (
          <>
            {draft.changed && (
              <>
                <span class="meta wide">
                  Draft kept in this browser, <Ago at={draft.keptAt ? new Date(draft.keptAt).toISOString() : null} />
                </span>
                <Button kind="bare" class="wide" onClick={() => setDiscarding(true)}>
                  Discard
                </Button>
              </>
            )}
            <Button kind="primary" keys={keyName("S")} off={!draft.changed && "No changes"} onClick={review}>
              <span class="wide">Review and deploy</span>
              <span class="narrow">Deploy</span>
            </Button>
            {draft.changed && (
              <span class="narrow">
                <Menu label="More" items={[{ label: "Discard the draft", danger: true, run: () => setDiscarding(true) }]} />
              </span>
            )}
          </>
        ) : (
          <span class="meta">A viewer reads the code; a developer changes it.</span>
        )
      }
    >
      {outdated && (
        <div class="note warn flat" role="alert">
          <Icon name="warn" />
          <div class="grow">
            <b>Somebody else deployed v{fn.version}.</b> Your draft is based on an older version; both are kept.
          </div>
          <div class="acts">
            <Button onClick={() => setMerging(true)}>Merge</Button>
          </div>
        </div>
      )}
      {editable && (
        <div class="panes-switch narrow">
          <Segmented
            label="Pane"
            value={pane}
            options={[
              ["code", "Code"],
              ["test", "Test"],
            ]}
            onChange={setPane}
          />
        </div>
      )}
      <div class={`panes ${editable ? "" : "no-test"}`} data-show={pane}>
        <div class="pane-tree wide">
          <ul class="tree" aria-label="Files">
            {names.map((name) => (
              <li key={name} class={name === file ? "on" : isLock(name) ? "quiet" : ""}>
                <button type="button" class="row grow cut" aria-current={name === file ? "true" : undefined} onClick={() => setQuery({ file: name, line: null })}>
                  <Icon name={isLock(name) ? "lock" : "file"} />
                  <span class="cut">{name}</span>
                </button>
                {dirty.has(name) && <span class="dotc" title="changed" />}
                {editable && name !== entry && (
                  <Menu
                    small
                    label={`Actions for ${name}`}
                    items={[
                      { label: "Rename", run: () => setRenaming(name) },
                      { label: "Remove", danger: true, run: () => (draft.set(name, null), setQuery({ file: null })) },
                    ]}
                  />
                )}
              </li>
            ))}
          </ul>
          <Packages draft={draft} />
          {editable && (
            <Button kind="bare" small icon="plus" class="add" onClick={() => setAdding(true)}>
              Add file
            </Button>
          )}
        </div>
        <div class="pane-code">
          <div class="filetabs">
            {names.map((name) => (
              <button type="button" key={name} class={name === file || dirty.has(name) ? "" : "other"} aria-current={name === file ? "true" : undefined} onClick={() => setQuery({ file: name, line: null })}>
                {name}
                {dirty.has(name) && <span class="dotc" />}
              </button>
            ))}
            {editable && (
              <button type="button" class="other" aria-label="Add file" onClick={() => setAdding(true)}>
                <Icon name="plus" />
              </button>
            )}
            <span class="meta end wide num">{draft.changed ? `${plural(draft.summary.lines, "line")} changed in ${plural(draft.summary.files, "file")} since v${fn.version}` : `as deployed, v${fn.version}`}</span>
          </div>
          <div class="editor">
            {text === null ? (
              <p class="meta pad">This file is not text. It is deployed unchanged.</p>
            ) : (
              <CodeEditor
                key={editable ? "rw" : "ro"}
                label={`Code of ${file}`}
                text={text}
                file={file}
                readOnly={!editable || isLock(file)}
                onChange={(t) => {
                  draft.set(file, t);
                  setProblems([]);
                }}
                onCursor={(l, c) => setCursor([l, c])}
                onProblems={setTyped}
                handle={arrive}
                keys={{ "Mod-Enter": () => runTest.current() }}
              />
            )}
          </div>
          {shown.length > 0 && (
            <div class="problems" role="status">
              {shown.slice(0, 3).map((p) => (
                <button type="button" key={`${p.file}${p.line}${p.message}`} onClick={() => (p.file !== file ? setQuery({ file: p.file, line: String(p.line) }) : toLine(p.line))}>
                  <Icon name="st-error" small />
                  <b class="mono">
                    {p.file}:{p.line}
                  </b>
                  <span>{p.message}</span>
                </button>
              ))}
            </div>
          )}
          <div class="statusbar meta">
            <span>{languageName(fn.language)}</span>
            <span class={`st ${shown.length ? "error" : "success"}`}>
              <Icon name={shown.length ? "st-error" : "st-success"} />
              {shown.length ? plural(shown.length, "problem") : "No problems"}
            </span>
            <span class="end num">
              Line {cursor[0]}, column {cursor[1]}
            </span>
          </div>
        </div>
        {editable && <TestPane fn={fn} draft={draft} runner={runTest} first={Number(query.run) || null} onLine={(f, line) => (setPane("code"), setQuery({ file: f, line: String(line) }))} />}
      </div>
      {deploying && (
        <Deploy
          fn={fn}
          live={props.live}
          draft={draft}
          onClose={() => setDeploying(false)}
          onProblems={(found) => {
            setProblems(found);
            if (found[0]) {
              setQuery({ file: found[0].file, line: null });
              setTimeout(() => toLine(found[0]!.line), 60);
            }
          }}
          onOutrun={async () => {
            await props.reload();
            setMerging(true);
          }}
          done={async (to) => {
            draft.deployed(to);
            setProblems([]);
            await props.reload();
            invalidate("functions ");
            invalidate("versions");
          }}
        />
      )}
      {merging && <Merge fn={fn} draft={draft} close={() => setMerging(false)} />}
      {discarding && (
        <Confirm title="Discard the draft?" action="Discard" danger onClose={() => setDiscarding(false)} run={async () => draft.discard()}>
          {plural(draft.summary.lines, "changed line")} in {plural(draft.summary.files, "file")} will be lost. v{fn.version} does not change.
        </Confirm>
      )}
      {adding && (
        <FileName title="Add a file" action="Add file" draft={draft} close={() => setAdding(false)} done={(name) => (draft.set(name, ""), setQuery({ file: name, line: null }))}>
          package.json or requirements.txt declare packages.
        </FileName>
      )}
      {renaming && (
        <FileName title={`Rename ${renaming}`} action="Rename" from={renaming} draft={draft} close={() => setRenaming(undefined)} done={(to) => (draft.rename(renaming, to), setQuery({ file: to }))}>
          Imports of it stay as they are.
        </FileName>
      )}
    </Frame>
  );
}

function Packages({ draft }: { draft: Draft }) {
  const manifest = textOf(draft.files["package.json"]);
  let packages: [string, string][] = [];
  try {
    packages = manifest ? Object.entries((JSON.parse(manifest) as { dependencies?: Record<string, string> }).dependencies ?? {}) : [];
  } catch {
    // Half typed: the editor says what is wrong with it.
  }
  const lines = textOf(draft.files["requirements.txt"])?.split("\n") ?? [];
  packages.push(...lines.filter((l) => /^\s*[\w.-]+/.test(l)).map((l): [string, string] => [/^\s*([\w.-]+)/.exec(l)![1]!, /==\s*([^\s;]+)/.exec(l)?.[1] ?? ""]));
  if (!packages.length) return null;
  return (
    <>
      <h2 class="meta">Packages</h2>
      <ul class="tree" aria-label="Packages">
        {packages.map(([name, version]) => (
          <li key={name}>
            <Icon name="box" />
            <span class="cut">{name}</span>
            <span class="meta num">{version}</span>
          </li>
        ))}
      </ul>
    </>
  );
}
