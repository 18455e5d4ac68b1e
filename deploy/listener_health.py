#!/opt/zmesh/bin/python
"""Whether the listener of this container has spoken to the database lately: it renews its lease all the time."""

import os
import sys

import psycopg

from sql.connecting import with_required_auth

QUERY = """
select count(*) from pg_stat_activity
 where application_name = 'zmesh listener' and client_addr is not distinct from inet_client_addr()
   and state_change > now() - interval '1 minute'
"""

with psycopg.connect(
    with_required_auth(os.environ["DATABASE_URL"]), connect_timeout=5, application_name="zmesh health"
) as connection:
    row = connection.execute(QUERY).fetchone()
sys.exit(0 if row and row[0] else 1)
