import { useEffect, useRef, useState } from "preact/hooks";
import type { FunctionDetails } from "../api/types.ts";
import type { Draft } from "../state/draft.ts";
import { filesOf, textOf } from "../support/files.ts";
import { Button, Select } from "../parts/basic.tsx";
import { Dialog } from "../parts/overlays.tsx";

/** Two people deployed: theirs on the left, mine on the right, chunk by chunk. What stands on the right goes on as the draft. */
export default function Merge({ fn, draft, close }: { fn: FunctionDetails; draft: Draft; close: () => void }) {
  const theirs = filesOf(fn, fn.slug);
  const names = [...new Set([...Object.keys(theirs), ...Object.keys(draft.files)])].filter((f) => textOf(theirs[f]) !== textOf(draft.files[f])).sort();
  const [file, setFile] = useState(names[0] ?? "");
  const merged = useRef({ ...draft.files });
  const host = useRef<HTMLDivElement>(null);
  useEffect(() => {
    let end = (): void => {};
    let on = true;
    void import("../editor/merge.ts").then(({ createMerge }) => {
      if (!on || !host.current || !file) return;
      end = createMerge(host.current, { file, theirs: textOf(theirs[file]) ?? "", mine: textOf(merged.current[file]) ?? "", onChange: (t) => void (merged.current[file] = t) });
    });
    return () => {
      on = false;
      end();
    };
  }, [file]);
  return (
    <Dialog
      wide
      title={`Merge your draft with v${fn.version}`}
      onClose={close}
      footer={
        <>
          <span class="meta grow wide">Left: v{fn.version}, as deployed. Right: your draft, to edit.</span>
          <Button kind="bare" onClick={close}>
            Later
          </Button>
          <Button
            kind="primary"
            onClick={() => {
              draft.rebase(fn, merged.current);
              close();
            }}
          >
            Use the merged draft
          </Button>
        </>
      }
    >
      {names.length !== 1 && (
        <div class="bd">
          {names.length > 1 && <Select aria-label="File" value={file} options={names.map((n) => [n, n])} onChange={setFile} />}
          {!names.length && <p>There are no differences.</p>}
        </div>
      )}
      {names.length > 0 && <p class="bd meta narrow">Red: v{fn.version}, as deployed. Petrol: your draft, to edit.</p>}
      <div class="dscroll mergebox">
        <div class="cm-host" ref={host} />
      </div>
    </Dialog>
  );
}
