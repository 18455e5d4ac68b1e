'use strict';
// SQL text for the helpers of zmesh.db; every identifier is quoted.

const { isList } = require('./parameters.js');
const { hidesItsContent } = require('./results.js');

const ARRAY_COLUMNS = `
select a.attname, t.typelem in ('json'::regtype, 'jsonb'::regtype) as of_json
from pg_attribute a join pg_type t on t.oid = a.atttypid
where a.attrelid = $1::regclass and a.attnum > 0 and not a.attisdropped and t.typcategory = 'A'`;

// What may contain a $1 that is not a placeholder, and placeholders themselves, in the order of a left-to-right scan.
const TOKENS = new RegExp(
  [
    String.raw`[eE]'(?:[^'\\]|\\[\s\S]|'')*'`, // E'…' with backslash escapes
    `'(?:[^']|'')*'`,
    `"(?:[^"]|"")*"`,
    String.raw`--[^\n]*`,
    String.raw`/\*`, // block comments nest, so the code searches for their end
    String.raw`\$([A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$[\s\S]*?\$\1\$`, // $$…$$ and $tag$…$tag$
    String.raw`[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*`, // identifiers may contain $
    String.raw`\$(\d+)`,
  ].join('|'),
  'g',
);

/** One identifier, exactly as written. */
function quoted(name) {
  if (typeof name !== 'string' || name === '' || name.includes('\0')) {
    throw new TypeError(`${JSON.stringify(name)} is not a valid table or column name`);
  }
  return `"${name.replaceAll('"', '""')}"`;
}

/** A table, or schema.table: the dot separates the parts, and each is quoted. */
function tableName(table) {
  if (typeof table !== 'string') throw new TypeError(`${JSON.stringify(table)} is not a valid table name`);
  return table.split('.').map(quoted).join('.');
}

function insert(table, data) {
  const columns = Object.keys(data);
  if (columns.length === 0) return [`insert into ${tableName(table)} default values returning *`, []];
  const marks = columns.map((_, position) => `$${position + 1}`);
  const text = `insert into ${tableName(table)} (${columns.map(quoted).join(', ')}) values (${marks.join(', ')})`;
  return [`${text} returning *`, Object.values(data)];
}

function select(table, where, params) {
  const [text, values] = condition(where, params, 'select');
  return [`select * from ${tableName(table)}${text === null ? '' : ` where ${text}`}`, values];
}

/** The condition keeps its own numbers; the values to set are numbered after its parameters. */
function update(table, data, where, params) {
  const columns = Object.keys(data);
  if (columns.length === 0) throw new TypeError('update needs at least one column to set');
  const [text, values] = required(condition(where, params, 'update'), 'update');
  const highest = highestPlaceholder(text);
  if (highest > values.length) {
    throw new RangeError(`the condition uses $${highest}, but got ${values.length} parameter(s)`);
  }
  const settings = columns.map((name, position) => `${quoted(name)} = $${values.length + position + 1}`);
  return [
    `update ${tableName(table)} set ${settings.join(', ')} where ${text}\nreturning *`,
    [...values, ...Object.values(data)],
  ];
}

function remove(table, where, params) {
  const [text, values] = required(condition(where, params, 'remove'), 'remove');
  return [`delete from ${tableName(table)} where ${text}\nreturning *`, values];
}

/** The text of a condition and its parameters; text is null if every row matches. */
function condition(where, params, what) {
  if (where === undefined || where === null || isBlank(where)) return [null, []];
  if (typeof where === 'string') return [where, params ?? []];
  if (typeof where !== 'object' || isList(where) || hidesItsContent(where)) {
    throw new TypeError(`the condition of ${what} must be text, or an object of columns and values`);
  }
  if (params !== undefined && params !== null) {
    throw new TypeError(`params apply only to a condition in SQL; ${what} got an object, which contains its values`);
  }
  return equalities(where);
}

/** Each column equals its value; null becomes "is null", and a list means any of its values. */
function equalities(where) {
  const values = [];
  const texts = Object.entries(where).map(([name, value]) => {
    if (value === undefined) {
      throw new TypeError(`the condition's value for ${quoted(name)} is undefined: pass null for rows without a value`);
    }
    if (value === null) return `${quoted(name)} is null`;
    if (!isList(value)) return `${quoted(name)} = $${values.push(value)}`;
    const given = [...value].filter((one) => one !== null);
    if (given.some(isList)) throw new TypeError(`the condition's list for ${quoted(name)} contains a list`);
    const any = `${quoted(name)} = any($${values.push(given)})`;
    return given.length < [...value].length ? `(${any} or ${quoted(name)} is null)` : any;
  });
  return [texts.length ? texts.join(' and ') : null, values];
}

/** A new invocation, or nothing if its idempotency key was used before. */
function insertInvocation(columns, delaySeconds) {
  const names = Object.keys(columns);
  const values = Object.values(columns);
  const marks = names.map((_, position) => `$${position + 1}`);
  if (delaySeconds !== undefined) {
    names.push('run_at');
    values.push(delaySeconds);
    marks.push(`zmesh.now() + make_interval(secs => $${values.length})`);
  }
  const text = `insert into zmesh.invocations (${names.join(', ')}) values (${marks.join(', ')})`;
  return [`${text} on conflict do nothing returning id`, values];
}

/** The highest n of the $n in a text, ignoring those in literals, quoted names and comments. */
function highestPlaceholder(text) {
  let highest = 0;
  TOKENS.lastIndex = 0;
  for (let token; (token = TOKENS.exec(text)) !== null; ) {
    const [found, , number] = token;
    if (found === '/*') TOKENS.lastIndex = endOfComment(text, TOKENS.lastIndex);
    if (number !== undefined) highest = Math.max(highest, Number(number));
  }
  return highest;
}

function endOfComment(text, from) {
  const marks = /\/\*|\*\//g;
  marks.lastIndex = from;
  for (let depth = 1, mark; depth > 0; depth += mark[0] === '/*' ? 1 : -1) {
    mark = marks.exec(text);
    if (mark === null) return text.length;
  }
  return marks.lastIndex;
}

function required([text, values], what) {
  if (text === null) throw new TypeError(`${what} needs a condition; for all rows, pass "true"`);
  return [text, values];
}

function isBlank(where) {
  return typeof where === 'string' && where.trim() === '';
}

module.exports = {
  ARRAY_COLUMNS,
  highestPlaceholder,
  insert,
  insertInvocation,
  quoted,
  remove,
  select,
  tableName,
  update,
};
