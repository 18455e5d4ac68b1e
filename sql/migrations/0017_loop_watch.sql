alter table zmesh.listeners
    add column loop_held_ms integer not null default 0,
    add constraint listeners_loop_held_ms_is_a_duration check (loop_held_ms >= 0);
comment on column zmesh.listeners.loop_held_ms is
    'For how long something held the listener''s event loop at most within the last minute; 0 where that was 50 ms or less.';
