import { MergeView, unifiedMergeView } from "@codemirror/merge";
import { syntaxHighlighting } from "@codemirror/language";
import { EditorState } from "@codemirror/state";
import { EditorView, lineNumbers } from "@codemirror/view";
import { isNarrow, languageFor, look } from "./editor.ts";
import { kinds } from "./highlight.ts";

const tints = EditorView.theme({
  ".cm-changedLine, .cm-insertedLine": { backgroundColor: "var(--ok-tint) !important" },
  ".cm-deletedChunk, &.cm-merge-a .cm-changedLine": { backgroundColor: "var(--error-tint) !important" },
  // The library lays its buttons over the text; a finger needs them above it, and the console has no green.
  ".cm-deletedChunk .cm-chunkButtons": { position: "static", display: "flex", gap: "8px", justifyContent: "end", padding: "4px 8px" },
  ".cm-deletedChunk .cm-chunkButtons button": { height: "40px", margin: "0", padding: "0 12px", font: "500 13px/20px var(--font)", color: "var(--ink) !important", background: "var(--bg) !important", border: "1px solid var(--line-2) !important", borderRadius: "6px" },
  ".cm-collapsedLines": { background: "var(--sunken) !important", color: "var(--ink-3)", padding: "4px 8px", "&:before, &:after": { content: "none !important" } },
  ".cm-changedLineGutter": { background: "var(--ok-fill) !important" },
  ".cm-deletedLineGutter, &.cm-merge-a .cm-changedLineGutter": { background: "var(--error-fill) !important" },
  ".cm-changedText, .cm-deletedChunk .cm-deletedText": { background: "none !important", textDecoration: "underline", textUnderlineOffset: "3px" },
});

function takeTheirs(): HTMLElement {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: "→", title: "Take theirs" });
  button.setAttribute("aria-label", "Take theirs");
  Object.assign(button.style, { width: "24px", height: "24px", marginInline: "-2px", border: "1px solid var(--line-2)", borderRadius: "6px", background: "var(--bg)", color: "var(--ink)", cursor: "pointer", font: "500 13px/20px var(--font)" });
  return button;
}

export function createMerge(host: HTMLElement, { file, theirs, mine, onChange }: { file: string; theirs: string; mine: string; onChange: (t: string) => void }): () => void {
  const root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
  root.replaceChildren();
  const shared = [lineNumbers(), look, tints, syntaxHighlighting(kinds as never), languageFor(file), EditorView.lineWrapping];
  const edited = [EditorView.contentAttributes.of({ "aria-label": "Your draft" }), EditorView.updateListener.of((u) => u.docChanged && onChange(u.state.doc.toString()))];
  if (isNarrow()) {
    // Two columns have no room: the draft, with what is deployed above each chunk that differs.
    const words = EditorState.phrases.of({ Accept: "Keep mine", Reject: "Take theirs" });
    const unified = unifiedMergeView({ original: theirs, mergeControls: true, collapseUnchanged: { margin: 3 } });
    const view = new EditorView({ parent: root as unknown as Element, root, doc: mine, extensions: [...shared, ...edited, words, unified] });
    return () => view.destroy();
  }
  const view = new MergeView({
    a: { doc: theirs, extensions: [...shared, EditorState.readOnly.of(true), EditorView.editable.of(false), EditorView.contentAttributes.of({ "aria-label": "As deployed" })] },
    b: { doc: mine, extensions: [...shared, ...edited] },
    parent: root,
    root,
    revertControls: "a-to-b",
    renderRevertControl: takeTheirs,
    collapseUnchanged: { margin: 3 },
  });
  return () => view.destroy();
}
