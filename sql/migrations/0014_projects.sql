-- Deployments of project folders: what people said about versions, and what the last deployment left.

create table zmesh.version_messages (
    function_id uuid    not null references zmesh.functions on delete cascade,
    version     integer not null,
    message     text    not null,
    primary key (function_id, version),
    constraint version_messages_message_is_short check (length(message) between 1 and 1000)
);
comment on table zmesh.version_messages is 'What people said about a version when they deployed it.';

create table zmesh.deployed_projects (
    project_id  uuid        primary key references zmesh.projects on delete cascade,
    deployed_at timestamptz not null,
    state       jsonb       not null default '{}'
);
comment on table zmesh.deployed_projects is
    'The latest deployment of a project folder. Its row is locked by each, so that one comes after the other.';
comment on column zmesh.deployed_projects.state is
    'Hashes of what the deployment left, by kind and name: what differs from them was changed by something else.';

grant select on zmesh.version_messages to zmesh_api;
