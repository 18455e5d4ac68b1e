import type { TestRequest } from "../state/examples.ts";

export type WrittenRequest = { method: string; path: string; query: string; headers: Record<string, string>; body: string };
export const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
export const NEW_REQUEST: TestRequest = { method: "POST", target: "/", headers: "content-type: application/json" };
export const hasBody = (method: string): boolean => method !== "GET" && method !== "HEAD";

/** The request as the API takes it; a text says what is wrong with what was typed. */
export function writtenRequest({ method, target, headers }: TestRequest, body: string): WrittenRequest | string {
  const [path = "", ...query] = target.trim().split("?");
  if (!path.startsWith("/")) return "The path begins with /, as in /orders/7?full=1.";
  const named: Record<string, string> = {};
  for (const [k, line] of headers.split("\n").entries()) {
    if (!line.trim()) continue;
    const match = /^\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*:(.*)$/.exec(line);
    if (!match) return `Header ${k + 1}: write name: value.`;
    named[match[1]!.toLowerCase()] = match[2]!.trim();
  }
  // What is percent-encoded already stays so.
  const encoded = (text: string): string => encodeURI(text).replace(/%25([0-9A-Fa-f]{2})/g, "%$1");
  return { method, path: encoded(path), query: encoded(query.join("?")), headers: named, body: hasBody(method) ? body : "" };
}
