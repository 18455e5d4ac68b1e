import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { javascript } from "@codemirror/lang-javascript";
import { json } from "@codemirror/lang-json";
import { python } from "@codemirror/lang-python";
import { bracketMatching, indentOnInput, indentUnit, syntaxHighlighting, syntaxTree } from "@codemirror/language";
import { lintGutter, linter, setDiagnostics, type Diagnostic } from "@codemirror/lint";
import { highlightSelectionMatches, searchKeymap } from "@codemirror/search";
import { Compartment, EditorState, type Extension } from "@codemirror/state";
import { EditorView, drawSelection, highlightActiveLine, highlightActiveLineGutter, hoverTooltip, keymap, lineNumbers } from "@codemirror/view";
import { kinds } from "./highlight.ts";
import { completeZmesh, memberAt } from "./zmesh.ts";

/** Colours are those of the page: custom properties reach into the shadow root. */
export const look = EditorView.theme({
  "&": { height: "100%", color: "var(--ink)", backgroundColor: "transparent" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { font: "12.5px/20px var(--mono)", fontVariantLigatures: "none", overflow: "auto" },
  ".cm-content": { padding: "8px 0", caretColor: "var(--ink)" },
  ".cm-line": { padding: "0 16px 0 4px" },
  ".cm-cursor": { borderLeftColor: "var(--ink)", borderLeftWidth: "2px" },
  ".cm-gutters": { backgroundColor: "transparent", color: "var(--ink-3)", border: "0" },
  ".cm-lineNumbers .cm-gutterElement": { minWidth: "40px", padding: "0 8px 0 4px" },
  ".cm-activeLine": { backgroundColor: "var(--sunken)" },
  ".cm-activeLineGutter": { backgroundColor: "transparent", color: "var(--ink)" },
  "&.cm-focused .cm-selectionBackground, .cm-selectionBackground": { backgroundColor: "var(--ok-soft) !important" },
  ".cm-selectionMatch": { backgroundColor: "var(--selected)" },
  ".cm-matchingBracket, &.cm-focused .cm-matchingBracket": { backgroundColor: "var(--selected)", outline: "none" },
  ".cm-gutter-lint": { width: "14px" },
  ".cm-lintRange-error": { backgroundImage: "none", textDecoration: "underline wavy var(--error-fill) 1.5px", textUnderlineOffset: "4px" },
  ".cm-tooltip": { backgroundColor: "var(--raised)", border: "0", boxShadow: "var(--pop)", borderRadius: "6px", color: "var(--ink)", font: "12px/16px var(--font)", maxWidth: "480px" },
  ".cm-tooltip-lint .cm-diagnostic, .hover": { padding: "8px 12px", borderLeft: "0", whiteSpace: "pre-wrap" },
  ".hover code": { font: "12px/18px var(--mono)", display: "block" },
  ".hover p": { margin: "4px 0 0", color: "var(--ink-2)" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul": { font: "12.5px/24px var(--mono)", maxHeight: "240px" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li": { padding: "2px 8px" },
  ".cm-tooltip-autocomplete ul li[aria-selected]": { backgroundColor: "var(--selected)", color: "var(--ink)" },
  ".cm-completionDetail": { color: "var(--ink-3)", fontStyle: "normal" },
  ".cm-completionInfo": { padding: "8px 12px" },
  ".cm-panels": { backgroundColor: "var(--sunken)", color: "var(--ink)", borderColor: "var(--line)" },
  ".cm-panels input, .cm-panels button": { font: "13px/20px var(--font)", color: "var(--ink)", background: "var(--bg)", border: "1px solid var(--control)", borderRadius: "4px" },
  ".cm-searchMatch": { backgroundColor: "var(--timeout-tint)" },
  ".k": { color: "var(--code-key)" },
  ".s": { color: "var(--code-str)" },
  ".n": { color: "var(--code-num)" },
  ".c": { color: "var(--code-note)", fontStyle: "italic" },
});

export function languageFor(file: string): Extension {
  if (/\.py$/.test(file)) return [python(), indentUnit.of("    ")];
  if (/\.json$/.test(file)) return json();
  if (/\.([mc]?[jt]s|[jt]sx)$/.test(file)) return javascript({ typescript: /\.[mc]?tsx?$/.test(file), jsx: /x$/.test(file) });
  return [];
}

/** The parser's own errors, said before anything is deployed. */
export function syntaxProblems(state: EditorState): Diagnostic[] {
  const found: Diagnostic[] = [];
  syntaxTree(state).iterate({
    enter: (node) => {
      if (!node.type.isError || found.length > 20) return;
      const line = state.doc.lineAt(node.from);
      const from = node.to > node.from ? node.from : Math.max(line.from, node.from - 1);
      found.push({ from, to: Math.max(node.to, Math.min(from + 1, line.to)), severity: "error", message: "Syntax error" });
    },
  });
  const seen = new Set<number>();
  return found.filter((d) => {
    const line = state.doc.lineAt(d.from).number;
    return seen.has(line) ? false : seen.add(line);
  });
}

const describe = hoverTooltip((view, pos) => {
  const member = memberAt(view.state, pos);
  if (!member) return null;
  return {
    pos: member.from,
    end: member.to,
    create: () => {
      const dom = document.createElement("div");
      dom.className = "hover";
      dom.append(Object.assign(document.createElement("code"), { textContent: member.detail }));
      if (member.info) dom.append(Object.assign(document.createElement("p"), { textContent: member.info }));
      return { dom };
    },
  };
});

export const isNarrow = (): boolean => matchMedia("(max-width: 720px)").matches;

export type EditorOptions = {
  text: string;
  file: string;
  label: string;
  readOnly?: boolean;
  small?: boolean;
  onChange: (text: string) => void;
  onCursor?: (line: number, column: number) => void;
  onProblems?: (problems: { line: number; message: string }[]) => void;
  keys?: { key: string; run: () => boolean }[];
};
export type Editor = {
  show: (text: string, file: string) => void;
  goTo: (line: number, column?: number) => void;
  mark: (problems: { line: number; message: string }[]) => void;
  focus: () => void;
  destroy: () => void;
};

/** In a shadow root: there CodeMirror adopts its style sheets, and the page's policy needs no exception for styles. */
export function createEditor(host: HTMLElement, options: EditorOptions): Editor {
  const root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
  root.replaceChildren();
  const language = new Compartment();
  const name = new Compartment();
  let quiet = false;
  const check = linter(
    (view) => {
      const problems = /\.(json|py|[mc]?[jt]sx?)$/.test(current) ? syntaxProblems(view.state) : [];
      options.onProblems?.(problems.map((d) => ({ line: view.state.doc.lineAt(d.from).number, message: d.message })));
      return problems;
    },
    { delay: 500 },
  );
  let current = options.file;
  const extensions = (): Extension[] => [
    keymap.of([...(options.keys ?? []), ...closeBracketsKeymap, ...completionKeymap, ...defaultKeymap, ...searchKeymap, ...historyKeymap, ...(options.small ? [] : [indentWithTab])]),
    lineNumbers(),
    history(),
    drawSelection(),
    indentOnInput(),
    bracketMatching(),
    closeBrackets(),
    highlightSelectionMatches(),
    ...(options.small ? [] : [highlightActiveLine(), highlightActiveLineGutter(), lintGutter()]),
    autocompletion({ override: options.small ? [] : [completeZmesh] }),
    describe,
    check,
    syntaxHighlighting(kinds as never),
    look,
    EditorState.tabSize.of(2),
    // Sideways scrolling with a finger loses the beginning of the lines; wrapped ones hang below it.
    ...(isNarrow() ? [EditorView.lineWrapping] : []),
    language.of(languageFor(current)),
    name.of(EditorView.contentAttributes.of({ "aria-label": options.label, tabindex: "0" })),
    EditorView.editable.of(!options.readOnly),
    EditorState.readOnly.of(!!options.readOnly),
    EditorView.updateListener.of((u) => {
      if (u.docChanged && !quiet) options.onChange(u.state.doc.toString());
      if (u.selectionSet || u.docChanged) {
        const at = u.state.selection.main.head;
        const line = u.state.doc.lineAt(at);
        options.onCursor?.(line.number, at - line.from + 1);
      }
    }),
  ];
  const view = new EditorView({ parent: root as unknown as Element, root, state: EditorState.create({ doc: options.text, extensions: extensions() }) });
  return {
    show(text, file) {
      if (file === current && text === view.state.doc.toString()) return;
      quiet = true;
      current = file;
      view.setState(EditorState.create({ doc: text, extensions: extensions() }));
      quiet = false;
    },
    goTo(line, column = 1) {
      const l = view.state.doc.line(Math.max(1, Math.min(line, view.state.doc.lines)));
      const pos = Math.min(l.to, l.from + column - 1);
      view.dispatch({ selection: { anchor: pos }, effects: EditorView.scrollIntoView(pos, { y: "center" }) });
      view.focus();
    },
    mark(problems) {
      const doc = view.state.doc;
      view.dispatch(setDiagnostics(view.state, problems.map((p): Diagnostic => {
        const l = doc.line(Math.max(1, Math.min(p.line, doc.lines)));
        return { from: l.from + (/^\s*/.exec(l.text)?.[0].length ?? 0), to: l.to, severity: "error", message: p.message };
      })));
    },
    focus: () => view.focus(),
    destroy: () => view.destroy(),
  };
}
