-- Webhooks: two secrets while one replaces the other, how old a message may be, and answers that wait for the function.

alter table zmesh.webhooks
    add column sealed_previous_secret bytea,
    add column previous_secret_valid_until timestamptz,
    add column replay_window_seconds integer not null default 300,
    add column signature_header text,
    add column answer text not null default 'accepted',
    drop constraint webhooks_preset_is_known,
    add constraint webhooks_preset_is_known
        check (preset in ('none', 'hmac', 'shared_secret', 'github', 'stripe', 'slack', 'standard')),
    add constraint webhooks_previous_secret_ends
        check ((sealed_previous_secret is null) = (previous_secret_valid_until is null)),
    add constraint webhooks_replay_window_is_10_seconds_to_1_day check (replay_window_seconds between 10 and 86400),
    add constraint webhooks_signature_header_is_a_name
        check (signature_header is null
               or signature_header ~ '^[a-z0-9!#$%&''*+.^_`|~-]{1,100}$' and preset in ('hmac', 'shared_secret')),
    add constraint webhooks_answer_is_known check (answer in ('accepted', 'result'));
comment on column zmesh.webhooks.sealed_previous_secret is 'The secret before, which senders may still use for a while.';
comment on column zmesh.webhooks.replay_window_seconds is 'How far a signed timestamp may be from the time here.';
comment on column zmesh.webhooks.signature_header is 'Where the sender puts signature or secret; null: where the preset expects it.';
comment on column zmesh.webhooks.answer is 'What the sender hears: accepted at once, or the result when the function has ended.';
