'use strict';
// Fetch handlers: code written for Cloudflare Workers, Deno, Supabase, Vercel and Next.js, which takes a Request
// and returns a Response. docs/decisions/0055-foreign-handlers.md says how they are told apart from handlers (payload, zmesh).

const { waitUntil } = require('./background.js');
const { Failure } = require('./failures.js');
const { RawResponse, isWebResponse } = require('./http.js');
const { methodOf } = require('./members.js');

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];
const OURS = /^x-zmesh-/; // a client cannot pass as the platform
const NO_ORIGIN = 'http://localhost';
const LONGEST_EXCERPT = 200;
const ADVICE =
  'return new Response(…) or Response.json(…); a handler that takes (payload, zmesh) is exported by the name of the entry point';

/** callable(payload, zmesh) for a fetch function, called as `call(request, env, ctx)`. */
function fetchHandler(call, { base = '', methodOfJobs = 'POST' } = {}) {
  return async (payload, zmesh) => {
    const request = zmesh.request ? requestOf(zmesh, base) : requestOfJob(payload, zmesh, base, methodOfJobs);
    const response = checked(await call(request, zmesh.env, contextOf(zmesh)));
    if (!zmesh.request) return resultOf(request, response);
    return request.method === 'HEAD' ? withoutBody(response) : response;
  };
}

/** callable(payload, zmesh) for a module that exports functions named as HTTP methods, or null. */
function methodHandler(exported) {
  const methods = METHODS.filter((name) => methodOf(exported, name));
  if (methods.length === 0) return null;
  const call = (request, env, ctx) => {
    const handler = methodOf(exported, request.method) ?? (request.method === 'HEAD' ? methodOf(exported, 'GET') : undefined);
    if (handler) return handler(request, { ...ctx, params: Promise.resolve({}) });
    const allow = [...new Set([...methods, ...(methods.includes('GET') ? ['HEAD'] : []), 'OPTIONS'])].join(', ');
    return new Response(null, { status: request.method === 'OPTIONS' ? 204 : 405, headers: { allow } });
  };
  return fetchHandler(call, { methodOfJobs: methods.includes('POST') ? 'POST' : 'GET' });
}

/** `ctx` of Workers, `context` of Next.js. */
function contextOf(zmesh) {
  return { zmesh, props: {}, waitUntil, passThroughOnException() {} };
}

/** The request as its client sent it, with the path below the function's own. */
function requestOf({ request }, base) {
  const { method, rawPath, rawQuery } = request;
  const url = urlOf(request, `${base}${rawPath || '/'}${rawQuery && `?${rawQuery}`}`);
  const headers = Object.entries(request.headers).filter(([name]) => !OURS.test(name));
  const body = method === 'GET' || method === 'HEAD' || request.body.length === 0 ? undefined : request.body;
  return new Request(url, { method, headers, body });
}

function urlOf({ headers, scheme }, target) {
  const url = `${scheme}://${headers.host ?? 'localhost'}${target}`;
  return URL.canParse(url) ? url : NO_ORIGIN + target;
}

/** A request for an invocation that is not an HTTP request: the payload is its JSON body. */
function requestOfJob(payload, { invocation }, base, method) {
  const headers = { 'content-type': 'application/json', 'x-zmesh-source': invocation.source ?? 'api' };
  if (invocation.id) headers['x-zmesh-invocation-id'] = invocation.id;
  return new Request(`${NO_ORIGIN}${base}/`, { method, headers, body: method === 'GET' ? undefined : JSON.stringify(payload) });
}

function checked(response) {
  if (response instanceof RawResponse) return response;
  if (!isWebResponse(response)) {
    throw new Failure('invalid_result', `the fetch handler returned ${kindOf(response)}, not a Response: ${ADVICE}`);
  }
  return response;
}

function kindOf(value) {
  if (value === null || value === undefined) return String(value);
  return typeof value === 'object' ? `an object (${value.constructor?.name ?? 'without prototype'})` : `a ${typeof value}`;
}

function withoutBody(response) {
  const { status, headers } = response;
  if (response instanceof RawResponse) return new RawResponse(null, { status, headers });
  response.body?.cancel().catch(() => {}); // nobody reads it
  return new Response(null, { status, headers });
}

/** The result of an invocation that is not an HTTP request. A status of 400 or higher fails it, so it is retried. */
async function resultOf(request, response) {
  if (response.status >= 400) throw await statusFailure(request, response);
  const type = mediaType(response);
  const isJson = /[/+]json$/.test(type);
  if (response.stream || !(isJson || type.startsWith('text/') || response.body === null)) return response;
  const text = response.body === null ? '' : await response.text();
  if (text === '') return null;
  return isJson ? parsed(text) : text;
}

async function statusFailure({ method }, response) {
  const text = response.body === null || response.stream ? '' : await response.text();
  const short = text.length > LONGEST_EXCERPT ? `${text.slice(0, LONGEST_EXCERPT)}…` : text;
  return new Failure('http_error', `the handler answered ${method} / with status ${response.status}${short && `: ${short}`}`);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Failure('invalid_result', `the Response has a JSON content type, but its body is not JSON: ${error.message}`);
  }
}

function mediaType(response) {
  const type = response instanceof RawResponse ? response.contentType : response.headers.get('content-type');
  return (type ?? '').split(';')[0].trim().toLowerCase();
}

module.exports = { fetchHandler, methodHandler };
