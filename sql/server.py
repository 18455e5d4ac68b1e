"""What the platform needs of the server around its schema: roles, rights on databases, settings, extensions."""

from __future__ import annotations

import logging

import psycopg
from psycopg import sql

log = logging.getLogger(__name__)
GROUP_ROLES = ("zmesh_owner", "zmesh_project", "zmesh_provisioner")
OWNERS = ("zmesh_owner", "zmesh_provisioner")
LOGIN_ROLES = ("zmesh_api", "zmesh_listener")


def prepare_server(connection: psycopg.Connection, passwords: dict[str, str]) -> None:
    """Before the schema: roles, their passwords and rights on the database, and the schemas themselves, empty."""
    for role in GROUP_ROLES + LOGIN_ROLES:
        _create_role(connection, role, login=role in LOGIN_ROLES)
    for role, password in passwords.items():
        # Hashed here, so that the password itself never reaches a server log.
        verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
        connection.execute(sql.SQL("alter role {} password {}").format(sql.Identifier(role), sql.Literal(verifier)))
    connection.execute("alter role zmesh_provisioner createrole")
    connection.execute("grant zmesh_project to zmesh_provisioner with admin option")
    grant_on_database(connection)
    for role in OWNERS:
        _become_member_of(connection, role)
    _let_platform_go_first(connection)
    _grant_settings(connection)
    connection.execute("create schema if not exists zmesh authorization zmesh_owner")
    connection.execute("create schema if not exists zmesh_roles authorization zmesh_provisioner")
    _try_to_install_pg_cron(connection)


def grant_on_database(connection: psycopg.Connection) -> None:
    """Rights on the database itself, which neither a copy nor a dump has. Projects' roles get theirs elsewhere."""
    database = sql.Identifier(connection.info.dbname)
    for statement in (
        "revoke all on database {} from public",
        "grant connect on database {} to zmesh_owner, zmesh_api, zmesh_listener",
        "grant create, connect, temporary on database {} to zmesh_provisioner with grant option",
    ):
        connection.execute(sql.SQL(statement).format(database))


def complete_server(connection: psycopg.Connection) -> None:
    """After the schema, whose tables and routines this needs."""
    _hand_over_projects(connection)
    _let_projects_connect(connection)
    _install_worker_terminator(connection)
    _close_other_databases(connection)


def _create_role(connection: psycopg.Connection, role: str, *, login: bool) -> None:
    exists = connection.execute("select from pg_roles where rolname = %s", (role,)).fetchone()
    if exists is None:
        kind = sql.SQL("login" if login else "nologin")
        connection.execute(sql.SQL("create role {} {}").format(sql.Identifier(role), kind))


def _become_member_of(connection: psycopg.Connection, role: str) -> None:
    member = connection.execute(
        "select pg_has_role(current_user, %s, 'set')"
        if connection.info.server_version >= 160000
        else "select pg_has_role(current_user, %s, 'member')",
        (role,),
    ).fetchone()
    if member != (True,):
        connection.execute(sql.SQL("grant {} to current_user").format(sql.Identifier(role)))


def _hand_over_projects(connection: psycopg.Connection) -> None:
    """Roles and schemas that an administrator made for projects become the provisioner's, who can drop them."""
    made_by_others = connection.execute(
        "select p.role_name, p.schema_name from zmesh.projects p join pg_namespace n on n.nspname = p.schema_name"
        " where n.nspowner <> 'zmesh_provisioner'::regrole"
    ).fetchall()
    for role, schema in made_by_others:
        names = {
            "role": sql.Identifier(role),
            "schema": sql.Identifier(schema),
            "database": sql.Identifier(connection.info.dbname),
        }
        for statement in (
            "grant {role} to zmesh_provisioner with admin option",
            "alter schema {schema} owner to zmesh_provisioner",
            "revoke all on database {database} from {role}",
            "set local role zmesh_provisioner",
            "grant connect, temporary on database {database} to {role}",  # what it gave it can take back
            "reset role",
        ):
            connection.execute(sql.SQL(statement).format(**names))


def _let_projects_connect(connection: psycopg.Connection) -> None:
    """A dump has no rights on the database itself: in one that was restored, the projects' roles lack theirs."""
    locked_out = connection.execute(
        "select p.role_name from zmesh.projects p join pg_roles r on r.rolname = p.role_name"
        " where r.rolcanlogin and not has_database_privilege(r.oid, current_database(), 'connect')"
    ).fetchall()
    if not locked_out:
        return
    database = sql.Identifier(connection.info.dbname)
    connection.execute("set local role zmesh_provisioner")  # what it gave it can take back
    for (role,) in locked_out:
        connection.execute(
            sql.SQL("grant connect, temporary on database {} to {}").format(database, sql.Identifier(role))
        )
    connection.execute("reset role")


def _let_platform_go_first(connection: psycopg.Connection) -> None:
    """Where we may: the platform ends sessions of projects that do harm, and connects when they have taken all else."""
    wanted = [(role, "zmesh_owner") for role in ("pg_signal_backend", "pg_read_all_stats")]
    if connection.info.server_version >= 180000:
        wanted.append(("pg_signal_autovacuum_worker", "zmesh_owner"))
    if connection.info.server_version >= 160000:
        wanted += [("pg_use_reserved_connections", role) for role in LOGIN_ROLES]
    for role, member in wanted:
        if connection.execute("select pg_has_role(%s, %s, 'usage')", (member, role)).fetchone() == (True,):
            continue
        try:
            with connection.transaction():
                connection.execute(sql.SQL("grant {} to {}").format(sql.Identifier(role), sql.Identifier(member)))
        except psycopg.errors.InsufficientPrivilege:
            log.warning("%s is not granted to %s: have a superuser do it", role, member)


def _grant_settings(connection: psycopg.Connection) -> None:
    """Let the provisioner keep projects' messages out of the server's log, where we may."""
    try:
        with connection.transaction():
            connection.execute("grant set on parameter log_min_messages, log_min_error_statement to zmesh_provisioner")
    except psycopg.errors.InsufficientPrivilege:
        log.warning("projects can flood the server's log: have a superuser run the migration")


_END_WORKER = """
create or replace function zmesh_roles.end_autovacuum_worker(p_pid integer) returns boolean
language sql volatile security definer set search_path = pg_catalog, pg_temp
begin atomic
    select coalesce(bool_or(pg_terminate_backend(a.pid)), false)
      from pg_stat_get_activity(p_pid) a
     where a.backend_type = 'autovacuum worker' and exists (
               select from pg_class c where pg_get_userbyid(c.relowner) ~ '^zmesh_p_[a-z0-9_]+$' and c.oid in (
                   select w.relid from pg_stat_progress_analyze w where w.pid = a.pid and w.datname = current_database()
                    union all
                   select w.relid from pg_stat_progress_vacuum w
                    where w.pid = a.pid and w.datname = current_database() and w.phase = 'cleaning up indexes'
                    union all
                   select l.relation from pg_lock_status() l
                     join pg_class i on i.oid = l.relation
                     join pg_am m on m.oid = i.relam and m.amname = 'brin'
                    where l.pid = a.pid and l.granted and l.mode = 'ShareUpdateExclusiveLock'
                      and l.database = (select d.oid from pg_database d where d.datname = current_database())));
end;
comment on function zmesh_roles.end_autovacuum_worker(integer) is
    'Ends an autovacuum worker that may be running the code of a project, and nothing else. It is a superuser''s: '
    'before PostgreSQL 18 nobody else may do so.';
revoke all on function zmesh_roles.end_autovacuum_worker(integer) from public;
grant execute on function zmesh_roles.end_autovacuum_worker(integer) to zmesh_owner;
"""


def _install_worker_terminator(connection: psycopg.Connection) -> None:
    """Before PostgreSQL 18 no role but a superuser may end an autovacuum worker: one lends this one function."""
    if connection.info.server_version >= 180000:
        return
    row = connection.execute(
        "select rolsuper, to_regprocedure('zmesh_roles.end_autovacuum_worker(integer)') is not null"
        "  from pg_roles where rolname = current_user"
    ).fetchone()
    if row == (False, False):
        log.warning(
            "autovacuum workers that a project keeps busy can only be cancelled: have a superuser run the migration"
        )
    elif row is not None and row[0]:
        connection.execute(_END_WORKER.encode())


_OPEN_TO_ALL = """
select d.datname, array_agg(a.privilege_type order by a.privilege_type)
  from pg_database d cross join aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
 where d.datallowconn and d.datname <> current_database() and a.grantee = 0
 group by d.datname having 'CONNECT' = any (array_agg(a.privilege_type))
"""


def _close_other_databases(connection: psycopg.Connection) -> None:
    """Project roles exist in the whole server. Every other role keeps by name the privileges it had through PUBLIC."""
    others = connection.execute(
        "select rolname from pg_roles where rolcanlogin and not rolsuper and rolname <> all (%s)"
        "   and rolname !~ '^zmesh_p_'",
        (list(LOGIN_ROLES),),
    ).fetchall()
    for name, privileges in connection.execute(_OPEN_TO_ALL).fetchall():
        names = {"privileges": sql.SQL(", ".join(privileges)), "database": sql.Identifier(name)}
        try:
            with connection.transaction():
                for (role,) in others:
                    grant = sql.SQL("grant {privileges} on database {database} to {role}")
                    connection.execute(grant.format(**names, role=sql.Identifier(role)))
                connection.execute(sql.SQL("revoke {privileges} on database {database} from public").format(**names))
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedObject, psycopg.errors.InternalError_):
            log.debug("closing the database %s: no right to it, or somebody else is at it", name)
    for name, _ in connection.execute(_OPEN_TO_ALL).fetchall():
        log.warning("projects may connect to the database %s: have its owner revoke connect on it from public", name)


def _try_to_install_pg_cron(connection: psycopg.Connection) -> None:
    """Install the extension where pg_cron works in this database and we may; else listeners are the clock."""
    here = connection.execute(
        "select from pg_available_extensions where name = 'pg_cron' and installed_version is null"
        # Only a superuser may read that setting: the others must not even ask.
        " and case when (select rolsuper from pg_roles where rolname = current_user)"
        "          then current_setting('cron.database_name', true) = current_database() end"
    ).fetchone()
    if here is not None:
        connection.execute("create extension pg_cron")
