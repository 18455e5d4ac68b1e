/** The text forms of what one can click: SQL, curl, CLI. */
export type Snippets = Partial<Record<"SQL" | "curl" | "CLI", string>>;

const sqlText = (text: string): string => `'${text.replaceAll("'", "''")}'`;
const shell = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

export function invokeSnippets(origin: string, slug: string, payload: unknown): Snippets {
  const json = JSON.stringify(payload ?? {});
  return {
    curl: `curl -X POST ${origin}/api/functions/${slug} -H "x-api-key: $ZMESH_API_KEY" -H "Content-Type: application/json" -d ${shell(json)}`,
    SQL: `insert into zmesh.invocations (function, payload) values (${sqlText(slug)}, ${sqlText(json)});`,
    CLI: `zmesh functions invoke ${slug} --data ${shell(json)}`,
  };
}

const manage = (origin: string, method: string, path: string, body?: unknown): string =>
  `curl -X ${method} ${origin}${path} -H "Authorization: Bearer $ZMESH_TOKEN"${body === undefined ? "" : ` -H "Content-Type: application/json" -d ${shell(JSON.stringify(body))}`}`;

export const deploySnippets = (file: string, message: string, share: number): Snippets => ({
  CLI: `zmesh functions deploy ${file}${message ? ` --message ${shell(message)}` : ""} --share ${share}`,
});

export const keySnippets = (name: string, scope: string, functions: string[], days: string): Snippets => ({
  CLI: ["zmesh keys create", shell(name || "NAME"), ...(scope === "invoke" ? [] : [`--scope ${scope}`]), ...functions.map((slug) => `--function ${slug}`), ...(days ? [`--days ${days}`] : [])].join(" "),
});

export const retrySnippets = (origin: string, id: string): Snippets => ({
  curl: manage(origin, "POST", `/invocations/${id}/retry`),
  CLI: `zmesh invocations retry ${id}`,
});

export const callSnippets = (origin: string, method: string, path: string, body?: unknown, cli?: string): Snippets => ({ curl: manage(origin, method, path, body), ...(cli ? { CLI: cli } : {}) });
