-- What dry runs would have changed.

-- Unlogged: after a crash of the server, who still wants to know runs it again.
create unlogged table zmesh.dry_runs (
    invocation_id uuid        primary key,
    project_id    uuid        not null,
    created_at    timestamptz not null,
    changes       json        not null
);
create index dry_runs_by_age on zmesh.dry_runs (created_at);
comment on table zmesh.dry_runs is
    'What the database transactions of dry runs would have changed, had they not been rolled back; kept for an hour.';
comment on column zmesh.dry_runs.changes is
    'Tables with counts, and rows before and after, both bounded; rows too large to show have only the member too_large.';

grant select on zmesh.dry_runs to zmesh_api;
