-- Names and errors.

create or replace function zmesh.plain_letters(p_text text) returns text
language plpgsql immutable strict parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    v_text text := p_text;
begin
    if getdatabaseencoding() = 'UTF8' then   -- elsewhere nothing can be taken apart
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

create or replace function zmesh.fail(code text, message text, hint text default null) returns void
language plpgsql as $$
begin
    if hint is null then
        raise exception using errcode = code, message = message;
    end if;
    raise exception using errcode = code, message = message, hint = hint;
end $$;
comment on function zmesh.fail(text, text, text) is 'Raises one of the platform''s own errors (SQLSTATE class ZM).';

grant execute on function zmesh.slug_of(text), zmesh.fail(text, text, text) to zmesh_api;
