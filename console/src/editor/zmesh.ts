import type { Completion, CompletionContext, CompletionResult } from "@codemirror/autocomplete";
import type { EditorState } from "@codemirror/state";
import declarations from "../../../sdk/javascript/zmesh.d.ts?raw";
import { membersOf, type Member } from "./declarations.ts";

const members = membersOf(declarations);
const INTERFACE: Record<string, string> = { "zmesh.": "Zmesh", "zmesh.db.": "Database", "tx.": "Database", "zmesh.invocation.": "Invocation", "zmesh.request.": "Request" };

/** Python spells the same members with underscores. */
const python = (state: EditorState): boolean => state.doc.lines > 0 && /^\s*(def|async def|import|from)\s/m.test(state.doc.sliceString(0, 4000));
const snake = (name: string): string => name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);
const named = (m: Member, py: boolean): string => (py ? snake(m.name) : m.name);

export function completeZmesh(context: CompletionContext): CompletionResult | null {
  const word = context.matchBefore(/(zmesh(\.db|\.invocation|\.request)?|tx)\.\w*/);
  if (!word) return null;
  const base = word.text.slice(0, word.text.lastIndexOf(".") + 1);
  const py = python(context.state);
  const own = members.get(INTERFACE[base] ?? "") ?? [];
  return {
    from: word.from + base.length,
    options: own.map((m): Completion => ({ label: named(m, py), detail: m.detail.slice(m.name.length), info: m.info, type: m.detail.includes("(") ? "method" : "property" })),
    validFor: /^\w*$/,
  };
}

export function memberAt(state: EditorState, pos: number): { from: number; to: number; detail: string; info: string } | null {
  const line = state.doc.lineAt(pos);
  for (const match of line.text.matchAll(/\b((?:zmesh(?:\.db|\.invocation|\.request)?|tx)\.)(\w+)/g)) {
    const from = line.from + match.index + match[1]!.length;
    const to = from + match[2]!.length;
    if (pos < from || pos > to) continue;
    const py = python(state);
    const member = members.get(INTERFACE[match[1]!] ?? "")?.find((m) => named(m, py) === match[2]);
    if (member) return { from, to, detail: py ? named(member, true) + member.detail.slice(member.name.length) : member.detail, info: member.info };
  }
  return null;
}
