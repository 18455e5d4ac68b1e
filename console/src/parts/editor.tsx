import { useEffect, useRef, useState } from "preact/hooks";
import type { Editor, EditorOptions } from "../editor/editor.ts";

type Props = Omit<EditorOptions, "keys"> & { handle?: (editor: Editor | null) => void; keys?: Record<string, () => void> };

/** CodeMirror, fetched when the first editor is on the screen; the text is readable before. */
export function CodeEditor({ text, file, label, readOnly, small, onChange, onCursor, onProblems, handle, keys }: Props) {
  const host = useRef<HTMLDivElement>(null);
  const editor = useRef<Editor | null>(null);
  const fns = useRef({ onChange, onCursor, onProblems, keys });
  fns.current = { onChange, onCursor, onProblems, keys };
  const given = useRef({ text, file });
  given.current = { text, file };
  const typed = useRef<string[]>([]); // texts that come back as props, perhaps when more has been typed already
  const shown = useRef(file);
  const [ready, setReady] = useState(false);
  useEffect(() => {
    let on = true;
    void import("../editor/editor.ts").then(({ createEditor }) => {
      if (!on || !host.current) return;
      editor.current = createEditor(host.current, {
        ...given.current,
        label,
        readOnly: !!readOnly,
        small: !!small,
        onChange: (t) => {
          typed.current.push(t);
          fns.current.onChange(t);
        },
        onCursor: (l, c) => fns.current.onCursor?.(l, c),
        onProblems: (p) => fns.current.onProblems?.(p),
        keys: Object.keys(keys ?? {}).map((key) => ({ key, run: () => (fns.current.keys?.[key]?.(), true) })),
      });
      setReady(true);
      handle?.(editor.current);
    });
    return () => {
      on = false;
      handle?.(null);
      editor.current?.destroy();
      editor.current = null;
    };
  }, []);
  useEffect(() => {
    const at = shown.current === file ? typed.current.lastIndexOf(text) : -1;
    typed.current.splice(0, at < 0 ? Infinity : at + 1);
    if (at >= 0) return; // to show it would undo what was typed since
    shown.current = file;
    editor.current?.show(text, file);
  }, [text, file]);
  return (
    <div class="cm-box">
      <div class="cm-host" ref={host} />
      {!ready && <pre class="cm-before">{text}</pre>}
    </div>
  );
}
