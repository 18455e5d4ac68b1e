import { useState } from "preact/hooks";
import { call } from "../api/client.ts";
import { ApiError, sayError } from "../api/errors.ts";
import type { Alias, FunctionDetails } from "../api/types.ts";
import type { Draft } from "../state/draft.ts";
import { toast } from "../state/toast.ts";
import { contentOf, entryFile } from "../support/files.ts";
import { plural } from "../support/format.ts";
import { problemPlace, type ProblemPlace } from "../support/problems.ts";
import { firstShare, sayFirstShare, type Shares } from "../support/shares.ts";
import { deploySnippets } from "../support/snippets.ts";
import { Button, Icon, Segmented, TextField, keyName } from "../parts/basic.tsx";
import { Diff } from "../parts/diff.tsx";
import { Dialog, SnippetTabs } from "../parts/overlays.tsx";

const SHARES = ["0", "1", "10", "25", "50", "100"].map((part): [string, string] => [part, part === "100" ? "100 %" : part]);

type Props = { fn: FunctionDetails; live: Alias | undefined; draft: Draft; onClose: () => void; onProblems: (p: ProblemPlace[]) => void; onOutrun: () => Promise<void>; done: (to: FunctionDetails) => Promise<void> };
/** Shows what changes, and asks what to say about it and how many calls the new version gets at first. */
export function Deploy({ fn, live, draft, onClose, onProblems, onOutrun, done }: Props) {
  const shares = live?.versions as Shares | undefined;
  const [message, setMessage] = useState("");
  const [share, setShare] = useState(firstShare(shares, fn.version));
  const [busy, setBusy] = useState(false);
  const [wrong, setWrong] = useState<{ text: string; place: ProblemPlace | null } | null>(null);
  const deploy = async (): Promise<void> => {
    if (busy) return;
    setBusy(true);
    try {
      const body = { functions: [{ name: fn.name, language: fn.language, entry_point: fn.entry_point, revision: draft.revision, message: message.trim(), share, ...contentOf(fn, draft.files) }] };
      const made = await call<{ items: { action: string; function: FunctionDetails }[] }>("POST", "/deployments", body);
      const to = made.items[0]!.function;
      onClose();
      await done(to);
      toast(`${fn.slug} v${to.version} is deployed`);
    } catch (error) {
      setBusy(false);
      if (error instanceof ApiError && (error.status === 412 || error.status === 409)) {
        onClose();
        await onOutrun();
        return;
      }
      const said = error instanceof ApiError ? error.problem.errors?.[0]?.message : undefined;
      const place = said ? problemPlace(said) : null;
      setWrong({ text: sayError(error), place });
      if (place) onProblems([place]);
    }
  };
  return (
    <Dialog
      wide
      title={`Deploy v${fn.version + 1} of ${fn.slug}`}
      aside={`${plural(draft.summary.lines, "line")} in ${plural(draft.summary.files, "file")}`}
      onClose={onClose}
      onSubmit={() => void deploy()}
      footer={
        <>
          <span class="meta grow wide">{sayFirstShare(share, shares, fn.version)}</span>
          <Button kind="bare" onClick={onClose}>
            Cancel
          </Button>
          <Button kind="primary" keys={keyName("↵")} busy={busy} type="submit">
            Deploy
          </Button>
        </>
      }
    >
      <div class="bd stack">
        <TextField label="What changes" value={message} onInput={setMessage} maxLength={1000} placeholder="Optional; the list of versions shows it" />
        <div class="row between wrap">
          <span>Calls it gets at first</span>
          <Segmented label="Calls it gets at first, in percent" value={String(share)} options={SHARES} onChange={(part) => setShare(Number(part))} />
        </div>
        <details>
          <summary class="meta">From a terminal</summary>
          <SnippetTabs snippets={deploySnippets(fn.entry_file ? "." : entryFile(fn, fn.slug), message.trim(), share)} />
        </details>
      </div>
      {wrong && (
        <div class="bd">
          <div class="note bad" role="alert">
            <Icon name="warn" />
            <div class="grow">
              <b>Not deployed: </b>
              {wrong.place ? `${wrong.place.file}:${wrong.place.line} does not compile. ${wrong.place.message}` : wrong.text}
            </div>
            {wrong.place && (
              <div class="acts">
                <Button onClick={onClose}>Go to line</Button>
              </div>
            )}
          </div>
        </div>
      )}
      <div class="dscroll" tabIndex={0} role="group" aria-label="Changes">
        <Diff unified diffs={draft.diffs} before={draft.base} after={draft.files} />
      </div>
    </Dialog>
  );
}
