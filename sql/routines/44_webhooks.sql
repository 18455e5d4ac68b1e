-- Managing webhooks. Their messages are in zmesh.invocations.

create or replace function zmesh.create_webhook(
    p_id uuid, p_project_id uuid, p_function_id uuid, p_name text, p_token text, p_preset text, p_sealed_secret bytea,
    p_replay_window_seconds integer, p_signature_header text, p_answer text)
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into zmesh.webhooks (id, project_id, function_id, name, token, preset, sealed_secret, replay_window_seconds,
                                signature_header, answer, created_at)
    values (p_id, p_project_id, p_function_id, p_name, p_token, p_preset, p_sealed_secret, p_replay_window_seconds,
            p_signature_header, p_answer, zmesh.now());
end $$;
comment on function zmesh.create_webhook(uuid, uuid, uuid, text, text, text, bytea, integer, text, text) is
    'Creates a webhook. The caller chooses the id, since the secret is sealed for it.';

create or replace function zmesh.change_webhook(p_id uuid, p_changes jsonb) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_new zmesh.webhooks;
begin
    select w.* into v_new from zmesh.webhooks w where w.id = p_id for update;
    v_new := jsonb_populate_record(v_new, p_changes);
    if p_changes ? 'sealed_secret' then   -- a new secret invalidates the previous ones
        v_new.sealed_previous_secret := null;
        v_new.previous_secret_valid_until := null;
    end if;
    update zmesh.webhooks
       set name = v_new.name, function_id = v_new.function_id, preset = v_new.preset, enabled = v_new.enabled,
           answer = v_new.answer,
           replay_window_seconds = v_new.replay_window_seconds, signature_header = v_new.signature_header,
           sealed_secret = v_new.sealed_secret, sealed_previous_secret = v_new.sealed_previous_secret,
           previous_secret_valid_until = v_new.previous_secret_valid_until
     where id = p_id;
end $$;
comment on function zmesh.change_webhook(uuid, jsonb) is
    'Changes columns of a webhook to the values with their names: name, function_id, preset, enabled, answer, '
    'replay_window_seconds, signature_header, sealed_secret.';

create or replace function zmesh.rotate_webhook_secret(p_id uuid, p_sealed_secret bytea, p_grace interval) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    update zmesh.webhooks
       set sealed_secret = p_sealed_secret,
           sealed_previous_secret = case when p_grace > interval '0' then sealed_secret end,
           previous_secret_valid_until = case when p_grace > interval '0' then zmesh.now() + p_grace end
     where id = p_id;
end $$;
comment on function zmesh.rotate_webhook_secret(uuid, bytea, interval) is
    'Replaces the secret of a webhook; the previous one stays valid for a while.';

create or replace function zmesh.delete_webhook(p_project_id uuid, p_id uuid) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    delete from zmesh.webhooks where project_id = p_project_id and id = p_id;
    return found;
end $$;
comment on function zmesh.delete_webhook(uuid, uuid) is 'Deletes a webhook of a project; returns whether there was one.';

grant execute on function
      zmesh.create_webhook(uuid, uuid, uuid, text, text, text, bytea, integer, text, text),
      zmesh.change_webhook(uuid, jsonb), zmesh.rotate_webhook_secret(uuid, bytea, interval),
      zmesh.delete_webhook(uuid, uuid) to zmesh_api;

create or replace function zmesh.record_webhook_requests(p_requests jsonb) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    c_kept constant integer := 500;   -- of each webhook: whoever knows its URL can send any number
begin
    insert into zmesh.webhook_requests (id, webhook_id, invocation_id, received_at, body_size, status_code, test, verdict,
                                        client, code, detail, message_id, request)
    select r.id, r.webhook_id, r.invocation_id, zmesh.now(), r.body_size, r.status_code, r.test, r.verdict, r.client, r.code,
           r.detail, r.message_id, r.request
      from jsonb_to_recordset(p_requests) as r (
               id uuid, webhook_id uuid, invocation_id uuid, body_size integer, status_code smallint, test boolean,
               verdict text, client text, code text, detail text, message_id text, request json)
      join zmesh.webhooks w on w.id = r.webhook_id;
    delete from zmesh.webhook_requests q
     using (select distinct (r ->> 'webhook_id')::uuid as id from jsonb_array_elements(p_requests) r) w
     where q.webhook_id = w.id
       and q.id <= (select k.id from zmesh.webhook_requests k
                     where k.webhook_id = w.id order by k.id desc offset c_kept limit 1);
end $$;
comment on function zmesh.record_webhook_requests(jsonb) is
    'Records requests to webhooks, given as an array of rows, and deletes all but the latest 500 of each webhook.';

grant execute on function zmesh.record_webhook_requests(jsonb) to zmesh_api;
