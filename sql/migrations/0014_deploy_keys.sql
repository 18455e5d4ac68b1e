-- API keys that deploy.

alter table zmesh.api_keys add column scope text not null default 'invoke';
alter table zmesh.api_keys add constraint api_keys_scope_is_known check (scope in ('invoke', 'deploy'));
comment on column zmesh.api_keys.scope is
    'What the key may do with its functions: invoke them, or deploy them. Never changed.';
comment on column zmesh.api_keys.all_functions is
    'Whether the key is for every function of the project; otherwise those in api_key_functions, possibly none.';
comment on table zmesh.api_key_functions is 'Functions that a key is for, of keys that are not for all.';
-- Replaced by one with the scope as its last argument.
drop function zmesh.create_key(uuid, text, text, bytea, timestamptz, text[], uuid);
