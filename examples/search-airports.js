// Full-text search over the table "airports", ranked and highlighted by PostgreSQL itself.
//
// Once, after the import:  { "setup": true }
// Then:                    { "q": "kennedy or laguardia", "limit": 5 }
// The query language is that of search engines: "exact words", or, -without.

// A generated column is kept up to date by PostgreSQL; the letters weigh the name above the city above the state.
const SETUP = `
  alter table airports add column if not exists search tsvector generated always as (
    setweight(to_tsvector('simple', coalesce(name, '')), 'A') ||
    setweight(to_tsvector('simple', coalesce(city, '')), 'B') ||
    setweight(to_tsvector('simple', coalesce(state, '') || ' ' || iata), 'C')
  ) stored;
  create index if not exists airports_search on airports using gin (search)`;

const SEARCH = `
  select iata, name, city, state,
         ts_rank(search, query)::float8 as rank,
         ts_headline('simple', concat_ws(', ', name, city, state), query, 'StartSel=<mark>, StopSel=</mark>') as highlight
    from airports, websearch_to_tsquery('simple', $1) query
   where search @@ query
   order by rank desc, iata
   limit $2`;

exports.handler = async (payload, zmesh) => {
  if (payload.setup) {
    await zmesh.db.query(SETUP);
    return { ready: true };
  }
  const q = String(payload.q ?? "").trim();
  if (!q) return { q, hits: [] };
  const limit = Math.min(Math.max(Number(payload.limit) || 10, 1), 100);
  return { q, hits: await zmesh.db.query(SEARCH, [q, limit]) };
};
