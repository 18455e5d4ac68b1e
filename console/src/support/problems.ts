/** Where a deployment's refusal points: "broken.js:2\n let x = ;\n ^\n\nSyntaxError: …", or Python's `File "x.py", line 3`. */
export type ProblemPlace = { file: string; line: number; message: string };

export function problemPlace(text: string): ProblemPlace | null {
  const said = text.trimEnd().split("\n").at(-1)!.trim();
  const node = /^(?:file:\/\/)?(?:\.\/)?([^\s:()]+):(\d+)/m.exec(text);
  const python = /File "([^"]+)", line (\d+)/.exec(text) ?? /\(([^\s(),]+), line (\d+)\)/.exec(text);
  const found = python ?? node;
  return found ? { file: found[1]!, line: Number(found[2]), message: said } : null;
}
