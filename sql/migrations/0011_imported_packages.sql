-- Which packages of a layer are imported, so that every listener can load them before its first run.

alter table zmesh.layers add column imported jsonb;
comment on column zmesh.layers.imported is
    'Packages that the first run imported, by its own account: listeners load them beforehand. Null: not known yet.';

-- Its result has one more column.
drop function if exists zmesh.layer_of(uuid, uuid);
