import { diffArrays } from "diff";
import type { Files } from "../api/types.ts";

export type Side = { line: number; text: string } | null;
export type Row = { kind: "same" | "change"; before: Side; after: Side };
export type FileDiff = { file: string; action: "added" | "removed" | "changed"; rows: Row[]; added: number; removed: number; binary: boolean };

const linesOf = (text: string): string[] => (text === "" ? [] : text.replace(/\n$/, "").split("\n"));

/** Lines beside each other: what was replaced stands in one row with what it became. */
export function diffLines(before: string, after: string): Row[] {
  const rows: Row[] = [];
  let [a, b] = [1, 1];
  const changes = diffArrays(linesOf(before), linesOf(after));
  for (let k = 0; k < changes.length; k++) {
    const change = changes[k]!;
    if (!change.added && !change.removed) {
      for (const text of change.value) rows.push({ kind: "same", before: { line: a++, text }, after: { line: b++, text } });
      continue;
    }
    const next = changes[k + 1];
    const pair = next && (next.added || next.removed) && next.added !== change.added ? next : null;
    if (pair) k++;
    const removed = change.removed ? change.value : (pair?.value ?? []);
    const added = change.added ? change.value : (pair?.value ?? []);
    for (let n = 0; n < Math.max(removed.length, added.length); n++) {
      const [was, is] = [removed[n], added[n]];
      rows.push({ kind: "change", before: was === undefined ? null : { line: a++, text: was }, after: is === undefined ? null : { line: b++, text: is } });
    }
  }
  return rows;
}

export function diffFiles(before: Files, after: Files): FileDiff[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
  return names.flatMap((file): FileDiff[] => {
    const [was, is] = [before[file], after[file]];
    if (JSON.stringify(was) === JSON.stringify(is)) return [];
    const binary = typeof (was ?? "") !== "string" || typeof (is ?? "") !== "string";
    const rows = binary ? [] : diffLines((was as string | undefined) ?? "", (is as string | undefined) ?? "");
    return [
      {
        file,
        action: was === undefined ? "added" : is === undefined ? "removed" : "changed",
        rows,
        added: rows.filter((r) => r.kind === "change" && r.after).length,
        removed: rows.filter((r) => r.kind === "change" && r.before).length,
        binary,
      },
    ];
  });
}

export type Chunk = { fold: false; rows: Row[] } | { fold: true; rows: Row[] };
/** Unchanged runs longer than twice the context fold to one line. */
export function fold(rows: Row[], context = 3): Chunk[] {
  const near = new Set<number>();
  rows.forEach((row, k) => {
    if (row.kind === "change") for (let n = k - context; n <= k + context; n++) near.add(n);
  });
  const chunks: Chunk[] = [];
  rows.forEach((row, k) => {
    const hidden = !near.has(k);
    const last = chunks.at(-1);
    if (last && last.fold === hidden) last.rows.push(row);
    else chunks.push({ fold: hidden, rows: [row] });
  });
  return chunks.map((c) => (c.fold && c.rows.length < 2 ? { fold: false, rows: c.rows } : c));
}

export const countChanges = (diffs: FileDiff[]): { lines: number; files: number } => ({ lines: diffs.reduce((n, d) => n + Math.max(d.added, d.removed), 0), files: diffs.length });
