// An HTTP API over the table notes. notes-fastapi is the same in Python, over the same table.
import { Hono } from "hono";

const app = new Hono<{ Bindings: Record<string, string> }>();
const db = (c: any) => c.executionCtx.zmesh.db;

app.use(async (c, next) => {
  await db(c).query("create table if not exists notes (id bigint generated always as identity primary key, text text not null)");
  await next();
});

app.get("/notes", async (c) => c.json(await db(c).query("select id::int, text from notes order by id")));

app.post("/notes", async (c) => {
  const { text } = await c.req.json();
  if (typeof text !== "string" || !text.trim()) return c.json({ error: "text is missing" }, 422);
  const note = await db(c).queryOne("insert into notes (text) values ($1) returning id::int, text", [text]);
  return c.json(note, 201);
});

app.get("/notes/:id{[0-9]+}", async (c) => {
  const note = await db(c).queryOne("select id::int, text from notes where id = $1", [c.req.param("id")]);
  return note ? c.json(note) : c.json({ error: "no such note" }, 404);
});

app.delete("/notes/:id{[0-9]+}", async (c) => {
  const removed = await db(c).remove("notes", "id = $1", [c.req.param("id")]);
  return removed.length ? c.body(null, 204) : c.json({ error: "no such note" }, 404);
});

export default app;
