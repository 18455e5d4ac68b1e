export type FieldProblem = { field: string; message: string };
export type Problem = { code: string; detail: string; hint?: string | null; errors?: FieldProblem[]; request_id?: string | null };

export class ApiError extends Error {
  readonly status: number;
  readonly problem: Problem;
  constructor(status: number, problem: Problem) {
    super(problem.detail);
    this.status = status;
    this.problem = problem;
  }

  static from(response: Response, body: unknown): ApiError {
    const id = response.headers.get("x-request-id");
    if (body && typeof body === "object" && "detail" in body) return new ApiError(response.status, { request_id: id, ...(body as Problem) });
    return new ApiError(response.status, { code: "http_error", detail: `The server answered ${response.status}.`, request_id: id });
  }
}

/** What `fetch` rejects with says "Failed to fetch" at best. */
export const unreachable = (): ApiError => new ApiError(0, { code: "unreachable", detail: "The server did not answer. Check the connection." });

export async function problemOf(response: Response): Promise<Problem> {
  const id = response.headers.get("x-request-id");
  try {
    return { request_id: id, ...((await response.json()) as Problem) };
  } catch {
    return { code: "http_error", detail: `The server answered ${response.status}.`, request_id: id };
  }
}

/** What a person reads: the detail, then the hint. */
export const sayError = (error: unknown): string => {
  if (error instanceof ApiError) return [error.problem.detail, error.problem.hint].filter(Boolean).join(" ");
  return error instanceof Error ? error.message : String(error);
};

export const fieldErrors = (error: unknown): Record<string, string> =>
  error instanceof ApiError ? Object.fromEntries((error.problem.errors ?? []).map((e) => [e.field.replace(/^body\./, ""), e.message])) : {};
