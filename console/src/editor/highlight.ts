import { javascriptLanguage, tsxLanguage, typescriptLanguage } from "@codemirror/lang-javascript";
import { jsonLanguage } from "@codemirror/lang-json";
import { pythonLanguage } from "@codemirror/lang-python";
import type { LRLanguage } from "@codemirror/language";
import { highlightCode, tagHighlighter, tags as t } from "@lezer/highlight";

export type Paint = { text: string; kind: string };

/** Four kinds are enough: keyword, string, number, comment. */
export const kinds = tagHighlighter([
  { tag: [t.keyword, t.modifier, t.controlKeyword, t.operatorKeyword, t.definitionKeyword, t.moduleKeyword, t.self, t.null, t.bool], class: "k" },
  { tag: [t.string, t.special(t.string), t.regexp], class: "s" },
  { tag: [t.number], class: "n" },
  { tag: [t.comment], class: "c" },
]);

export function languageOf(file: string): LRLanguage | null {
  if (/\.tsx$/.test(file)) return tsxLanguage;
  if (/\.[mc]?ts$/.test(file)) return typescriptLanguage;
  if (/\.([mc]?js|jsx)$/.test(file)) return javascriptLanguage;
  if (/\.py$/.test(file)) return pythonLanguage;
  if (/\.json$/.test(file)) return jsonLanguage;
  return null;
}

export function paint(code: string, file: string): Paint[][] {
  const language = languageOf(file);
  if (!language) return code.split("\n").map((text) => [{ text, kind: "" }]);
  const lines: Paint[][] = [[]];
  highlightCode(
    code,
    language.parser.parse(code),
    kinds,
    (text, kind) => lines.at(-1)!.push({ text, kind }),
    () => lines.push([]),
  );
  return lines;
}
