import { project } from "../api/client.ts";

/** Addresses of the pages; the prefix keeps them apart from the API's own paths. */
export const at = (...parts: string[]): string => `/p/${encodeURIComponent(project())}/${parts.map(encodeURIComponent).join("/")}`;
export const fnAt = (slug: string, tab?: string): string => (tab ? at("functions", slug, tab) : at("functions", slug));
export const invocationAt = (id: string): string => at("invocations", id);

export function withQuery(path: string, query: Record<string, string | number | null | undefined>): string {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) if (value !== null && value !== undefined && value !== "") search.set(key, String(value));
  const text = search.toString();
  return text ? `${path}?${text}` : path;
}
