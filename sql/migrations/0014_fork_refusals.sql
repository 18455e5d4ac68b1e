-- Why runs of a function import their packages themselves, for people who look at the function or its invocations.

create table zmesh.fork_refusals (
    function_id uuid        not null references zmesh.functions on delete cascade,
    listener_id uuid        not null,
    hash        text        not null,
    since       timestamptz not null,
    reason      text        not null,
    primary key (function_id, listener_id),
    constraint fork_refusals_reason_is_short check (length(reason) <= 1000)
);
comment on table zmesh.fork_refusals is
    'Functions whose runs a listener cannot fork from a process that has imported their packages, or executed their code: '
    'they do so themselves.';
comment on column zmesh.fork_refusals.hash is 'The layer with the packages; empty: it has none, and runs execute the code.';
comment on column zmesh.fork_refusals.listener_id is 'The listener, as long as there is one with this id; its row may be gone.';
