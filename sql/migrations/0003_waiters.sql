-- Several callers may wait for one end: a retry with the same idempotency key waits on the channel of its own API.
alter table zmesh.waiters drop constraint waiters_pkey, add primary key (invocation_id, channel);
