'use strict';
// Chooses the export that is called for an invocation, and turns it into callable(payload, zmesh).
// docs/decisions/0055-foreign-handlers.md has the rules.

const { isModuleNamespaceObject } = require('node:util').types;
const { Failure } = require('./failures.js');
const { fetchHandler, methodHandler } = require('./fetch_handlers.js');
const { lambdaHandler } = require('./lambda.js');
const { has, methodOf } = require('./members.js');
const { LISTENING, applicationAmong } = require('./node_applications.js');

const OURS = /\b(?:payload|zmesh)\b/;
const SERVER =
  "the code exports a framework's own kind of server: export its listener for node:http instead (NestJS: app.getHttpAdapter().getInstance() after app.init(); hapi: server.listener)";

/** The handler: the export that the job's entry point names, otherwise what the code has registered. */
function handlerOf(exported, { entry_point: name, style, limits }, registered = null) {
  const isOurs = isModuleNamespaceObject(exported) ? takesPayload : (one) => !methodOf(one, 'fetch');
  if (style === 'lambda') return lambdaHandler(plainHandler(exported, name, () => true) ?? missing(exported, name), limits);
  return (
    applicationHandler(exported, name) ??
    plainHandler(exported, name, isOurs) ??
    fetchObject(exported, name) ??
    fetchFunction(exported) ??
    methodHandler(exported) ??
    registeredHandler(registered) ??
    missing(exported, name)
  );
}

/**
 * A function of that name, called as a method of what exports it, or one that is itself the export, if it is one of ours;
 * null if there is none.
 */
function plainHandler(exported, name, isOurs) {
  const owners = ownersOf(exported, name);
  const owner = owners.find((one) => has(one, name));
  if (owner === undefined) return owners.find((one) => isFunction(one) && isOurs(one)) ?? null;
  return isFunction(owner[name]) ? owner[name].bind(owner) : null;
}

/** An application for node:http: what the entry point names, otherwise the default or the whole export. */
function applicationHandler(exported, name) {
  const owners = ownersOf(exported, name);
  const owner = owners.find((one) => has(one, name));
  const call = applicationAmong(owner === undefined ? owners.toReversed() : [owner[name]]);
  return call && fetchHandler(call);
}

/** The default export of an ES module. */
function fetchFunction(exported) {
  return isModuleNamespaceObject(exported) && isFunction(exported.default) ? fetchHandler(exported.default) : null;
}

/** Objects that may have the function as a member: the exports and the default export; of a class, an instance. */
function ownersOf(exported, name) {
  const all = [exported, has(exported, 'default') ? exported.default : undefined];
  return all.map((owner) => (isClassWith(owner, name) ? new owner() : owner));
}

/** An object with a method `fetch`: what the entry point names, the default export, or the whole export. */
function fetchObject(exported, name) {
  const candidates = [[exported, name], [exported, 'default']].map(([owner, key]) => (has(owner, key) ? owner[key] : undefined));
  const owner = [...candidates, exported].find((one) => methodOf(one, 'fetch'));
  return owner === undefined ? null : fetchHandler((request, env, ctx) => owner.fetch(request, env, ctx));
}

function registeredHandler(registered) {
  if (!registered?.call) return null;
  return (payload, zmesh) => fetchHandler(registered.call, { base: registered.baseFor(zmesh) })(payload, zmesh);
}

/** Whether a default export is a handler (payload, zmesh) rather than a fetch handler, judging by its parameters. */
function takesPayload(handler) {
  const parameters = parametersOf(handler);
  return parameters !== null && (OURS.test(parameters) || parameters.trim() === '');
}

/** The text of a function's parameters; null if it is not available, as for bound functions. */
function parametersOf(handler) {
  const source = Function.prototype.toString.call(handler);
  if (source.endsWith('{ [native code] }')) return null;
  const start = source.indexOf('(');
  const arrow = source.indexOf('=>');
  if (start < 0 || (arrow >= 0 && arrow < start)) return source.slice(0, arrow).replace(/^async\b/, '');
  let depth = 0;
  for (let at = start; at < source.length; at++) {
    if (source[at] === '(') depth++;
    else if (source[at] === ')' && --depth === 0) return source.slice(start + 1, at);
  }
  return null;
}

function isFunction(value) {
  return typeof value === 'function' && !isClass(value);
}

function isClass(value) {
  return typeof value === 'function' && /^class\b/.test(Function.prototype.toString.call(value));
}

function isClassWith(value, method) {
  return isClass(value) && typeof value[method] !== 'function' && typeof value.prototype[method] === 'function';
}

function missing(exported, name) {
  throw new Failure('entry_point_missing', missingMessage(exported, name));
}

function missingMessage(exported, name) {
  const owners = [exported, exported?.default];
  const found = owners.find((one) => has(one, name))?.[name] ?? owners.find((one) => typeof one === 'function');
  if (isClass(found)) return `exports.${name} is a class: export a function, or a class that has a method "${name}"`;
  const servers = [...owners, found].filter((one) => methodOf(one, 'listen') || methodOf(one, 'inject'));
  if (servers.length) return SERVER;
  if (found !== undefined) return `exports.${name} is not a function (got ${typeof found})`;
  const others = Object.keys(exported ?? {});
  const hint = others.length ? `; it exports ${others.slice(0, 10).join(', ')}` : '; it exports nothing';
  return `the code exports no function "${name}"${hint}${isListening() ? LISTENING : ''}`;
}

function isListening() {
  return process.getActiveResourcesInfo().includes('TCPServerWrap');
}

module.exports = { handlerOf };
