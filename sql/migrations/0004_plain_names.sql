-- Routines that got plainer names. Those that depend on them are made again with all others.
drop trigger if exists memberships_demand_an_owner on zmesh.memberships;

drop function if exists zmesh.all_that_waits(zmesh.horizon, integer, timestamptz) cascade;
drop function if exists zmesh.become(name) cascade;
drop function if exists zmesh.cancel_jobs_of_function() cascade;
drop function if exists zmesh.change_with_care(oid, jsonb, jsonb, text[], text, text, text) cascade;
drop function if exists zmesh.demand_an_owner() cascade;
drop function if exists zmesh.end_hoarders() cascade;
drop function if exists zmesh.give_up(zmesh.schedules, text) cascade;
drop function if exists zmesh.hint(text, text) cascade;
drop function if exists zmesh.is_of_the_server(text) cascade;
drop function if exists zmesh.late() cascade;
drop function if exists zmesh.leave(uuid) cascade;
drop function if exists zmesh.lock_to_empty(uuid[]) cascade;
drop function if exists zmesh.neglected_tables() cascade;
drop function if exists zmesh.next_of(zmesh.horizon, boolean, integer, timestamptz) cascade;
drop function if exists zmesh.next_on_the_wall(zmesh.cron_plan, text, timestamptz) cascade;
drop function if exists zmesh.nobody_was_called() cascade;
drop function if exists zmesh.once(zmesh.invocations) cascade;
drop function if exists zmesh.pass_over(zmesh.schedules, timestamptz) cascade;
drop function if exists zmesh.short_answer(text, uuid, text, integer, integer, numeric, numeric, json, jsonb, json) cascade;
drop function if exists zmesh.tell_loop_held(uuid, integer) cascade;
drop function if exists zmesh.too_deep(zmesh.invocations, integer) cascade;
drop function if exists zmesh.untaken_of(uuid[]) cascade;
drop function if exists zmesh.watch_the_time() cascade;
