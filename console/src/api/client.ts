import createClient from "openapi-fetch";
import { ApiError, problemOf, unreachable } from "./errors.ts";
import type { paths } from "./schema.d.ts";

export const API = "/console/api";

let currentProject: string | null = null;
export const setProject = (slug: string | null): void => {
  currentProject = slug;
};
export const project = (): string => currentProject ?? "";

/** What asks for the password again on top of the page; it resolves when somebody has signed in. */
let signInAgain: (() => Promise<void>) | null = null;
export const onSessionEnded = (ask: () => Promise<void>): void => {
  signInAgain = ask;
};

const ENDED = new Set(["session_ended", "missing_credentials"]);

async function send(request: Request): Promise<Response> {
  const retry = request.clone();
  const response = await fetch(request);
  if (response.status !== 401 || !signInAgain) return response;
  const problem = await problemOf(response.clone());
  if (!ENDED.has(problem.code)) return response;
  await signInAgain();
  return fetch(retry);
}

function withHeaders(request: Request): Request {
  if (request.method !== "GET" && request.method !== "HEAD") request.headers.set("x-zmesh-console", "1");
  if (currentProject) request.headers.set("x-zmesh-project", currentProject);
  return request;
}

const reachable = async (request: Request): Promise<Response> => {
  try {
    return await send(withHeaders(request));
  } catch (cause) {
    if (cause instanceof DOMException && cause.name === "AbortError") throw cause;
    throw unreachable();
  }
};

export const api = createClient<paths>({ baseUrl: API, fetch: reachable });

/** The data of an answer of `api`, or an ApiError that says what the server said. */
export async function must<T>(call: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  const { data, error, response } = await call;
  if (response.ok) return data as T;
  throw ApiError.from(response, error);
}

/** A call whose answer is read by hand: streams, bodies that are no JSON. */
export const raw = (path: string, init: RequestInit = {}): Promise<Response> => reachable(new Request(new URL(API + path, location.origin), init));

export async function call<T>(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<T> {
  const init: RequestInit = { method, headers: { ...headers } };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    (init.headers as Record<string, string>)["content-type"] = "application/json";
  }
  const response = await raw(path, init);
  if (!response.ok) throw new ApiError(response.status, await problemOf(response));
  return (response.status === 204 ? undefined : await response.json()) as T;
}
