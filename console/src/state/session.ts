import { createContext } from "preact";
import { useContext } from "preact/hooks";
import { ApiError, problemOf, unreachable } from "../api/errors.ts";
import type { Role, Session } from "../api/types.ts";

async function ask(method: string, path: string, body?: unknown): Promise<Session> {
  const response = await fetch(`/console/session${path}`, {
    method,
    headers: { "x-zmesh-console": "1", ...(body ? { "content-type": "application/json" } : {}) },
    ...(body ? { body: JSON.stringify(body) } : {}),
  }).catch(() => Promise.reject(unreachable()));
  if (!response.ok) throw new ApiError(response.status, await problemOf(response));
  return (response.status === 204 ? undefined : await response.json()) as Session;
}

export const readSession = (): Promise<Session> => ask("GET", "");
export const signIn = (email: string, password: string): Promise<Session> => ask("POST", "", { email, password });
export const signInByLink = (token: string): Promise<Session> => ask("POST", "/link", { token });
export const home = (session: Session): string => {
  const first = session.projects[0];
  return first ? `/p/${first.slug}/functions` : "/signin";
};

/** Makes its reader a member. The session for programs that comes with it is ended again: a browser has a cookie. */
export async function acceptInvitation(token: string, password: string): Promise<void> {
  const post = (path: string, body: object): Promise<Response> => fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  const response = await post("/auth/accept", { token, password });
  if (!response.ok) throw new ApiError(response.status, await problemOf(response));
  await post("/auth/logout", { refresh_token: ((await response.json()) as { refresh_token: string }).refresh_token });
}

export const signOut = async (): Promise<void> => void (await ask("DELETE", ""));

/** What a role may do; docs/reference/permissions.md is the table. A button that would be refused is not drawn. */
const RANK: Record<Role, number> = { viewer: 0, developer: 1, owner: 2 };
export const allows = (role: Role, least: Role): boolean => RANK[role] >= RANK[least];

export type Here = { session: Session; project: Session["projects"][number]; may: (least: Role) => boolean };
export const HereContext = createContext<Here | null>(null);
export function useHere(): Here {
  const here = useContext(HereContext);
  if (!here) throw new Error("used outside of a project");
  return here;
}
