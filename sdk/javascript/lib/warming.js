'use strict';
// What a template process does once, so that no run forked from it has to. Nothing here may draw a random number,
// leave a socket open or touch the standard streams: every run would share the result.

const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const pg = require('pg');
const signIn = require('pg/lib/crypto/utils.js');
const { Channel } = require('./channel.js');
const { Database, Session } = require('./database.js');
const frames = require('./frames.js');
const { greeting, openServer } = require('./rehearsed_server.js');
const { javaScriptOf } = require('./sources.js');
const statements = require('./statements.js');

const MODULES = `assert async_hooks buffer child_process crypto dgram dns dns/promises events fs/promises http https net os path querystring
  stream/promises timers/promises tls url util zlib`;
const TIMES = 3; // the first run compiles, the next ones settle what V8 learns about types: more save runs nothing
const QUERIES = 20; // more code than a run's own: a query takes a third less CPU time after these than after three
const COMPILATIONS = 12; // until V8 has optimized the WebAssembly of the compiler, which no fork can
const FETCH = `module.exports = { async fetch(request, env, ctx) {
  const { pathname } = new URL(request.url);
  return Response.json({ pathname, body: await request.json() }, { headers: { warm: request.headers.get('warm') } });
} };`;
const REQUEST = { method: 'POST', path: '/', headers: { host: 'warm', warm: '1' }, query: {}, body_base64: 'e30=' };
const CODES = [
  ['javascript', 'exports.handler = async (payload, zmesh) => { console.log(payload, zmesh.env); return payload; };'],
  ['javascript', 'exports.handler = () => { throw new TypeError("rehearsed"); };'],
  ['javascript', 'exports.handler ='],
  ['javascript', FETCH, REQUEST],
  ['javascript', 'import "node:fs"; export const handler = (payload) => payload;'],
  ['typescript', 'exports.handler = (payload: object): object => payload;'],
  ['typescript', 'enum Rehearsed { One }; exports.handler = (payload: object) => Rehearsed.One;'],
];
let number = 0; // each is a file of its own: modules are loaded once
const CONTEXT = { project_id: '', invocation_id: '', attempt: 1, function: 'warm', version: 1, database_url: '' };

/** A channel for a trial run whose output goes nowhere. */
class Rehearsal {
  #frames;

  constructor([language, code, request = null]) {
    const job = {
      code,
      entry_point: 'handler',
      filename: `warm-${number++}.js`,
      language,
      env: {},
      context: { ...CONTEXT, request },
      limits: { memory_bytes: 1024 * 1024, cpu_seconds: 1, result_bytes: 1024 },
    };
    this.#frames = [Buffer.from(JSON.stringify(job)), Buffer.from('{"warm":[1,"ä",null]}')];
  }

  static all() {
    return Array.from({ length: TIMES }, () => CODES.map((code) => new Rehearsal(code))).flat();
  }

  receive() {
    return { kind: frames.JOB, body: this.#frames.shift() };
  }

  send() {}
}

/** Loads modules that functions often use, and what Node.js loads on first use. */
function warm() {
  process.removeAllListeners('warning'); // Node.js would write those of rehearsals to the listener's log: see Output
  for (const name of MODULES.split(/\s+/)) require(`node:${name}`);
  new Response('', { headers: { warm: '1' } });
  new Date(0).getHours(); // reads the time zones, which takes 11 ms
  void [AbortController, WebSocket, Blob, TextDecoder, structuredClone, crypto.subtle];
  new pg.Client({ connectionString: 'postgresql://warm@/warm' });
  statements.update('t', { a: 1 }, 'id = $1', [1]);
  const device = fs.openSync('/dev/zero', 'r+');
  for (let time = 0; time < TIMES; time++) {
    new Channel(device).send(frames.LOG, 'warm');
    new Channel(device).receive();
  }
  fs.closeSync(device);
}

/** Sends a query many times, in a session signed in beforehand and by signing in: cold, that costs a run 10 ms. */
async function rehearseDatabase() {
  const server = await openServer().catch(() => null);
  if (server === null) return; // no local network, so runs have none either
  await rehearseAdoption();
  const { randomBytes } = signIn;
  signIn.randomBytes = (size) => Buffer.alloc(size, 1);
  for (let time = 0; time < QUERIES; time++) await ask(new Session(server.url, 'warm'));
  signIn.randomBytes = randomBytes;
  await server.close();
}

/** Has the loader of modules and the compiler of TypeScript loaded: in a run, the compiler alone would take 150 ms. */
async function rehearseModules() {
  for (const name of ['index.ts', 'stripped.ts']) {
    const file = path.join(__dirname, '..', 'rehearsed', name);
    const text = fs.readFileSync(file, 'utf8');
    for (let time = 0; time < COMPILATIONS; time++) javaScriptOf(text, file);
    const { handler } = await import(pathToFileURL(file).href);
    await handler({});
  }
}

async function rehearseAdoption() {
  const server = await openServer({ signedIn: true });
  for (let time = 0; time < QUERIES; time++) {
    const socket = net.connect(server.port, '127.0.0.1');
    await once(socket, 'connect');
    await ask(new Session(server.url, 'warm', () => ({ socket, greeting: greeting() })));
  }
  await server.close();
}

async function ask(session) {
  const database = new Database(session);
  await database.queryOne('select 1 as one');
  await database.query('select $1::int as one', [1]);
}

module.exports = { Rehearsal, rehearseDatabase, rehearseModules, warm };
