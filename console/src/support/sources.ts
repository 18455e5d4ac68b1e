/** What starts an invocation: its icon and its name. */
const BY: Record<string, [string, string]> = { api: ["globe", "HTTP"], sql: ["sql", "SQL"], schedule: ["clock", "schedule"], webhook: ["hook", "webhook"], change: ["table", "table change"], function: ["fn", "function"] };
export const sourceIcon = (source: string): string => BY[source]?.[0] ?? "play";
export const sourceName = (source: string): string => BY[source]?.[1] ?? source;
