import { useEffect, useRef, useState } from "preact/hooks";
import type { Files, FunctionDetails } from "../api/types.ts";
import { filesOf } from "../support/files.ts";
import { countChanges, diffFiles, type FileDiff } from "../support/diff.ts";

/** Unsaved work of a function, kept in this browser with each pause of typing. It knows the revision it began from. */
type Kept = { revision: number; base: Files; files: Files; at: number };
const keyOf = (id: string): string => `zmesh.draft.${id}`;

export function readDraft(id: string): Kept | null {
  try {
    return JSON.parse(localStorage.getItem(keyOf(id)) ?? "null") as Kept | null;
  } catch {
    return null;
  }
}

export type Draft = {
  files: Files;
  base: Files;
  revision: number;
  changed: boolean;
  diffs: FileDiff[];
  summary: { lines: number; files: number };
  keptAt: number | null;
  set: (file: string, content: string | null) => void;
  rename: (file: string, to: string) => void;
  discard: () => void;
  /** Goes on from what is live now: what stands in `files` is then the change against it. */
  rebase: (to: FunctionDetails, files: Files) => void;
  deployed: (to: FunctionDetails) => void;
};

export function useDraft(fn: FunctionDetails): Draft {
  const live = filesOf(fn, fn.slug);
  const kept = useRef<Kept | null>(readDraft(fn.id));
  const [state, setState] = useState<Kept>(kept.current ?? { revision: fn.revision, base: live, files: live, at: 0 });
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const latest = useRef(state);
  latest.current = state;
  const diffs = diffFiles(state.base, state.files);

  const write = (): void => {
    clearTimeout(timer.current);
    const now = latest.current;
    if (JSON.stringify(now.files) === JSON.stringify(now.base)) localStorage.removeItem(keyOf(fn.id));
    else localStorage.setItem(keyOf(fn.id), JSON.stringify(now));
  };
  const change = (files: Files): void => {
    const next = { ...latest.current, files, at: Date.now() };
    latest.current = next;
    setState(next);
    clearTimeout(timer.current);
    timer.current = setTimeout(write, 400);
  };
  useEffect(() => {
    addEventListener("pagehide", write);
    return () => {
      removeEventListener("pagehide", write);
      write();
    };
  }, []);
  // Nobody is typing: follow what was deployed elsewhere.
  useEffect(() => {
    if (!diffs.length && fn.revision !== state.revision) start(fn);
  }, [fn.revision]);
  const start = (to: FunctionDetails): void => {
    const files = filesOf(to, to.slug);
    const next = { revision: to.revision, base: files, files, at: 0 };
    latest.current = next;
    setState(next);
    localStorage.removeItem(keyOf(fn.id));
  };
  return {
    files: state.files,
    base: state.base,
    revision: state.revision,
    changed: diffs.length > 0,
    diffs,
    summary: countChanges(diffs),
    keptAt: diffs.length ? state.at : null,
    set: (file, content) => {
      const files = { ...latest.current.files };
      if (content === null) delete files[file];
      else files[file] = content;
      change(files);
    },
    rename: (file, to) => {
      const files = { ...latest.current.files };
      files[to] = files[file]!;
      delete files[file];
      change(files);
    },
    discard: () => start(fn),
    rebase: (to, files) => {
      const next = { revision: to.revision, base: filesOf(to, to.slug), files, at: Date.now() };
      latest.current = next;
      setState(next);
      write();
    },
    deployed: start,
  };
}
