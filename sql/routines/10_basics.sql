-- Names and errors.

create or replace function zmesh.plain_letters(p_text text) returns text
language plpgsql immutable strict parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    v_text text := p_text;
begin
    if getdatabaseencoding() = 'UTF8' then   -- other encodings have nothing to decompose
        v_text := regexp_replace(normalize(p_text, nfkd), '[\u0300-\u036f]', '', 'g');
    end if;
    v_text := translate(v_text, 'ØøĐđÐðŁłĦħıŦŧ', 'OoDdDdLlHhiTt');
    return replace(replace(replace(replace(replace(replace(replace(v_text,
        'ß', 'ss'), 'ẞ', 'ss'), 'Æ', 'ae'), 'æ', 'ae'), 'Œ', 'oe'), 'œ', 'oe'), 'þ', 'th');
end $$;
comment on function zmesh.plain_letters(text) is 'A text with its Latin letters without accents: Größe becomes Grosse.';

create or replace function zmesh.slug_of(name text) returns text
language sql immutable strict parallel safe
return trim(both '-' from left(trim(both '-' from regexp_replace(lower(zmesh.plain_letters(name)), '[^a-z0-9]+', '-', 'g')), 100));
comment on function zmesh.slug_of(text) is 'The slug that a name gets: lower case ASCII letters, digits and single dashes.';

create or replace function zmesh.fail(
    p_code text, p_message text, p_hint text default null, p_constraint text default null, p_column text default null)
returns void
language plpgsql as $$
begin
    if p_hint is null then   -- psql would show an empty hint
        raise exception using errcode = p_code, message = p_message, constraint = coalesce(p_constraint, ''),
                              column = coalesce(p_column, '');
    end if;
    raise exception using errcode = p_code, message = p_message, hint = p_hint, constraint = coalesce(p_constraint, ''),
                          column = coalesce(p_column, '');
end $$;
comment on function zmesh.fail(text, text, text, text, text) is
    'Raises an error of the platform (SQLSTATE class ZM; sql/errors.py lists them). Programs identify an error by '
    'its constraint and the invalid field by its column, never by the message.';

grant execute on function zmesh.slug_of(text) to zmesh_api;
grant execute on function zmesh.fail(text, text, text, text, text) to zmesh_api, zmesh_listener, zmesh_project;
