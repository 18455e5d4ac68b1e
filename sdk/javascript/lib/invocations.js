'use strict';
// zmesh.enqueue and zmesh.invoke: functions that start other functions, by an insert into zmesh.invocations.

const { randomBytes, randomUUID } = require('node:crypto');
const { appendCallerLines } = require('./callers.js');
const { addHint } = require('./database.js');
const statements = require('./statements.js');
const { connect } = require('./driver.js');
const { RawResponse } = require('./http.js');
const { toJson } = require('./results.js');

const POLL_MS = 1000;
const ENDED = `select id, status, result, response, error from zmesh.invocations
  where id = any($1) and finished_at is not null`;
// A key that was sent over HTTP belongs to another caller.
const SAME_KEY =
  "select id from zmesh.invocations where function = $1 and idempotency_key = $2 and source <> 'api'";
const ASK_THE_TEST = 'select zmesh_test.invoke($1, $2, $3, $4, $5) as ended';
const TOO_DEEP = 'ZM508';
const ENQUEUE_OPTIONS = {
  runAt: 'run_at',
  delaySeconds: 'delay_seconds',
  expiresAt: 'expires_at',
  priority: 'priority',
  concurrencyKey: 'concurrency_key',
  maxAttempts: 'max_attempts',
  idempotencyKey: 'idempotency_key',
  callbackUrl: 'callback_url',
  version: 'version',
  alias: 'alias',
};
const INVOKE_OPTIONS = { timeoutMs: 'timeout_ms', version: 'version', alias: 'alias' };

/**
 * The invoked function failed; type, message and cause are those of its error. invocationId is null if it was not
 * even started: calls are nested too deeply (depth_limit).
 */
class InvocationError extends Error {
  constructor(name, invocationId, status, error) {
    super(error?.message ?? '', { cause: cause(name, status, error) });
    this.type = error?.type ?? status;
    this.function = name;
    this.invocationId = invocationId;
    this.status = status;
  }
}
InvocationError.prototype.name = 'InvocationError';

class Invocations {
  #database;
  #parentId;
  #connect;
  #waiter = null;

  /** `connect` makes a connection beside the one of the database. */
  constructor(database, parentId, connect) {
    this.#database = database;
    this.#parentId = parentId;
    this.#connect = connect;
  }

  /** Inserts the invocation on the run's own connection: inside a transaction it is part of it. */
  async enqueue(name, payload, options) {
    const { delay_seconds: delay, ...given } = named(options, ENQUEUE_OPTIONS);
    if (delay !== undefined && given.run_at !== undefined) throw new TypeError('pass runAt or delaySeconds, not both');
    const columns = this.#columns(name, payload, given);
    const [row] = await this.#database.query(...statements.insertInvocation(columns, delay)).catch(invocationErrorFor(name));
    const { id } = row ?? (await this.#database.queryOne(SAME_KEY, [name, given.idempotency_key]));
    return id;
  }

  /** Inserts the invocation on a separate connection and waits for it to end. */
  async invoke(name, payload, options) {
    const { timeout_ms: timeout, ...given } = named(options, INVOKE_OPTIONS);
    this.#waiter ??= Waiter.open(this.#connect);
    const waiter = await this.#waiter;
    const columns = this.#columns(name, payload, { ...given, reply_channel: waiter.channel, max_attempts: 1 });
    const { id, ended } = await waiter.startAndWait(statements.insertInvocation(columns), timeout).catch(invocationErrorFor(name));
    if (ended === null) {
      const message = `no answer within ${timeout} ms; the function may still be running`;
      throw new InvocationError(name, id, 'timeout', { type: 'timeout', message });
    }
    return resultOf(name, id, ended);
  }

  #columns(name, payload = {}, options) {
    const columns = { function: name, payload: toJson(payload), parent_id: this.#parentId, ...options };
    return Object.fromEntries(Object.entries(columns).filter(([, value]) => value !== undefined && value !== null));
  }
}

appendCallerLines(Invocations, ['invoke', 'enqueue']);

/** For the sandbox of `zmesh test`, where the test has set what other functions answer. */
class AnsweredInvocations extends Invocations {
  #database;

  constructor(database, parentId, connect) {
    super(database, parentId, connect);
    this.#database = database;
  }

  /** Records the call, and resolves to its answer. */
  async invoke(name, payload = {}, options) {
    const { timeout_ms: timeout, version, alias } = named(options, INVOKE_OPTIONS);
    const { ended } = await this.#database.queryOne(ASK_THE_TEST, [name, toJson(payload), timeout ?? null, version ?? null, alias ?? null]);
    if (ended !== null) return resultOf(name, randomUUID(), ended);
    throw new Error(
      `no answer to zmesh.invoke('${name}'): set zmesh.answers['${name}'] in the test, to a value or a Failure`,
    );
  }
}

/** A connection that listens on a random channel. The notification is only a hint; the row is authoritative. */
class Waiter {
  #client;
  #waiting = new Map(); // invocation id → callback that takes its row
  #timer = null;
  #queries = Promise.resolve();

  static async open(connect) {
    const waiter = new Waiter();
    waiter.channel = `zmesh_i_${randomBytes(16).toString('hex')}`;
    waiter.#client = await connect();
    waiter.#client.on('notification', () => waiter.#look());
    await waiter.#query(`listen ${waiter.channel}`);
    return waiter;
  }

  async startAndWait([text, values], timeoutMs) {
    const started = await this.#query(text, values);
    const { id } = started.rows[0];
    return { id, ended: await this.#ended(id, timeoutMs) };
  }

  async #ended(id, timeoutMs) {
    const { promise, resolve, reject } = Promise.withResolvers();
    this.#waiting.set(id, { resolve, reject });
    this.#timer ??= setInterval(() => this.#look(), POLL_MS);
    const deadline = timeoutMs === undefined ? null : setTimeout(() => this.#settle(id, 'resolve', null), timeoutMs);
    try {
      this.#look(); // it may have ended before anybody waited for it
      return await promise;
    } finally {
      clearTimeout(deadline);
      if (this.#waiting.size === 0) this.#timer = clearInterval(this.#timer) ?? null;
    }
  }

  async #look() {
    try {
      const { rows } = await this.#query(ENDED, [[...this.#waiting.keys()]]);
      for (const row of rows) this.#settle(row.id, 'resolve', row);
    } catch (error) {
      for (const id of [...this.#waiting.keys()]) this.#settle(id, 'reject', error);
    }
  }

  #settle(id, how, value) {
    this.#waiting.get(id)?.[how](value);
    this.#waiting.delete(id);
  }

  /** The driver takes one statement at a time. */
  #query(text, values) {
    const query = this.#queries.then(() => this.#client.query(text, values));
    this.#queries = query.catch(() => {});
    return query;
  }
}

function named(options, known) {
  const columns = Object.values(known);
  const entries = Object.entries(options ?? {}).map(([name, value]) => [known[name] ?? name, value]);
  for (const [name] of entries) {
    if (!columns.includes(name)) throw new TypeError(`unknown option ${name}; options: ${columns.join(', ')}`);
  }
  return Object.fromEntries(entries);
}

/** Throws InvocationError if an insert is refused because calls are nested too deeply. */
function invocationErrorFor(name) {
  return (error) => {
    addHint(error);
    if (error.code !== TOO_DEEP) throw error;
    throw new InvocationError(name, null, 'error', { type: 'depth_limit', message: error.message });
  };
}

/** The part of the stack below the caller's own lines. */
function cause(name, status, error) {
  const what = error?.stack ?? `${error?.type ?? status}: ${error?.message ?? ''}`;
  return `function "${name}" ended as ${status}\n${what}`;
}

function resultOf(name, id, { status, result, response, error }) {
  if (status !== 'success') throw new InvocationError(name, id, status, error);
  return response === null ? result : storedResponse(response);
}

function storedResponse({ status, headers, body_base64: body }) {
  return new RawResponse(Buffer.from(body ?? '', 'base64'), { status, headers });
}

module.exports = { AnsweredInvocations, InvocationError, Invocations, storedResponse };
