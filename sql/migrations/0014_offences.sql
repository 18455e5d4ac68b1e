-- A role whose sessions keep blocking the platform is closed for a minute.

create table zmesh.offences (
    role_name name        not null,
    at        timestamptz not null,
    primary key (role_name, at)
);
comment on table zmesh.offences is
    'When sessions of a project''s role were ended because they blocked the platform; kept for ten minutes, for '
    'zmesh.close_offenders().';
