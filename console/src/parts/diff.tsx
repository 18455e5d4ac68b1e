import { useState } from "preact/hooks";
import type { Files } from "../api/types.ts";
import { fold, type FileDiff, type Row } from "../support/diff.ts";
import { textOf } from "../support/files.ts";
import { plural } from "../support/format.ts";
import { Icon } from "./basic.tsx";
import { Painted, useTokens, type Tokens } from "./data.tsx";

/** What changed, by file: side by side where there is room, else unified; unchanged runs fold to one line. */
export function Diff({ diffs, before, after, unified }: { diffs: FileDiff[]; before: Files; after: Files; unified?: boolean }) {
  return (
    <>
      {diffs.map((d) => (
        <OneFile key={d.file} diff={d} before={textOf(before[d.file]) ?? ""} after={textOf(after[d.file]) ?? ""} unified={!!unified} />
      ))}
    </>
  );
}

function OneFile({ diff, before, after, unified }: { diff: FileDiff; before: string; after: string; unified: boolean }) {
  const [open, setOpen] = useState<ReadonlySet<number>>(new Set());
  const was = useTokens(before, diff.file);
  const is = useTokens(after, diff.file);
  return (
    <>
      <h3 class="fname mono">
        {diff.file}
        <span class="meta num">{diff.action === "added" ? "new" : diff.action === "removed" ? "removed" : `+${diff.added} −${diff.removed}`}</span>
      </h3>
      {diff.binary ? (
        <p class="meta pad">No text: the bytes differ.</p>
      ) : (
        <div class={`diff ${unified ? "one" : ""}`} tabIndex={0} role="group" aria-label={`Changes of ${diff.file}`}>
          {fold(diff.rows).map((chunk, k) =>
            chunk.fold && !open.has(k) ? (
              <button type="button" class="skip meta" key={k} onClick={() => setOpen(new Set([...open, k]))}>
                <Icon name="updown" />
                {plural(chunk.rows.length, "unchanged line")}
              </button>
            ) : unified ? (
              unify(chunk.rows).map((r, n) => <UnifiedRow key={`${k}-${n}`} {...r} was={was} is={is} />)
            ) : (
              chunk.rows.map((row, n) => <SideRow key={`${k}-${n}`} row={row} was={was} is={is} />)
            ),
          )}
        </div>
      )}
    </>
  );
}

type Line = { kind: "" | "add" | "del"; line: number; text: string };
/** In one column, all that went stands before all that came. */
function unify(rows: Row[]): Line[] {
  const lines: Line[] = [];
  let removed: Line[] = [];
  let added: Line[] = [];
  const flush = (): void => {
    lines.push(...removed, ...added);
    removed = [];
    added = [];
  };
  for (const row of rows) {
    if (row.kind === "same") {
      flush();
      lines.push({ kind: "", line: row.after!.line, text: row.after!.text });
    } else {
      if (row.before) removed.push({ kind: "del", ...row.before });
      if (row.after) added.push({ kind: "add", ...row.after });
    }
  }
  flush();
  return lines;
}

type Sides = { was: Tokens | null; is: Tokens | null };
const UnifiedRow = ({ kind, line, text, was, is }: Line & Sides) => (
  <div class="dr">
    <div class={`dl ${kind}`}>
      <span>{line}</span>
      <span>
        <Painted text={text} tokens={(kind === "del" ? was : is)?.[line - 1]} />
      </span>
    </div>
  </div>
);

function SideRow({ row, was, is }: { row: Row } & Sides) {
  const same = row.kind === "same";
  return (
    <div class="dr">
      <div class={`dl ${same ? "" : row.before ? "del" : "none"}`}>
        <span>{row.before?.line}</span>
        <span>{row.before && <Painted text={row.before.text} tokens={was?.[row.before.line - 1]} />}</span>
      </div>
      <div class={`dl ${same ? "dup" : row.after ? "add" : "none"}`}>
        <span>{row.after?.line}</span>
        <span>{row.after && <Painted text={row.after.text} tokens={is?.[row.after.line - 1]} />}</span>
      </div>
    </div>
  );
}
