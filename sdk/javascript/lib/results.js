'use strict';
// Converts results, payloads and values of JSON columns to JSON.

const { isArray } = Array;
const { fromEntries, getPrototypeOf, keys, prototype: OBJECT } = Object;
const { isFinite } = Number;
const { stringify } = JSON;
const { isAnyArrayBuffer, isBoxedPrimitive, isDate, isNativeError, isPromise } = require('node:util').types;

const BYTES = "bytes are not JSON: return text, such as Buffer.from(data).toString('base64'), or zmesh.response(data)";

const PLAIN_DEPTH = 100; // deeper values, and those that contain themselves, are left to JSON.stringify

class NotJson extends TypeError {
  get name() {
    return 'NotJson';
  }
}

/** JSON text of a value; undefined becomes null. A Set becomes an array, a Map an object. Raises NotJson. */
function toJson(value) {
  if (typeof value === 'function') throw new NotJson('a function is not JSON');
  try {
    return stringify(value, isPlain(value, 0) ? undefined : jsonForm) ?? 'null';
  } catch (error) {
    throw error instanceof NotJson ? error : new NotJson(reason(error));
  }
}

/** Whether a value has only JSON types: then no replacer is needed, which is five times as fast. */
function isPlain(value, depth) {
  switch (typeof value) {
    case 'string':
    case 'boolean':
    case 'undefined':
      return true;
    case 'number':
      return isFinite(value);
    case 'object':
      return value === null || (depth < PLAIN_DEPTH && hasOnlyPlain(value, depth + 1));
    default:
      return false;
  }
}

function hasOnlyPlain(value, depth) {
  if (isArray(value)) return value.every((item) => isPlain(item, depth));
  if (getPrototypeOf(value) !== OBJECT) return isDate(value) && value.getTime() === value.getTime(); // not NaN
  if ('toJSON' in value) return false;
  for (const key in value) if (!isPlain(value[key], depth)) return false;
  return true;
}

/** JSON.stringify's replacer: refuses values that would otherwise silently become null or {}. */
function jsonForm(key, value) {
  switch (typeof value) {
    case 'object':
      return value === null ? nullOf(this[key], key) : objectForm(this, key, value);
    case 'number':
      if (!isFinite(value)) refuse(`${value} is not a JSON number: return null or text`, key);
      return value;
    case 'bigint':
      return refuse('a BigInt is not JSON: return Number(value) or String(value)', key);
    case 'symbol':
      return refuse('a symbol is not JSON', key);
    case 'function':
      if (isArray(this)) refuse('a function is not JSON', key);
      return undefined; // methods of an object are not data
    default:
      return value;
  }
}

/** An invalid Date has a toJSON that returns null. */
function nullOf(original, key) {
  if (isDate(original)) refuse('an invalid Date is not JSON', key);
  return null;
}

function objectForm(holder, key, value) {
  if (isArray(value)) return value;
  if (getPrototypeOf(value) === OBJECT) {
    if (value.type === 'Buffer' && isBytes(holder[key])) refuse(BYTES, key);
    return value;
  }
  if (value instanceof Set) return [...value];
  if (value instanceof Map) return mapForm(value, key);
  if (isBoxedPrimitive(value)) return jsonForm.call(holder, key, value.valueOf());
  if (isBytes(value)) refuse(BYTES, key);
  if (isPromise(value)) refuse('a Promise is not JSON: await it', key);
  if (isNativeError(value)) refuse(`an Error is not JSON: throw it, or return its message ("${value.message}")`, key);
  if (hidesItsContent(value)) refuse(`a ${value.constructor?.name || 'value'} has no JSON form: return its content`, key);
  return value;
}

function mapForm(map, key) {
  const entries = [...map].map(([name, value]) => {
    if (!['string', 'number', 'boolean', 'bigint'].includes(typeof name)) refuse('keys of a Map must be text', key);
    return [String(name), value];
  });
  const object = fromEntries(entries);
  if (keys(object).length < map.size) refuse('two keys of a Map have the same text', key);
  return object;
}

/** Whether JSON would show {} for an object that is not an empty plain one. */
function hidesItsContent(value) {
  if (keys(value).length > 0) return false;
  const prototype = getPrototypeOf(value);
  return prototype !== null && getPrototypeOf(prototype) !== null; // plain objects of other realms are plain too
}

function isBytes(value) {
  return ArrayBuffer.isView(value) || isAnyArrayBuffer(value) || isBlob(value);
}

/** A Blob or a File. Asks by name: touching the class loads it. */
function isBlob(value) {
  return ['Blob', 'File'].includes(value?.constructor?.name) && typeof value.arrayBuffer === 'function';
}

function refuse(why, key) {
  throw new NotJson(key === '' ? why : `${why} (at ${stringify(key)})`);
}

function reason(error) {
  const text = String(error?.message ?? error);
  if (text.startsWith('Converting circular structure')) return 'it contains itself';
  if (text === 'Maximum call stack size exceeded') return 'it is nested too deeply';
  return text;
}

module.exports = { NotJson, hidesItsContent, isBlob, isBytes, toJson };
