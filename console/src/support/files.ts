import type { Files, FunctionDetails, FunctionVersion, Language } from "../api/types.ts";

const ENDING: Record<Language, string> = { javascript: "js", typescript: "ts", python: "py" };
export const languageOfName = (file: string): Language => (file.endsWith(".py") ? "python" : /\.[mc]?tsx?$/.test(file) ? "typescript" : "javascript");

/** A function of one file has no `files`; its file has the name that its stack traces say. */
export const entryFile = (f: { entry_file?: string | null; language: string }, slug: string): string => f.entry_file || `${slug}.${ENDING[f.language as Language]}`;

export function filesOf(f: FunctionDetails | FunctionVersion, slug: string): Files {
  const entry = entryFile(f, slug);
  return { [entry]: f.code, ...(f.files as Files | null | undefined) };
}

export const textOf = (file: string | { base64: string } | undefined): string | null => (typeof file === "string" ? file : null);

/** Package manifests are written by hand, locks by the platform. */
export const isLock = (file: string): boolean => /(^|\/)(package-lock\.json|uv\.lock|requirements\.lock)$/.test(file);

/** What is sent: the text of one file, or all of them. */
export function contentOf(fn: FunctionDetails, files: Files): { code: string } | { files: Files; entry_file: string } {
  const entry = entryFile(fn, fn.slug);
  const others = Object.keys(files).filter((f) => f !== entry);
  if (!others.length && !fn.entry_file) return { code: textOf(files[entry]) ?? "" };
  return { files, entry_file: entry };
}
