/** What a function is tested with. `payload` is a JSON text, or the body of the request. */
export type Example = { name: string; payload: string; request: TestRequest | null };
export type TestRequest = { method: string; target: string; headers: string };

const keyOf = (id: string): string => `zmesh.examples.${id}`;

/** Examples that somebody saved, kept in this browser by function. */
export function examplesOf(id: string): Example[] {
  try {
    return JSON.parse(localStorage.getItem(keyOf(id)) ?? "[]") as Example[];
  } catch {
    return [];
  }
}

/** Saves one, in place of another with the same name; the latest comes first. Throws where the browser has no space left. */
export function saveExample(id: string, example: Example): Example[] {
  return store(id, [example, ...examplesOf(id).filter((e) => e.name !== example.name)]);
}

export const removeExample = (id: string, name: string): Example[] =>
  store(
    id,
    examplesOf(id).filter((e) => e.name !== name),
  );

function store(id: string, examples: Example[]): Example[] {
  if (examples.length) localStorage.setItem(keyOf(id), JSON.stringify(examples));
  else localStorage.removeItem(keyOf(id));
  return examples;
}
