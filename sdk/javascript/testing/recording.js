'use strict';
// The zmesh object of one test.

const { randomUUID } = require('node:crypto');
const path = require('node:path');
const { RawResponse, Request, isBytes } = require('../lib/http.js');
const { InvocationError, storedResponse } = require('../lib/invocations.js');
const { toJson } = require('../lib/results.js');
const { Zmesh } = require('../lib/zmesh.js');
const { Clock } = require('./clock.js');
const { runInSandbox } = require('./sandbox.js');
const { RolledBackSession } = require('./session.js');

const ENQUEUED = `select id, function, payload, run_at as "runAt", expires_at as "expiresAt", priority,
    max_attempts as "maxAttempts", idempotency_key as "idempotencyKey", concurrency_key as "concurrencyKey",
    callback_url as "callbackUrl", version, alias
  from zmesh.invocations join zmesh_test.enqueued using (id) order by number`;

/** The answer of a function that fails: zmesh.invoke() rejects with an InvocationError of this type and message. */
class Failure {
  constructor(type, message = '', status = 'error') {
    Object.assign(this, { type, message, status });
  }
}

class RecordingZmesh extends Zmesh {
  #session;
  #context;

  constructor(databaseUrl) {
    const clock = new Clock();
    const session = new RolledBackSession(databaseUrl, clock);
    const context = { invocation_id: randomUUID(), function: 'test', version: 1, source: 'api' };
    super(context, {}, undefined, session);
    this.#session = session;
    this.#context = context;
    this.clock = clock;
    /** Variables and secrets that the test sets. */
    this.env = Object.create(null);
    /** Function → what invoke() resolves to, a function that takes the payload, or a Failure. */
    this.answers = Object.create(null);
    /** The calls of invoke(). */
    this.invoked = [];
  }

  async invoke(name, payload = {}, { timeoutMs = null, version = null, alias = null } = {}) {
    const sent = asJson(payload);
    this.invoked.push({ function: name, payload: sent, timeoutMs, version, alias });
    if (!(name in this.answers)) {
      throw new Error(`no answer to zmesh.invoke('${name}'): set zmesh.answers['${name}'] in the test`);
    }
    const given = this.answers[name];
    const answer = typeof given === 'function' ? await given(sent) : given;
    if (answer instanceof Failure) throw new InvocationError(name, randomUUID(), answer.status, { ...answer });
    return answer instanceof RawResponse ? answer : asJson(answer);
  }

  /** What would run later, in the order of the inserts. What was rolled back is not among it. */
  enqueued() {
    return this.db.query(ENQUEUED);
  }

  /** What of that may start by now, according to the clock. */
  async due() {
    return (await this.enqueued()).filter((one) => one.runAt <= this.clock.now);
  }

  /** Has zmesh.request be this one. A body that is neither bytes nor text is sent as JSON. */
  setRequest(method = 'GET', path = '/', { query = {}, headers = {}, body = '' } = {}) {
    const every = Object.fromEntries(Object.entries(query).map(([name, value]) => [name, [value].flat()]));
    const pairs = Object.entries(every).flatMap(([name, values]) => values.map((value) => [name, value]));
    const isJson = typeof body !== 'string' && !isBytes(body);
    this.#context.request = {
      method: method.toUpperCase(),
      path,
      raw_query: String(new URLSearchParams(pairs)),
      query: every,
      headers: { ...(isJson && { 'content-type': 'application/json' }), ...headers },
      body_base64: Buffer.from(isJson ? toJson(body) : body).toString('base64'),
    };
    this.request = new Request(this.#context.request);
    return this.request;
  }

  /**
   * Runs the handler of a file or folder in the sandbox, with the limits that zmesh.toml declares, in the transaction of
   * this test. Resolves to its result; rejects with an InvocationError if it fails, or hits a limit.
   */
  async run(file, payload = {}) {
    const asked = { payload: asJson(payload), env: { ...this.env }, context: this.#context };
    const known = Object.entries(this.answers).filter(([, answer]) => typeof answer !== 'function');
    const ends = Object.fromEntries(known.map(([name, answer]) => [name, end(answer)]));
    const { ended, invoked } = await runInSandbox(this.#session, file, asked, ends);
    this.invoked.push(...invoked);
    for (const { message } of ended.logs) console.log(message);
    const { status, result, response, error } = ended;
    if (status !== 'success') throw new InvocationError(path.parse(file).name, asked.context.invocation_id, status, error);
    return response === null ? result : storedResponse(response);
  }

  /** Rolls back what the test has done. */
  async close() {
    await this.#session.close();
  }
}

/** As the platform stores how an invocation ended. */
function end(answer) {
  const success = { status: 'success', result: null, response: null, error: null };
  if (answer instanceof Failure) {
    const { type, message, status } = answer;
    return { ...success, status, error: { type, message } };
  }
  if (!(answer instanceof RawResponse)) return { ...success, result: asJson(answer) };
  const { status, headers, body } = answer;
  return { ...success, response: { status, headers, body_base64: Buffer.from(body).toString('base64') } };
}

/** As it arrives on the other side. */
function asJson(value) {
  return JSON.parse(toJson(value));
}

module.exports = { Failure, RecordingZmesh };
