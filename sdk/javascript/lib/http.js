'use strict';
// The HTTP request that a run answers, and the raw response it may answer with.

const { checkedHeaders, firstValue, sentHeaders } = require('./headers.js');
const { toJson } = require('./results.js');

class Request {
  #bodyBase64;
  #body = null;

  constructor(request) {
    this.method = request.method;
    this.path = request.path;
    this.rawPath = request.raw_path ?? request.path; // as it was sent, such as "/a%2Fb/"
    this.rawQuery = request.raw_query ?? '';
    this.scheme = request.scheme ?? 'http';
    this.rootPath = request.root_path ?? ''; // of the function in the URL, without the path below it
    this.headers = Object.fromEntries(
      Object.entries(request.headers).map(([name, value]) => [name.toLowerCase(), value]),
    );
    this.queryAll = { ...request.query };
    this.query = Object.fromEntries(Object.entries(request.query).map(([name, values]) => [name, values[0]]));
    this.unparsedReason = request.unparsed_reason ?? null; // why the payload is null although there is a body
    this.#bodyBase64 = request.body_base64 ?? '';
  }

  /** The raw body, as the sender signed it. */
  get body() {
    this.#body ??= Buffer.from(this.#bodyBase64, 'base64');
    return this.#body;
  }

  /** The body as text, decompressed where it came compressed. */
  text() {
    const coded = /^\s*(x-gzip|gzip|deflate)\s*$/i.test(this.headers['content-encoding'] ?? '');
    return (coded ? require('node:zlib').unzipSync(this.body) : this.body).toString('utf8');
  }

  json() {
    return JSON.parse(this.text().replace(/^\ufeff/, ''));
  }

  get unparsed_reason() {
    return this.unparsedReason;
  }

  get query_all() {
    return this.queryAll;
  }

  get raw_path() {
    return this.rawPath;
  }

  get raw_query() {
    return this.rawQuery;
  }

  get root_path() {
    return this.rootPath;
  }
}

/** Returned by a handler, it is the HTTP answer as it stands. A body that is an iterator goes out piece by piece. */
class RawResponse {
  #isText;

  constructor(body, { status = 200, headers = {}, ...unknown } = {}) {
    const extra = Object.keys(unknown);
    if (extra.length) throw new TypeError(`response has no option ${extra.join(', ')}; it has status and headers`);
    if (!Number.isInteger(status) || status < 200 || status > 599) {
      throw new RangeError(`status must be a whole number from 200 to 599, not ${String(status)}`);
    }
    this.status = status;
    this.headers = checkedHeaders(headers);
    this.stream = isStream(body) ? body : null;
    const [bytes, contentType] = this.stream ? [Buffer.alloc(0), null] : encoded(body);
    this.body = bytes;
    this.#isText = !isBytes(body);
    this.#addContentType(contentType);
  }

  /** The media type that a header names, without parameters. */
  get contentType() {
    return firstValue(this.headers, 'content-type')?.split(';')[0].trim().toLowerCase();
  }

  #addContentType(contentType) {
    if (contentType && this.contentType === undefined) this.headers['content-type'] = contentType;
  }

  text() {
    return this.body.toString('utf8');
  }

  json() {
    return JSON.parse(this.text());
  }

  /** The body of the frame that announces this response's own body, where that is sent as a stream. */
  wholeHead() {
    return this.head(null, this.body, this.#isText);
  }

  /** The body of the frame that announces a stream which begins with a piece of this type. */
  head(contentType, piece = Buffer.alloc(0), isText = false) {
    this.#addContentType(contentType);
    return JSON.stringify({ status: this.status, headers: sentHeaders(this.headers, piece, isText) });
  }

  /** The body of the frame that carries this response to the sandbox. */
  frame() {
    const headers = sentHeaders(this.headers, this.body, this.#isText);
    return JSON.stringify({ status: this.status, headers, body_base64: this.body.toString('base64') });
  }
}

/** A response of the web standard: of the class Response, a subclass, or a library's own implementation. Checked by
 * name, because touching the class loads fetch. */
function isWebResponse(value) {
  if (typeof value?.arrayBuffer !== 'function') return false;
  return value[Symbol.toStringTag] === 'Response' || isNamed(Object.getPrototypeOf(value), 'Response');
}

function isNamed(prototype, name) {
  return prototype !== null && (prototype.constructor?.name === name || isNamed(Object.getPrototypeOf(prototype), name));
}

/** Whether a value is sent piece by piece: generators, ReadableStream, Node.js's own streams. */
function isStream(value) {
  if (typeof value !== 'object' || value === null) return false;
  return typeof value[Symbol.asyncIterator] === 'function' || typeof value.next === 'function';
}

function isBytes(value) {
  return value instanceof ArrayBuffer || ArrayBuffer.isView(value);
}

function encoded(body) {
  if (body === undefined || body === null) return [Buffer.alloc(0), null];
  if (typeof body === 'string') return [Buffer.from(body), 'text/plain; charset=utf-8'];
  if (body instanceof ArrayBuffer) return [Buffer.from(body), 'application/octet-stream'];
  if (ArrayBuffer.isView(body)) {
    return [Buffer.from(body.buffer, body.byteOffset, body.byteLength), 'application/octet-stream'];
  }
  return [Buffer.from(toJson(body)), 'application/json'];
}

module.exports = { Request, RawResponse, isBytes, isStream, isWebResponse };
