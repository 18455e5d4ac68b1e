'use strict';
// Runs without network access: the sandbox refuses every socket that leads out of the run, and errors name the rule.

const os = require('node:os');

const RULE = 'network access is off for this function (network: none)';
const NO_SESSION =
  `${RULE}, and the platform has no database session to hand over: the server requires TLS, the project has used up its ` +
  'connections, the server cannot be reached, or the listener starts Node.js anew for each run (see zmesh doctor)';
const REFUSED = 'ENETDOWN'; // what the sandbox has the kernel answer
const SIGNS = /\b(ENETDOWN|EAI_AGAIN)\b|network is down|name resolution|\bquery[A-Z]\w* ECONNREFUSED\b/i;
const MAX_ERRORS = 16;
let off = false;

/** Whether this run has no network. */
function isOff() {
  return off;
}

/** Has errors of Node.js's own sockets name the rule. The sandbox has refused all that from the start. */
function turnOff() {
  off = true;
  explainLookups();
  explainSockets();
}

function explainLookups() {
  const dns = require('node:dns');
  const { lookup } = dns;
  dns.lookup = function explainedLookup(hostname, options, callback) {
    const given = typeof options === 'function' ? options : callback;
    if (typeof given !== 'function') return lookup(hostname, options, callback);
    const explain = (error, ...found) => given(error && renamed(error), ...found);
    return typeof options === 'function' ? lookup(hostname, explain) : lookup(hostname, options, explain);
  };
  const promised = dns.promises.lookup;
  dns.promises.lookup = (...values) => promised(...values).catch((error) => Promise.reject(renamed(error)));
}

/** Node.js passes each error of a socket or server to `emit` or `destroy`. */
function explainSockets() {
  const dgram = require('node:dgram');
  const net = require('node:net');
  const { destroy } = net.Socket.prototype;
  net.Socket.prototype.destroy = function explainedDestroy(error, ...rest) {
    return destroy.call(this, error && renamed(error), ...rest);
  };
  for (const prototype of [net.Server.prototype, dgram.Socket.prototype]) {
    const { emit } = prototype;
    prototype.emit = function explainedEmit(event, ...values) {
      return emit.call(this, event, ...(event === 'error' ? values.map(renamed) : values));
    };
  }
}

/** The same error with the rule in its message, if it comes of a refused socket. */
function renamed(error) {
  if (shows(error) && !error.message.includes(RULE)) error.message = `${RULE}: ${error.message}`;
  return error;
}

/** An error that says so and has the code of a refused socket. */
function refused(message) {
  return Object.assign(new Error(message), { code: REFUSED, errno: -os.constants.errno.ENETDOWN });
}

/** The message of an error, with the rule where a refused socket may be behind it. */
function explained(message, error) {
  if (!off || message.includes(RULE) || !chain(error).some(shows)) return message;
  return `${message} (${RULE})`;
}

function shows(error) {
  try {
    return SIGNS.test(`${error.code} ${error.message}`) || String(error.message).includes(RULE);
  } catch {
    return false;
  }
}

function chain(error) {
  const found = [];
  for (const waiting = [error]; waiting.length > 0 && found.length < MAX_ERRORS; ) {
    const one = waiting.pop();
    if (typeof one !== 'object' || one === null || found.includes(one)) continue;
    found.push(one);
    try {
      waiting.push(one.cause, ...(one.errors ?? []));
    } catch {
      // a property that throws
    }
  }
  return found;
}

module.exports = { NO_SESSION, explained, isOff, refused, turnOff };
