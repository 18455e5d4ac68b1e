'use strict';
// Response headers: checked when the response is made; when it is sent, wrong or forbidden ones are left out.

const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
const CONTROL = /[\x00-\x08\x0b\x0e-\x1f\x7f\ufffd]/;
// The API leaves these out (api/invoking/response_headers.py): they apply to the whole host, or command a reverse proxy.
const BEYOND_THE_FUNCTION = new Set([
  ...['accept-ch', 'accept-ch-lifetime', 'alt-svc', 'clear-site-data', 'expect-ct', 'nel', 'origin-agent-cluster'],
  ...['idp-signin-status', 'public-key-pins', 'public-key-pins-report-only', 'report-to', 'reporting-endpoints'],
  ...['sec-session-challenge', 'sec-session-registration', 'secure-session-challenge'],
  ...['secure-session-registration', 'service-worker-allowed', 'set-cookie2', 'set-login', 'shared-storage-write'],
  ...['strict-transport-security', 'use-as-dictionary'],
  ...['x-accel-limit-rate', 'x-accel-redirect', 'x-lighttpd-send-file', 'x-lighttpd-send-tempfile'],
  ...['x-envoy-degraded', 'x-envoy-immediate-health-check-fail', 'x-envoy-overloaded'],
  ...['x-litespeed-location', 'x-reproxy-file', 'x-reproxy-url', 'x-sendfile', 'x-sendfile-temporary', 'x-sendfile2'],
]);

/** Each header under its name as first written: the value, or a list. Takes objects, pairs, Headers and Maps. */
function checkedHeaders(headers) {
  const checked = {};
  const names = new Map();
  for (const [name, given] of pairsOf(headers)) {
    if (typeof name !== 'string' || !NAME.test(name)) throw new TypeError(`${JSON.stringify(name)} is not a header name`);
    const values = Array.isArray(given) ? given : [given];
    if (values.length === 0) throw new TypeError(`header ${name} has an empty list of values; leave it out`);
    const known = names.get(name.toLowerCase()) ?? name;
    names.set(name.toLowerCase(), known);
    const all = [checked[known] ?? [], values.map((value) => checkedValue(name, value))].flat();
    checked[known] = all.length === 1 ? all[0] : all;
  }
  return checked;
}

function pairsOf(headers) {
  if (Array.isArray(headers) || typeof headers.entries !== 'function') {
    return Array.isArray(headers) ? headers : Object.entries(headers);
  }
  return headers.entries();
}

function checkedValue(name, value) {
  if (!['string', 'number', 'boolean'].includes(typeof value) || !VALUE.test(String(value))) {
    throw new TypeError(`the value of header ${name} must be text of one line, in Latin-1`);
  }
  return String(value);
}

/** The first value of a header, whatever its case. */
function firstValue(headers, wanted) {
  const found = Object.entries(headers).find(([name]) => name.toLowerCase() === wanted);
  return found && [found[1]].flat()[0];
}

/** The headers to send with a body that begins with these bytes. Warns of headers that a function may not send. */
function sentHeaders(headers, bytes, isText) {
  const sent = Object.entries(headers).filter(([name, value]) => {
    const lower = name.toLowerCase();
    if (lower === 'content-encoding') return !isStale(String(value), bytes, isText);
    if (lower === 'set-cookie') warnOfHostCookies(value);
    if (!BEYOND_THE_FUNCTION.has(lower) && !lower.startsWith('x-zmesh-')) return true;
    console.warn(`The response header ${name} is not sent: it would apply beyond this function.`);
    return false;
  });
  return Object.fromEntries(sent);
}

function warnOfHostCookies(value) {
  for (const cookie of [value].flat()) {
    if (!/^\s*__host-/i.test(cookie)) continue;
    const name = cookie.split('=')[0].trim();
    console.warn(`The cookie ${name} is sent only if the project has its own host name: its path covers the whole host.`);
  }
}

/** Whether Content-Encoding is left over from a response whose body has since been decoded, as fetch does. */
function isStale(encoding, bytes, isText) {
  if (bytes.length === 0) return false;
  if (isText) return true;
  switch (encoding.split(',').at(-1).trim().toLowerCase()) {
    case 'gzip':
    case 'x-gzip':
      return bytes[0] !== 0x1f || bytes[1] !== 0x8b;
    case 'deflate':
      return (bytes[0] & 0x0f) !== 8 || (bytes[0] * 256 + bytes[1]) % 31 !== 0;
    case 'zstd':
      return bytes.readUInt32LE?.(0) !== 0xfd2fb528;
    case 'br': // has no signature: a body that can be read as text is not compressed
      return !CONTROL.test(Buffer.from(bytes.subarray(0, 512)).toString('utf8').replace(/\ufffd{1,3}$/, ''));
    default:
      return false;
  }
}

module.exports = { BEYOND_THE_FUNCTION, checkedHeaders, firstValue, sentHeaders };
