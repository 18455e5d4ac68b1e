'use strict';
// From what a handler returns, and from payloads, to JSON.

const { stringify } = JSON;

class NotJson extends TypeError {
  get name() {
    return 'NotJson';
  }
}

/** JSON text of a value; undefined becomes null. */
function toJson(value) {
  if (typeof value === 'function' || typeof value === 'symbol') throw new NotJson(`a ${typeof value} is not JSON`);
  try {
    return stringify(value) ?? 'null';
  } catch (error) {
    throw new NotJson(reason(error));
  }
}

function reason(error) {
  const text = String(error?.message ?? error);
  if (text.startsWith('Converting circular structure')) return 'it contains itself';
  if (text.endsWith('serialize a BigInt')) return 'a BigInt is not JSON: return Number(value) or String(value)';
  if (text === 'Maximum call stack size exceeded') return 'it is nested too deeply';
  return text;
}

module.exports = { NotJson, toJson };
