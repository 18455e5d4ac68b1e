import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import type { Draft } from "../state/draft.ts";
import { Button, TextField } from "../parts/basic.tsx";
import { Dialog } from "../parts/overlays.tsx";

type Props = { title: string; action: string; from?: string; draft: Draft; close: () => void; done: (name: string) => void; children: ComponentChildren };
/** Asks for the path of a file in a function: of a new one, or the new one of `from`. */
export function FileName({ title, action, from = "", draft, close, done, children }: Props) {
  const [name, setName] = useState(from);
  const wrong = name !== from && draft.files[name] !== undefined ? `${name} exists already.` : /^\/|\.\.|\\/.test(name) ? "A path inside the function, such as lib/vat.ts." : undefined;
  const submit = (): void => {
    if (!name || name === from || wrong) return;
    done(name);
    close();
  };
  return (
    <Dialog
      title={title}
      onClose={close}
      onSubmit={submit}
      footer={
        <>
          <Button kind="bare" onClick={close}>
            Cancel
          </Button>
          <Button kind="primary" type="submit" off={!name || name === from ? "Enter a new name" : (wrong ?? false)}>
            {action}
          </Button>
        </>
      }
    >
      <div class="bd">
        <TextField label="Name" value={name} onInput={setName} wrong={wrong} placeholder="lib/vat.ts" help={children} />
      </div>
    </Dialog>
  );
}
