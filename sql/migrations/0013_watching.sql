-- How well each listener isolates runs, for everybody who looks at the queue.

alter table zmesh.listeners add column isolation text, add column gaps text[] not null default '{}',
    add constraint listeners_isolation_is_known check (isolation in ('full', 'reduced'));
comment on column zmesh.listeners.isolation is 'How well its runs are isolated; null: it has not said.';
comment on column zmesh.listeners.gaps is 'What isolation lacks there, in sentences.';
