// Answers with a web page instead of JSON: the origins with the longest average delay.
//
// GET /api/functions/delay-board?limit=5
// Needs the tables "flights" and "airports", imported with import-table.

const WORST = `
  select f.origin, a.name, a.city, count(*)::int as flights, round(avg(f.delay), 1)::float8 as delay
    from flights f join airports a on a.iata = f.origin
   group by f.origin, a.name, a.city
  having count(*) >= 10
   order by delay desc, f.origin
   limit $1`;

const ENTITIES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
const escape = (text) => String(text ?? "").replace(/[&<>"]/g, (character) => ENTITIES[character]);

exports.handler = async (payload, zmesh) => {
  const limit = Math.min(Number(zmesh.request?.query.limit) || 10, 50);
  const rows = await zmesh.db.query(WORST, [limit]);
  const lines = rows.map(
    (row) =>
      `<tr><td>${escape(row.origin)}</td><td>${escape(row.name)}, ${escape(row.city)}</td>` +
      `<td>${row.flights}</td><td>${row.delay.toFixed(1)}</td></tr>`,
  );
  const page = `<!doctype html>
<html lang="en">
<title>Delays</title>
<h1>Average delay by origin</h1>
<table>
<tr><th>Airport</th><th>Name</th><th>Flights</th><th>Minutes</th></tr>
${lines.join("\n")}
</table>
</html>
`;
  return zmesh.response(page, {
    status: 200,
    headers: { "content-type": "text/html; charset=utf-8", "cache-control": "max-age=60" },
  });
};
