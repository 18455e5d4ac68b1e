'use strict';
// Streamed responses: each piece is sent as it comes, no faster than the client reads.

const { setImmediate } = globalThis;
const { Failure } = require('./failures.js');
const { CHUNK, LARGEST_CHUNK, STREAM } = require('./frames.js');
const { RawResponse, isBytes } = require('./http.js');
const { NotJson, toJson } = require('./results.js');

const LARGEST_READY = 1024 * 1024;
const EVENTS = 'text/event-stream';
const DECODED = /^(x-)?gzip$|^deflate$|^br$/i;
const OF_THE_CONNECTION = new Set([
  ...['connection', 'content-length', 'keep-alive', 'proxy-authenticate', 'proxy-authorization', 'proxy-connection'],
  ...['te', 'trailer', 'transfer-encoding', 'upgrade'],
]);

/** Sends every piece. The head goes with the first one, so that an error before it is an ordinary failure. */
async function sendStream(channel, response) {
  if (!response.stream) {
    channel.send(STREAM, response.wholeHead());
    return sendPiece(channel, response.body);
  }
  let started = false;
  for await (const piece of response.stream) {
    const [data, contentType] = encoded(piece, response.contentType === EVENTS);
    if (!started) channel.send(STREAM, response.head(contentType, data, !isBytes(piece)));
    started = true;
    sendPiece(channel, data);
  }
  if (!started) channel.send(STREAM, response.head(null));
  return undefined;
}

function sendPiece(channel, data) {
  for (let start = 0; start < data.length; start += LARGEST_CHUNK) {
    channel.send(CHUNK, data.subarray(start, start + LARGEST_CHUNK));
  }
}

/** A piece as bytes, and the content type of a response whose first piece it is. */
function encoded(piece, asEvent) {
  if (typeof piece === 'string') return [Buffer.from(piece), 'text/plain; charset=utf-8'];
  if (piece instanceof ArrayBuffer) return [Buffer.from(piece), 'application/octet-stream'];
  if (ArrayBuffer.isView(piece)) {
    return [Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength), 'application/octet-stream'];
  }
  try {
    const json = toJson(piece);
    return [Buffer.from(asEvent ? `data: ${json}\n\n` : `${json}\n`), 'application/x-ndjson'];
  } catch (error) {
    if (!(error instanceof NotJson)) throw error;
    throw new Failure('invalid_result', `a piece of the response is not JSON: ${error.message}`);
  }
}

/** A Response of the web standard as one of ours: whole where its body is there already, else as a stream. */
async function fromWebResponse(response) {
  const options = { status: response.status, headers: [...response.headers].filter(isOfTheBody(response)) };
  if (response.body === null) return new RawResponse(null, options);
  if (response.bodyUsed || response.body.locked) {
    throw new Failure('invalid_result', 'the body of the Response has already been read or is locked: return response.clone(), or a new Response');
  }
  const pieces = response.body[Symbol.asyncIterator]();
  const ready = [];
  for (let size = 0; size <= LARGEST_READY; size += ready.at(-1).length) {
    const next = pieces.next();
    const settled = await Promise.race([next, new Promise((resolve) => setImmediate(resolve))]);
    if (settled === undefined) return new RawResponse(rest(ready, next, pieces), options);
    if (settled.done) return new RawResponse(Buffer.concat(ready), options);
    if (!ArrayBuffer.isView(settled.value)) throw new TypeError('a Response has to be made of Uint8Array pieces');
    ready.push(settled.value);
  }
  return new RawResponse(rest(ready, pieces.next(), pieces), options);
}

/** A fetch() response has been decoded, but still has the headers for its encoding and encoded length. */
function isOfTheBody({ url, headers }) {
  const encoded = url === '' ? null : headers.get('content-encoding');
  const stale = encoded !== null && encoded.split(',').every((one) => DECODED.test(one.trim()));
  return ([name]) => !OF_THE_CONNECTION.has(name) && !(stale && name === 'content-encoding');
}

async function* rest(ready, next, pieces) {
  yield* ready;
  for (let piece = await next; !piece.done; piece = await pieces.next()) yield piece.value;
}

module.exports = { fromWebResponse, sendStream };
