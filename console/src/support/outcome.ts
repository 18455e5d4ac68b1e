import type { FunctionError } from "../api/types.ts";

/** An error as the platform keeps it; a value of another shape is shown as it is. */
export function errorOf(error: unknown): FunctionError | null {
  if (error === null || error === undefined) return null;
  if (typeof error === "object" && "type" in error) return { stack: null, ...(error as Partial<FunctionError>), type: String(error.type), message: String((error as { message?: unknown }).message ?? "") };
  return { type: "error", message: typeof error === "string" ? error : JSON.stringify(error), stack: null };
}

/** Said only where the data is sure: at least 30 calls on each side, 3 failures, and twice the share. */
export type VersionCalls = { version: number; calls: number; failed: number };
export function worseVersion(versions: VersionCalls[]): { worse: VersionCalls; better: VersionCalls } | null {
  const [newest, before] = [...versions].sort((a, b) => b.version - a.version);
  if (!newest || !before || newest.calls < 30 || before.calls < 30 || newest.failed < 3) return null;
  return newest.failed / newest.calls >= 2 * (before.failed / before.calls) ? { worse: newest, better: before } : null;
}
