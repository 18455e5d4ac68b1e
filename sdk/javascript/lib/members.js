'use strict';
// Members of what a module exports. They ask by `in` first, because some routers answer to any name.

/** Whether it has that member, and it is neither null nor undefined. */
function has(owner, name) {
  const isObject = owner !== null && (typeof owner === 'object' || typeof owner === 'function');
  return isObject && name in owner && (owner[name] ?? undefined) !== undefined;
}

/** The method of that name, or undefined. */
function methodOf(owner, name) {
  return has(owner, name) && typeof owner[name] === 'function' ? owner[name] : undefined;
}

module.exports = { has, methodOf };
