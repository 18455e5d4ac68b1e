/** The link of an invitation: the token and the address it is for stand behind #, so that they reach no server. */
export const invitationLink = (origin: string, token: string, email: string): string => `${origin}/accept#${token}/${encodeURIComponent(email)}`;

export function readInvitation(hash: string): { token: string; email: string } | null {
  const [token = "", email = ""] = hash.replace(/^#/, "").split("/");
  try {
    return token ? { token, email: decodeURIComponent(email) } : null;
  } catch {
    return { token, email: "" };
  }
}
