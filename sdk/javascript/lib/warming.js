'use strict';
// What a template process does once, so that no run forked from it has to. Nothing here may draw a random number,
// open a socket or touch the standard streams: every run would share what comes of it.

const pg = require('pg');

const { Failure, failureFrame } = require('./failures.js');
const { load } = require('./functions.js');
const { toJson } = require('./results.js');
const statements = require('./statements.js');
const { Zmesh } = require('./zmesh.js');

const SAMPLE = { code: 'exports.handler = async (payload) => payload;', entry_point: 'handler', filename: 'warm.js' };
const MODULES = 'assert async_hooks buffer child_process crypto dns events fs/promises http https net os path querystring stream/promises timers/promises tls url util zlib';

/** Loads and warms everything that a run may need. */
function prepare() {
  for (const name of MODULES.split(' ')) require(`node:${name}`);
  void [Response, Headers, Blob, TextDecoder, URL, AbortController, WebSocket, structuredClone, crypto.subtle];
  new Response('', { headers: { warm: '1' } });
  statements.update('t', { a: 1 }, 'id = $1', [1]);
  toJson({ warm: [1, 'ä', null, true] });
  load(SAMPLE)({}, new Zmesh({ function: 'warm', database_url: '' }, {}));
  failureFrame(new Failure('warm', ''), SAMPLE.filename);
  failureFrame(new TypeError('warm'), SAMPLE.filename);
  new pg.Client({ connectionString: 'postgresql://warm@/warm' });
}

module.exports = { prepare };
