import type { Zmesh } from "../zmesh";

export const handler = async (payload: { name?: string }, zmesh: Zmesh) => {
  return { message: `${zmesh.env.GREETING}, ${payload.name ?? "stranger"}!` };
};
