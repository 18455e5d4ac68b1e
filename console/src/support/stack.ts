/** Where an error was thrown: the first frame of its stack that lies in a file of the function. */
export type Place = { file: string; line: number; column: number | null; where: string | null };

const NODE = /^\s*at (?:async )?(?:(.+?) \()?(?:file:\/\/)?([^\s()]+?):(\d+):(\d+)\)?$/;
const PYTHON = /^\s*File "([^"]+)", line (\d+)(?:, in (.+))?$/;

function fileOf(path: string, files: readonly string[]): string | null {
  const clean = path.replace(/^\.\//, "");
  return files.find((f) => clean === f || clean.endsWith(`/${f}`)) ?? null;
}

export function placeOf(stack: string | null | undefined, files: readonly string[]): Place | null {
  if (!stack) return null;
  let found: Place | null = null;
  for (const text of stack.split("\n")) {
    const node = NODE.exec(text);
    if (node) {
      const file = fileOf(node[2]!, files);
      if (file) return { file, line: Number(node[3]), column: Number(node[4]), where: node[1] ?? null };
      continue;
    }
    const python = PYTHON.exec(text);
    const file = python && fileOf(python[1]!, files);
    // Python lists the call that failed last.
    if (python && file) found = { file, line: Number(python[2]), column: null, where: python[3] ?? null };
  }
  return found;
}

export const frames = (stack: string): string[] => stack.split("\n").filter((l) => NODE.test(l) || PYTHON.test(l));
