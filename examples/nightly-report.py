"""Sums up the table "movies" by genre and keeps the result, one row for each day and genre.

Made for a schedule ("30 2 * * *"). A scheduled run may be repeated after a failure, so it is written to be
repeatable: running it twice on one day gives the same rows, not twice as many.

Payload: {} or {"day": "2026-01-31"}
"""

import datetime
import logging

SUMMARY = """
    select coalesce(major_genre, 'Unknown') as genre,
           count(*)::int as movies,
           sum(worldwide_gross)::bigint as gross,
           round(avg(imdb_rating)::numeric, 2)::float8 as rating
      from movies
     group by 1
     order by gross desc nulls last, genre
"""


def handler(payload, zmesh):
    day = payload.get("day") or datetime.datetime.now(datetime.UTC).date().isoformat()
    zmesh.db.query("""
        select pg_advisory_xact_lock(hashtext('genre_report'));  -- "if not exists" alone can fail for two runs at once
        create table if not exists genre_report (
            day date, genre text, movies integer, gross bigint, rating double precision,
            primary key (day, genre)
        )""")
    with zmesh.db.transaction() as transaction:
        transaction.remove("genre_report", "day = %s", [day])
        transaction.query(f"insert into genre_report select %s, s.* from ({SUMMARY}) s", [day])
        rows = transaction.select("genre_report", "day = %s order by gross desc nulls last, genre", [day])

    for row in rows:
        if row["rating"] is None:
            logging.warning("no ratings for genre %s", row["genre"])
    return {
        "day": day,
        "movies": sum(row["movies"] for row in rows),
        "genres": {row["genre"]: {key: row[key] for key in ("movies", "gross", "rating")} for row in rows},
    }
