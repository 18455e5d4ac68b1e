import { MergeView } from "@codemirror/merge";
import { syntaxHighlighting } from "@codemirror/language";
import { EditorState } from "@codemirror/state";
import { EditorView, lineNumbers } from "@codemirror/view";
import { languageFor, look } from "./editor.ts";
import { kinds } from "./highlight.ts";

const tints = EditorView.theme({
  ".cm-changedLine, .cm-insertedLine": { backgroundColor: "var(--ok-tint) !important" },
  ".cm-deletedChunk, &.cm-merge-a .cm-changedLine": { backgroundColor: "var(--error-tint) !important" },
  ".cm-changedText": { background: "none !important", textDecoration: "underline", textUnderlineOffset: "3px" },
});

export function createMerge(host: HTMLElement, { file, theirs, mine, onChange }: { file: string; theirs: string; mine: string; onChange: (t: string) => void }): () => void {
  const root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
  root.replaceChildren();
  const shared = [lineNumbers(), look, tints, syntaxHighlighting(kinds as never), languageFor(file), EditorView.lineWrapping];
  const view = new MergeView({
    a: { doc: theirs, extensions: [...shared, EditorState.readOnly.of(true), EditorView.editable.of(false), EditorView.contentAttributes.of({ "aria-label": "As deployed" })] },
    b: { doc: mine, extensions: [...shared, EditorView.contentAttributes.of({ "aria-label": "Your draft" }), EditorView.updateListener.of((u) => u.docChanged && onChange(u.state.doc.toString()))] },
    parent: root,
    root,
    revertControls: "a-to-b",
    collapseUnchanged: { margin: 3 },
  });
  return () => view.destroy();
}
