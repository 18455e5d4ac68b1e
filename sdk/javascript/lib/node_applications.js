'use strict';
// Applications for node:http: of Express, Connect, Koa, Fastify, or a server that was never told to listen. Each request
// goes through Node.js's own server over a pair of streams in memory, so that they get what they would get from a port.

const { setImmediate } = globalThis;
const { Failure } = require('./failures.js');
const { methodOf } = require('./members.js');

const LISTENING = '. It listens on a port, which no caller can reach: export the application instead (module.exports = app)';
const PROXY = '127.0.0.1'; // whom applications may trust with X-Forwarded-For
const NO_BODY = new Set([204, 205, 304]);
const OF_CONNECTION = ['connection', 'expect', 'keep-alive', 'transfer-encoding'];
const servers = new WeakMap(); // by application

/** The application among these values, as a function (request, env, ctx) that returns a Response; null if there is none. */
function applicationAmong(values) {
  const application = values.find((value) => kindOf(value) !== null) ?? null;
  return application && ((request, env, ctx) => answerOf(application, request, ctx));
}

function kindOf(value) {
  if (!methodOf(value, 'listen') || methodOf(value, 'fetch')) return null;
  if (typeof value === 'function') return methodOf(value, 'use') && methodOf(value, 'handle') ? 'listener' : null;
  if (methodOf(value, 'use') && methodOf(value, 'callback')) return 'koa';
  if (methodOf(value, 'inject') && methodOf(value, 'ready') && isServer(value.server)) return 'fastify';
  return isServer(value) ? 'server' : null;
}

/** Whether it is a server of node:http, a module that is only loaded for what may be one. */
function isServer(value) {
  return typeof value === 'object' && methodOf(value, 'emit') !== undefined && value instanceof require('node:http').Server;
}

async function answerOf(application, request, ctx) {
  const { duplexPair } = require('node:stream');
  const server = await serverOf(application);
  const [near, far] = duplexPair();
  Object.assign(far, { remoteAddress: PROXY, encrypted: request.url.startsWith('https:'), zmesh: ctx.zmesh });
  server.emit('connection', far);
  return responseOf(await sent(near, request, Buffer.from(await request.arrayBuffer())));
}

async function serverOf(application) {
  if (!servers.has(application)) servers.set(application, await newServer(application));
  return servers.get(application);
}

async function newServer(application) {
  const kind = kindOf(application);
  if (kind === 'fastify') await application.ready();
  const listener = kind === 'koa' ? application.callback() : application;
  const server = { fastify: application.server, server: application }[kind] ?? require('node:http').createServer(listener);
  return server.prependListener('request', (request) => (request.zmesh = request.socket.zmesh));
}

/** Sends a request, and resolves with its response as soon as the headers have arrived. */
function sent(connection, request, body) {
  const { host, pathname, search } = new URL(request.url);
  const headers = { host, ...Object.fromEntries(request.headers) };
  for (const name of OF_CONNECTION) delete headers[name];
  if (body.length > 0) headers['content-length'] = body.length;
  return new Promise((resolve, reject) => {
    const options = { method: request.method, path: pathname + search, headers, createConnection: () => connection };
    const fail = ({ message }) => reject(new Failure('invalid_result', `the application sent no response: ${message}`));
    require('node:http').request(options, resolve).on('error', fail).end(body);
  });
}

async function responseOf(incoming) {
  const headers = new Headers();
  await new Promise(setImmediate); // Express logs an error after it has answered
  for (let at = 0; at < incoming.rawHeaders.length; at += 2) headers.append(...incoming.rawHeaders.slice(at, at + 2));
  const options = { status: incoming.statusCode, headers };
  if (NO_BODY.has(options.status) || incoming.req.method === 'HEAD') return new Response(null, options);
  if (headers.has('content-length')) return new Response(await require('node:stream/consumers').buffer(incoming), options);
  return new Response(require('node:stream').Readable.toWeb(incoming), options);
}

module.exports = { LISTENING, applicationAmong };
