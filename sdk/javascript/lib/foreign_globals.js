'use strict';
// Globals of other platforms: Deno, EdgeRuntime and addEventListener('fetch'). They are defined only if the
// function's own code names them: libraries would otherwise mistake this runtime for Deno or an edge runtime.

const { waitUntil } = require('./background.js');

const LISTENS = /(?<![.\w$])addEventListener\s*\(\s*['"]fetch/;
const IS_CODE = /\.[mc]?[jt]sx?$/;
const SERVE_OPTIONS = 'Deno.serve(handler), Deno.serve(options, handler) or Deno.serve({ handler })';
const OF_THE_MESSAGE = 'zMesh functions run on Node.js; of Deno there are Deno.serve, Deno.args, Deno.env.get, Deno.env.has, Deno.env.set, Deno.env.delete and Deno.env.toObject';
const ASKED_BY_LIBRARIES = new Set(['build', 'version', 'then', 'toJSON']); // undefined: they see Node.js then

/** Handlers that the code registers while loading, instead of exporting them. */
class Registered {
  deno = null; // { handler, onError }
  listener = null;

  /** Defines what the function's own code names: that of its file, and of the files beside it. */
  defineGlobals(code, files) {
    const texts = [code, ...ownTexts(files)];
    const names = (pattern) => texts.some((text) => pattern.test(text));
    if (names(/\bDeno\b/)) define('Deno', this.#deno());
    if (names(/\bEdgeRuntime\b/)) define('EdgeRuntime', Object.freeze({ waitUntil }));
    if (names(LISTENS)) define('addEventListener', (...values) => this.#addListener(...values));
  }

  /** What was registered, to be called as call(request, env, ctx), or null. */
  get call() {
    if (this.deno) return this.#callDeno.bind(this);
    return this.listener && this.#callListener.bind(this);
  }

  /** Where the paths of its requests begin: at Supabase, with the function's name. */
  baseFor(zmesh) {
    return this.deno ? `/${zmesh.invocation.function}` : '';
  }

  #deno() {
    const env = members('Deno.env', {
      get: (name) => process.env[name],
      has: (name) => Object.hasOwn(process.env, name),
      set: (name, value) => void (process.env[name] = value),
      delete: (name) => void delete process.env[name],
      toObject: () => ({ ...process.env }),
    });
    return members('Deno', { env, args: Object.freeze([]), serve: (...values) => this.#serve(...values) });
  }

  #serve(first, second) {
    const options = typeof first === 'function' ? {} : (first ?? {});
    const handler = typeof first === 'function' ? first : (second ?? options.handler);
    if (typeof handler !== 'function') throw new TypeError(`Deno.serve needs a handler: ${SERVE_OPTIONS}`);
    if (this.deno) throw new TypeError('Deno.serve was called twice: a function has one handler');
    this.deno = { handler, onError: options.onError };
    const addr = { transport: 'tcp', hostname: 'localhost', port: 0 };
    const server = { addr, finished: Promise.resolve(), shutdown: async () => {}, ref() {}, unref() {} };
    return Object.freeze({ ...server, [Symbol.asyncDispose]: server.shutdown });
  }

  async #callDeno(request) {
    const info = { remoteAddr: { transport: 'tcp', hostname: '', port: 0 }, completed: Promise.resolve() };
    try {
      return await this.deno.handler(request, info);
    } catch (error) {
      if (!this.deno.onError) throw error;
      return await this.deno.onError(error);
    }
  }

  #addListener(type, listener) {
    if (type !== 'fetch') throw new TypeError(`addEventListener takes "fetch" events only, not ${JSON.stringify(type)}`);
    if (this.listener) throw new TypeError('addEventListener("fetch") was called twice: a function has one handler');
    this.listener = listener;
  }

  async #callListener(request, env, ctx) {
    let response;
    const event = { type: 'fetch', request, ...ctx, respondWith: (value) => void (response = value) };
    await (this.listener.handleEvent?.(event) ?? this.listener(event));
    return await response;
  }
}

/** The code files of a folder, without those of packages. */
function ownTexts(files) {
  const own = Object.entries(files).filter(([file, text]) => IS_CODE.test(file) && typeof text === 'string');
  return own.filter(([file]) => !/(^|\/)node_modules\//.test(file)).map(([, text]) => text);
}

/** An object that throws an explanation for members it does not have. */
function members(path, known) {
  return new Proxy(Object.freeze(known), {
    get(target, name) {
      if (typeof name === 'symbol' || name in target || ASKED_BY_LIBRARIES.has(name)) return target[name];
      throw new TypeError(`${path}.${name} is not available: ${OF_THE_MESSAGE}`);
    },
  });
}

function define(name, value) {
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
}

module.exports = { Registered };
