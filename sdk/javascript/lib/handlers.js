'use strict';
// The handler of a loaded module: found by name in what the module exports.

const { Failure } = require('./failures.js');

/** The function of that name, called as a method of what exports it: an object, an instance, or a class with such a method. */
function handlerOf(exported, name) {
  const owners = [exported, exported?.default].map((owner) => (isClassWith(owner, name) ? new owner() : owner));
  const owner = owners.find((one) => (one?.[name] ?? undefined) !== undefined);
  const found = owner?.[name] ?? owners.find((one) => typeof one === 'function');
  if (typeof found === 'function' && !isClass(found)) return owner === undefined ? found : found.bind(owner);
  throw new Failure('entry_point_missing', missing(exported, name, found));
}

function isClass(value) {
  return typeof value === 'function' && /^class\b/.test(Function.prototype.toString.call(value));
}

function isClassWith(value, method) {
  return isClass(value) && typeof value[method] !== 'function' && typeof value.prototype[method] === 'function';
}

function missing(exported, name, found) {
  if (isClass(found)) return `exports.${name} is a class: export a function, or a class that has a method "${name}"`;
  if (found !== undefined) return `exports.${name} is not a function (got ${typeof found})`;
  const others = Object.keys(exported ?? {});
  const hint = others.length ? `; it exports ${others.slice(0, 10).join(', ')}` : '; it exports nothing';
  return `the code exports no function "${name}"${hint}`;
}

module.exports = { handlerOf };
