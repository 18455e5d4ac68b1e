import { useState } from "preact/hooks";
import { useLocation } from "wouter-preact";
import { api, must } from "../api/client.ts";
import { fieldErrors, sayError } from "../api/errors.ts";
import type { Language } from "../api/types.ts";
import { useHere } from "../state/session.ts";
import { Button, Empty, Icon, Lang, Segmented, TextField } from "../parts/basic.tsx";
import { Bar } from "../parts/shell.tsx";
import { at, fnAt } from "../support/routes.ts";
import { STARTS } from "./first.tsx";

const EMPTY: Record<Language, string> = {
  javascript: "exports.handler = async (payload, zmesh) => {\n  return { received: payload };\n};\n",
  typescript: "export const handler = async (payload: unknown, zmesh: any) => {\n  return { received: payload };\n};\n",
  python: "def handler(payload, zmesh):\n    return {\"received\": payload}\n",
};

export default function NewFunction() {
  const { may } = useHere();
  const [, go] = useLocation();
  const [name, setName] = useState("");
  const [language, setLanguage] = useState<Language>("javascript");
  const [from, setFrom] = useState<string>("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const wrong = fieldErrors(error);
  if (!may("developer")) return <Empty title="Viewers cannot create functions." />;
  const submit = async (e: Event): Promise<void> => {
    e.preventDefault();
    setBusy(true);
    try {
      const start = STARTS.find((s) => s.name === from);
      const made = await must(api.POST("/functions", { body: { name, language: start?.language ?? language, code: start?.code ?? EMPTY[language] } as never }));
      go(fnAt(made.slug, "code"));
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  };
  return (
    <>
      <Bar title="New function" back={["Functions", at("functions")]} line />
      <div class="scroll">
        <form class="page stack form" onSubmit={(e) => void submit(e)}>
          <TextField label="Name" value={name} onInput={setName} required placeholder="send-receipt" autocomplete="off" wrong={wrong.name ?? (error && !Object.keys(wrong).length ? sayError(error) : undefined)} help="Part of the URL: letters, digits and hyphens." />
          <div class="field">
            <span class="lab">Start from</span>
            <div class="picks box pad" role="radiogroup" aria-label="Start from">
              <button type="button" role="radio" aria-checked={from === ""} class="pick" onClick={() => setFrom("")}>
                <Icon name="file" />
                <span>
                  <b>An empty function</b>
                  <span>Returns its payload</span>
                </span>
              </button>
              {STARTS.map((s) => (
                <button type="button" role="radio" key={s.name} aria-checked={from === s.name} class="pick" onClick={() => setFrom(s.name)}>
                  <Lang of={s.language} />
                  <span>
                    <b>{s.title}</b>
                    <span>{s.says}</span>
                  </span>
                </button>
              ))}
            </div>
          </div>
          {from === "" && (
            <div class="field">
              <span class="lab">Language</span>
              <Segmented
                label="Language"
                value={language}
                options={[
                  ["javascript", "JavaScript"],
                  ["typescript", "TypeScript"],
                  ["python", "Python"],
                ]}
                onChange={setLanguage}
              />
            </div>
          )}
          <div class="row">
            <Button kind="primary" type="submit" busy={busy}>
              Create function
            </Button>
            <Button kind="bare" onClick={() => go(at("functions"))}>
              Cancel
            </Button>
          </div>
        </form>
      </div>
    </>
  );
}
