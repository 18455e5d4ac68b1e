'use strict';
// zmesh.db: the project's own database over one connection that opens on first use.

const { AsyncLocalStorage } = require('node:async_hooks');
const { appendCallerLines } = require('./callers.js');
const { adopt, connect } = require('./driver.js');
const network = require('./network.js');
const { isList, toArray, toJsonArray, toJsonParameter, toParameter, toParameters, withoutBlobs } = require('./parameters.js');
const { hidesItsContent } = require('./results.js');
const statements = require('./statements.js');

const IN_FAILED_TRANSACTION = '25P02';
const OF_PLATFORM = 'ZM'; // class of the SQLSTATEs of zmesh.fail()
const NO_COPY =
  'zmesh.db cannot run "copy … to stdout" or "copy … from stdin": select and insert rows, ' +
  'or connect your own driver to zmesh.db.url';

class TransactionError extends Error {}
TransactionError.prototype.name = 'TransactionError';

/** One level of transactions. Its statements take turns, and a transaction within it is one long turn. */
class Scope {
  #last = Promise.resolve();
  #ended = false;

  constructor(depth = 0) {
    this.depth = depth;
  }

  async turn(work) {
    const before = this.#last;
    const { promise, resolve } = Promise.withResolvers();
    this.#last = promise;
    await before;
    try {
      if (this.#ended) throw new TransactionError('this transaction has ended: await everything inside it');
      return await work();
    } finally {
      resolve();
    }
  }

  /** Statements that were already requested still run; later ones are refused. */
  async end() {
    await this.#last;
    this.#ended = true;
  }
}

/** The one connection of a run, and which transaction each asynchronous task is in. */
class Session {
  #client = null;
  #lost = true;
  #copies = false; // whether the running statement is a copy from or to this client
  #applicationName;
  #takeSession;
  #inTransaction;

  /** `inTransaction`: the platform has begun one on the session, and nobody else may end it (a dry run). */
  constructor(url, applicationName, takeSession = () => null, inTransaction = false) {
    this.url = url;
    this.root = new Scope(inTransaction ? 1 : 0);
    this.#inTransaction = inTransaction;
    this.current = new AsyncLocalStorage();
    this.#applicationName = applicationName;
    this.#takeSession = takeSession;
  }

  /** Rows of the last statement in the text; none for statements that return no rows. */
  run(scope, text, values) {
    if (this.#inTransaction && scope === this.root) {
      // One that fails undoes only itself, as without a transaction.
      return this.transaction(scope, (alone) => this.run(alone, text, values));
    }
    return scope.turn(async () => {
      const result = await this.#execute(scope, text, values);
      return (Array.isArray(result) ? result.at(-1) : result).rows;
    });
  }

  transaction(parent, work) {
    return parent.turn(async () => {
      const savepoint = parent.depth ? `zmesh_${parent.depth}` : null;
      const scope = new Scope(parent.depth + 1);
      await this.#execute(parent, savepoint ? `savepoint ${savepoint}` : 'begin');
      let value;
      try {
        value = await this.current.run(scope, () => work(scope));
      } catch (error) {
        await scope.end();
        await this.#rollBack(savepoint).catch(() => {}); // perhaps the connection is lost
        throw error;
      }
      await scope.end();
      await this.#commit(savepoint);
      return value;
    });
  }

  async #commit(savepoint) {
    const outcome = await this.#execute(null, savepoint ? `release ${savepoint}` : 'commit').catch((error) => {
      if (error.code !== IN_FAILED_TRANSACTION) throw error;
      return this.#rollBack(savepoint).then(() => ({ command: 'ROLLBACK' }));
    });
    if (outcome.command === 'ROLLBACK') {
      throw new TransactionError('rolled back: a statement in this transaction had failed');
    }
  }

  #rollBack(savepoint) {
    return this.#execute(null, savepoint ? `rollback to ${savepoint}; release ${savepoint}` : 'rollback');
  }

  async #execute(scope, text, values) {
    try {
      const client = await this.open(scope);
      this.#copies = false;
      const result = await client.query(text, values).catch((error) => {
        throw this.#copies ? new TypeError(NO_COPY, { cause: error }) : error;
      });
      if (this.#copies) throw new TypeError(NO_COPY);
      return result;
    } catch (error) {
      this.#lost ||= error.severity === 'FATAL';
      addHint(error);
      Error.captureStackTrace(error); // the driver's stack ends at the socket; this one leads to the caller
      throw error;
    }
  }

  /** The connection, opened if need be. */
  async open(scope) {
    if (this.#lost && scope === this.root) {
      this.#client = await this.connect(this.#client === null);
      this.#lost = false;
      this.#client.once('end', () => (this.#lost = true));
      for (const event of ['copyInResponse', 'copyOutResponse']) {
        this.#client.connection.on(event, () => (this.#copies = true));
      }
    }
    return this.#client;
  }

  /** Another connection like this session's. Only the first may take a session from the platform, but where there is no
   * network all do. */
  async connect(first = false) {
    const takes = network.isOff() || (first && !hasSettingsOfDriver());
    const taken = takes ? this.#takeSession() : null;
    const adopted = taken && (await adopt(taken));
    if (!adopted && network.isOff()) throw network.refused(network.NO_SESSION);
    return adopted ?? (await connect(this.url, this.#applicationName));
  }
}

/** Errors that the platform's own routines raise say what to do in their hint. */
function addHint(error) {
  if (!error.code?.startsWith?.(OF_PLATFORM) || !error.hint || error.message.endsWith(`(${error.hint})`)) return;
  error.message += ` (${error.hint})`;
}

/** Whether variables such as PGOPTIONS are set, which take effect when a session begins. */
function hasSettingsOfDriver() {
  return Object.keys(process.env).some((name) => name.startsWith('PG'));
}

/** Runs SQL in the project's database. Rows are objects; placeholders are $1, $2, … */
class Database {
  #session;
  #boundScope;

  constructor(session, scope = null) {
    this.#session = session;
    this.#boundScope = scope;
  }

  /** Connection string of the project's role, for drivers of your own. */
  get url() {
    return this.#session.url;
  }

  async query(sql, params) {
    if (typeof sql !== 'string') throw new TypeError('sql must be a string');
    if (sql.includes('\0')) throw new TypeError('sql contains a NUL character, which PostgreSQL does not accept');
    return await this.#session.run(this.#scope(), sql, await toParameters(checkedParams(params)));
  }

  async queryOne(sql, params) {
    const [row] = await this.query(sql, params);
    return row ?? null;
  }

  async insert(table, data) {
    const [row] = await this.query(...statements.insert(table, await this.#storable(table, data)));
    return row ?? {};
  }

  async select(table, where, params) {
    return await this.query(...statements.select(table, where, params));
  }

  async update(table, data, where, params) {
    const storable = await this.#storable(table, data);
    return await this.query(...statements.update(table, storable, where, params && checkedParams(params)));
  }

  async remove(table, where, params) {
    return await this.query(...statements.remove(table, where, params));
  }

  /** All or nothing: commits when the callback's promise resolves, rolls back when it rejects. Nested: a savepoint. */
  async transaction(work) {
    if (typeof work !== 'function') throw new TypeError('transaction needs a function: transaction(async (tx) => …)');
    const session = this.#session;
    return await session.transaction(this.#scope(), (scope) => work(new Database(session, scope)));
  }

  query_one(sql, params) {
    return this.queryOne(sql, params);
  }

  #scope() {
    return this.#boundScope ?? this.#session.current.getStore() ?? this.#session.root;
  }

  /** The columns that have a value, ready for the driver. undefined leaves a column out. */
  async #storable(table, data) {
    if (typeof data !== 'object' || data === null || isList(data) || hidesItsContent(data)) {
      throw new TypeError('data must be an object of column names and values');
    }
    const given = Object.entries(data).filter(([, value]) => value !== undefined);
    const arrays = given.some(([, value]) => isList(value)) ? await this.#arrayColumns(table) : null;
    const values = await withoutBlobs(given.map(([, value]) => value));
    return Object.fromEntries(given.map(([name], index) => [name, storable(values[index], name, arrays)]));
  }

  async #arrayColumns(table) {
    const rows = await this.query(statements.ARRAY_COLUMNS, [statements.tableName(table)]);
    return new Map(rows.map((row) => [row.attname, row.of_json]));
  }
}

appendCallerLines(Database, ['query', 'queryOne', 'insert', 'select', 'update', 'remove', 'transaction']);

/** Objects and arrays as JSON, except arrays for columns that are arrays. */
function storable(value, name, arrays) {
  const what = `the value for ${statements.quoted(name)}`;
  if (!isList(value)) return toParameter(value, what);
  if (!arrays.has(name)) return toJsonParameter(value, what);
  return (arrays.get(name) ? toJsonArray : toArray)(value, what);
}

function checkedParams(params) {
  if (params === undefined || params === null) return [];
  if (!Array.isArray(params)) throw new TypeError('params must be an array of values');
  return params;
}

module.exports = { Database, Scope, Session, TransactionError, addHint };
