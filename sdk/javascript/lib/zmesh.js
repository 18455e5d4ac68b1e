'use strict';
// The zmesh object that a handler gets as its second argument.

const { Database, Session } = require('./database.js');
const { RawResponse, Request } = require('./http.js');
const { AnsweredInvocations, Invocations } = require('./invocations.js');

const MAX_NAME = 63; // bytes of an application_name
const NO_INVOKE =
  'zmesh.invoke is not available in a dry run: the other function would run for real. zmesh.enqueue is, and is rolled back';

class Zmesh {
  #invocations;
  #mayInvoke;

  /** `session`: another than one of its own, as tests have it. */
  constructor(context, env, takeSession, session) {
    this.projectId = context.project_id ?? '';
    this.env = environment(env);
    this.invocation = Object.freeze({
      id: context.invocation_id ?? null,
      attempt: context.attempt ?? 1,
      function: context.function ?? '',
      version: context.version ?? null,
      source: context.source ?? null,
    });
    // W3C trace context for what this run asks of others; functions that it starts get it by themselves.
    this.traceparent = context.traceparent ?? null;
    const name = `zmesh ${this.invocation.function}`.slice(0, MAX_NAME);
    this.#mayInvoke = context.dry_run !== true || context.in_test === true;
    session ??= new Session(context.database_url ?? '', name, takeSession, context.dry_run === true);
    this.db = new Database(session);
    this.request = context.request ? new Request(context.request) : null;
    const Kind = context.in_test === true ? AnsweredInvocations : Invocations;
    this.#invocations = new Kind(this.db, this.invocation.id, () => session.connect());
    for (const method of ['invoke', 'enqueue', 'response']) this[method] = this[method].bind(this);
  }

  get project_id() {
    return this.projectId;
  }

  async invoke(slug, payload, options) {
    if (!this.#mayInvoke) throw new Error(NO_INVOKE);
    return await this.#invocations.invoke(slug, payload, options);
  }

  async enqueue(slug, payload, options) {
    return await this.#invocations.enqueue(slug, payload, options);
  }

  response(body, options) {
    return new RawResponse(body, options ?? {});
  }
}

function environment(variables) {
  const env = Object.create(null);
  for (const [name, value] of Object.entries(variables)) {
    env[name] = typeof value === 'string' ? value : JSON.stringify(value);
  }
  return Object.freeze(env);
}

module.exports = { Zmesh };
