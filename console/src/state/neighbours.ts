/** The invocations of the list that was shown last, as it was: what comes before and after one of them. */
let ids: string[] = [];
export const rememberList = (shown: string[]): void => {
  ids = shown;
};
export function neighbours(id: string): { before: string | null; after: string | null } {
  const at = ids.indexOf(id);
  return at < 0 ? { before: null, after: null } : { before: ids[at - 1] ?? null, after: ids[at + 1] ?? null };
}
