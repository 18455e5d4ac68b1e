'use strict';
// The database session of a test: everything happens in one transaction, which is never committed.

const { setImmediate: nextTurn } = require('node:timers/promises');
const { Scope, Session, TransactionError } = require('../lib/database.js');

const NO_TRANSACTION = '25P01';
const IN_FAILED_TRANSACTION = '25P02';
const IDLE = 'I';
// What a commit would check. It is undone, so that constraints stay as deferred as they were.
const CHECK_DEFERRED = 'savepoint zmesh_check; set constraints all immediate; rollback to zmesh_check; release zmesh_check';
const COMMITTED =
  "the code ended the transaction by an SQL statement of its own, and a test's cannot be rolled back then: " +
  'use zmesh.db.transaction(). What it committed stays until all tests have ended';
const LEFT_BEHIND = 'the test ended while it was still using the database: await everything that uses zmesh';
const ENDED = 'this test has ended: await everything that uses zmesh';

/** As in a run, each statement and each outermost transaction fails or succeeds by itself: they are savepoints. */
class RolledBackSession extends Session {
  #client = null;
  #clock;
  #time = null; // what zmesh.now() says, as for the due times of what is enqueued
  #working = 0; // transactions that have not ended
  #closed = false;

  constructor(url, clock) {
    super(url, 'zmesh test');
    this.root = new Scope(1);
    this.#clock = clock;
  }

  run(scope, text, values) {
    if (scope !== this.root) return super.run(scope, text, values);
    return this.transaction(scope, (inner) => super.run(inner, text, values));
  }

  async transaction(parent, work) {
    if (this.#closed) throw new TransactionError(ENDED);
    this.#working++;
    try {
      return await super.transaction(parent, async (scope) => {
        const value = await work(scope);
        if (parent === this.root) await scope.turn(() => this.#checkDeferred());
        return value;
      });
    } catch (error) {
      if (this.#closed) return await new Promise(() => {}); // nobody waits for it, and close() has reported it
      throw error?.code === NO_TRANSACTION ? new TransactionError(COMMITTED, { cause: error }) : error;
    } finally {
      this.#working--;
    }
  }

  async open(scope) {
    const client = await super.open(scope);
    this.#client = client;
    if (this.#closed) await this.#end(); // it was still connecting
    if (scope === this.root) {
      if (client.getTransactionStatus() === IDLE) {
        await client.query('begin');
        this.#time = null;
      }
      if (this.#time?.getTime() !== this.#clock.now.getTime()) {
        this.#time = this.#clock.now;
        await client.query("select set_config('zmesh_test.now', $1, false)", [this.#time.toISOString()]);
      }
    }
    return client;
  }

  /** Rolls everything back. Rejects if something still uses the session. */
  async close() {
    await nextTurn(); // so that every call of the test has reached the session
    const isWorking = this.#working > 0;
    this.#closed = true;
    await this.#end();
    if (isWorking) throw new TransactionError(LEFT_BEHIND);
  }

  async #end() {
    await this.#client?.end().catch(() => {});
  }

  /** In a failed transaction there is nothing to check. The driver may not know yet that it failed. */
  async #checkDeferred() {
    try {
      await this.#client.query(CHECK_DEFERRED);
    } catch (error) {
      if (error.code !== IN_FAILED_TRANSACTION) throw error;
    }
  }
}

module.exports = { RolledBackSession };
