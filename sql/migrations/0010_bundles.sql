-- Bundles: packages that were installed elsewhere and uploaded.

create table zmesh.bundle_chunks (
    project_id uuid        not null references zmesh.projects on delete cascade,
    created_at timestamptz not null,
    number     integer     not null,
    hash       text        not null,
    data       bytea       not null,
    primary key (project_id, hash, number),
    constraint bundle_chunks_hash_is_sha256 check (hash ~ '^[0-9a-f]{64}$'),
    constraint bundle_chunks_are_few        check (number between 0 and 511),
    constraint bundle_chunks_are_small      check (octet_length(data) <= 1114112)
);
comment on table zmesh.bundle_chunks is
    'Installed packages that were uploaded for a build, a MiB at a time, each compressed by zlib; kept for a day.';
comment on column zmesh.bundle_chunks.hash is 'SHA-256 of the archive, as the uploader says; the build verifies it.';
alter table zmesh.bundle_chunks alter column data set storage external;
create index bundle_chunks_by_age on zmesh.bundle_chunks (created_at);

alter table zmesh.builds add column bundle text;
comment on column zmesh.builds.bundle is
    'SHA-256 of the uploaded archive that the packages come from; null: they come from registries.';

grant select (project_id, number, hash) on zmesh.bundle_chunks to zmesh_api;

drop function if exists zmesh.request_build(uuid, text, text, jsonb, boolean);
