'use strict';
// Converts JavaScript values to statement parameters: null, text, or bytes. The driver would store `{}` for some.

const { NotJson, isBlob, isBytes, toJson } = require('./results.js');
const { isBoxedPrimitive, isDate } = require('node:util').types;

/** Parameters of a query, in the driver's own terms. */
async function toParameters(params) {
  const values = await withoutBlobs(params);
  return Array.from(values, (value, index) => toParameter(value, `parameter $${index + 1}`));
}

/** The same values, with Blobs and Files read into bytes. */
async function withoutBlobs(values) {
  if (!values.some(isBlob)) return values;
  const ready = [...values];
  for (const [index, value] of values.entries()) {
    if (isBlob(value)) ready[index] = Buffer.from(await value.arrayBuffer());
  }
  return ready;
}

/** One value; `what` names it in errors. Objects become JSON text, arrays and Sets array literals. */
function toParameter(value, what) {
  switch (typeof value) {
    case 'string':
      if (!value.isWellFormed()) throw new TypeError(`${what} contains an unpaired surrogate, which UTF-8 cannot encode`);
      return value;
    case 'number':
      return Object.is(value, -0) ? '-0' : String(value);
    case 'bigint':
    case 'boolean':
      return String(value);
    case 'object':
      return value === null ? null : objectParameter(value, what);
    case 'undefined':
      throw new TypeError(`${what} is undefined: pass null for SQL's null`);
    default:
      throw new TypeError(`${what} is a ${typeof value}, which no column can hold`);
  }
}

function objectParameter(value, what) {
  if (isList(value)) return toArray(value, what);
  if (isDate(value)) return dateText(value, what);
  if (isBytes(value)) return toBytes(value, what);
  if (isBoxedPrimitive(value)) return toParameter(value.valueOf(), what);
  if (typeof value.toPostgres === 'function') return toParameter(value.toPostgres((inner) => toParameter(inner, what)), what);
  const json = toJsonParameter(value, what);
  return json.startsWith('"') ? JSON.parse(json) : json; // a URL or similar: the text itself
}

/** JSON text, for a json column. */
function toJsonParameter(value, what) {
  try {
    return toJson(isSet(value) ? [...value] : value);
  } catch (error) {
    throw error instanceof NotJson ? new NotJson(`${what}: ${error.message}`) : error;
  }
}

/** An array literal; nested arrays are further dimensions. `convert` makes the text of an element. */
function toArray(list, what, convert = elementText) {
  return `{${Array.from(list, (item) => convert(item, what)).join(',')}}`;
}

function elementText(item, what) {
  if (isList(item)) return toArray(item, what);
  const value = toParameter(item, `an element of ${what}`);
  if (value === null) return 'NULL';
  return quotedElement(Buffer.isBuffer(value) ? `\\x${value.toString('hex')}` : value);
}

/** An array literal for an array column of json. */
function toJsonArray(list, what) {
  return toArray(list, what, (item) => (item === null ? 'NULL' : quotedElement(toJsonParameter(item, what))));
}

function quotedElement(text) {
  return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
}

function toBytes(value, what) {
  if (isBlob(value)) throw new TypeError(`${what} is a Blob inside a list: pass Buffer.from(await blob.arrayBuffer())`);
  if (!ArrayBuffer.isView(value)) return Buffer.from(value);
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
}

/** Local time with its offset, so that a column without time zone keeps what the clock showed. */
function dateText(date, what) {
  const time = date.getTime();
  if (Number.isNaN(time)) throw new TypeError(`${what} is an invalid Date`);
  const clock = [date.getMonth() + 1, date.getDate(), date.getHours(), date.getMinutes(), date.getSeconds()];
  const year = date.getFullYear();
  const [month, day, ...hms] = clock.map((number) => String(number).padStart(2, '0'));
  const era = year < 1 ? ' BC' : '';
  const shownYear = String(year < 1 ? 1 - year : year).padStart(4, '0');
  const milliseconds = String(date.getMilliseconds()).padStart(3, '0');
  return `${shownYear}-${month}-${day}T${hms.join(':')}.${milliseconds}${offsetText(date, time)}${era}`;
}

/** Exact to the second: historical offsets are not whole minutes. */
function offsetText(date, time) {
  const shown = new Date(0);
  shown.setUTCFullYear(date.getFullYear(), date.getMonth(), date.getDate());
  shown.setUTCHours(date.getHours(), date.getMinutes(), date.getSeconds(), date.getMilliseconds());
  const seconds = Math.round((shown.getTime() - time) / 1000);
  const parts = [Math.abs(seconds) / 3600, (Math.abs(seconds) / 60) % 60, Math.abs(seconds) % 60];
  return (seconds < 0 ? '-' : '+') + parts.map((part) => String(Math.floor(part)).padStart(2, '0')).join(':');
}

function isSet(value) {
  return value instanceof Set;
}

function isList(value) {
  return Array.isArray(value) || isSet(value);
}

module.exports = { isList, toArray, toJsonArray, toJsonParameter, toParameter, toParameters, withoutBlobs };
