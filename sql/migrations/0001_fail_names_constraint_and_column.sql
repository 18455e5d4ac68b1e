-- zmesh.fail() takes a constraint and a column besides; with both forms, calls would be ambiguous.
drop function zmesh.fail(text, text, text);
