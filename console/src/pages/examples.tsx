import { useState } from "preact/hooks";
import { sayError } from "../api/errors.ts";
import { examplesOf, removeExample, saveExample, type Example, type TestRequest } from "../state/examples.ts";
import { toast } from "../state/toast.ts";
import { Button, TextField } from "../parts/basic.tsx";
import { Dialog, Menu, type MenuItem } from "../parts/overlays.tsx";

type Props = { id: string; payload: string; request: TestRequest | null; choose: (e: Example) => void };
/** Saved inputs of a function's tests: choose one, save what is there, remove the chosen one. */
export function Examples({ id, payload, request, choose }: Props) {
  const [examples, setExamples] = useState(() => examplesOf(id));
  const [chosen, setChosen] = useState<string>();
  const [saving, setSaving] = useState(false);
  const save = (name: string): void => {
    try {
      setExamples(saveExample(id, { name, payload, request }));
      setChosen(name);
      setSaving(false);
      toast(`Example ${name} is saved in this browser`);
    } catch (error) {
      toast(`Not saved: ${sayError(error)}`);
    }
  };
  const remove = (example: Example): void => {
    setExamples(removeExample(id, example.name));
    setChosen(undefined);
    toast(`Example ${example.name} is removed`, { label: "Undo", run: () => setExamples(saveExample(id, example)) });
  };
  const current = examples.find((e) => e.name === chosen);
  const items: MenuItem[] = [
    ...examples.map((e) => ({ label: e.name, run: () => (setChosen(e.name), choose(e)) })),
    ...(examples.length ? ["line" as const] : []),
    { label: "Save as an example", run: () => setSaving(true) },
    ...(current ? [{ label: `Remove ${current.name}`, danger: true, run: () => remove(current) }] : []),
  ];
  return (
    <>
      <Menu label="Examples" text="Examples" small items={items} />
      {saving && <SaveExample known={examples.map((e) => e.name)} first={chosen ?? ""} close={() => setSaving(false)} save={save} />}
    </>
  );
}

function SaveExample({ known, first, close, save }: { known: string[]; first: string; close: () => void; save: (name: string) => void }) {
  const [name, setName] = useState(first);
  const submit = (): void => {
    if (name.trim()) save(name.trim());
  };
  return (
    <Dialog
      title="Save as an example"
      onClose={close}
      onSubmit={submit}
      footer={
        <>
          <Button kind="bare" onClick={close}>
            Cancel
          </Button>
          <Button kind="primary" type="submit" off={!name.trim() && "Enter a name"}>
            Save example
          </Button>
        </>
      }
    >
      <div class="bd">
        <TextField label="Name" value={name} onInput={setName} maxLength={40} placeholder="Order without address" help={known.includes(name.trim()) ? `It replaces the example ${name.trim()}.` : "Kept in this browser."} />
      </div>
    </Dialog>
  );
}
