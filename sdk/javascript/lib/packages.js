'use strict';
// The packages of a function: its image, a read-only folder into which npm installed them.

const nodeCrypto = require('node:crypto');
const nodeModule = require('node:module');
const path = require('node:path');
const vm = require('node:vm');
const { pathToFileURL } = require('node:url');
const v8 = require('node:v8');

const IMAGE = '/image'; // there /node_modules leads to it, so that Node.js finds it by itself
const NOT_FOUND = new Set(['MODULE_NOT_FOUND', 'ERR_MODULE_NOT_FOUND']);
const BARE = /^(?![./#]|[a-z]+:)/i;

const MOST_NAMES = 64;
const SETTLE_MS = 20;
const imported = new Set();

/** Records which packages of this image the function's own files import, and how. */
function learn(image) {
  const folder = pathToFileURL(`${image}/node_modules/`).href;
  nodeModule.registerHooks({
    resolve: (name, context, next) => {
      const found = next(name, context);
      if (BARE.test(name) && found.url?.startsWith(folder) && !context.parentURL?.startsWith(folder))
        imported.add(`${context.conditions?.includes('import') ? 'import' : 'require'}:${name}`);
      return found;
    },
  });
}

/** The recorded imports, as JSON. */
function learned() {
  return JSON.stringify([...imported].slice(0, MOST_NAMES));
}

/** Makes packages that Node.js does not find by itself resolve to this image. */
function use(image) {
  if (image == null || image === IMAGE) return;
  const parentURL = pathToFileURL(path.join(image, 'package')).href;
  nodeModule.registerHooks({
    resolve: (name, context, next) => {
      try {
        return next(name, context);
      } catch (error) {
        if (!BARE.test(name) || !NOT_FOUND.has(error.code) || context.parentURL === parentURL) throw error;
        return resolveFrom(parentURL, name, context, next);
      }
    },
  });
}

/** Resolves a name as a file of this URL would, in a resolve hook. For require(), the next hooks ignore another parent. */
function resolveFrom(parentURL, name, context, next) {
  if (context.conditions?.includes('import')) return next(name, { ...context, parentURL });
  const filename = nodeModule.createRequire(parentURL).resolve(name);
  return { url: pathToFileURL(filename).href, format: undefined, shortCircuit: true };
}

/** In a template: loads packages as a function in this folder would, `require:NAME`, `import:NAME`, or NAME for both, and then
 * what `loadCode` loads. */
async function preload(names, folder, loadCode = async () => {}) {
  const filename = path.join(folder, 'function.js');
  const require = nodeModule.createRequire(filename);
  const load = vm.compileFunction('return import(name)', ['name'], {
    filename,
    importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });
  const restore = withoutCachedRandomness();
  v8.setFlagsFromString('--no-lazy'); // compile now, so that no run has to
  for (const entry of names) {
    const [, way, name] = /^(?:(require|import):)?(.*)$/.exec(entry);
    const ways = { require, import: load };
    const results = await Promise.allSettled((way ? [way] : ['require', 'import']).map(async (one) => ways[one](name)));
    const failed = results.every(({ status }) => status === 'rejected') && results[0].reason;
    if (failed) throw new Error(`importing ${name} threw ${failed?.name ?? typeof failed}: ${failed?.message ?? failed}`);
  }
  await loadCode();
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS)); // lets work that they started, such as listening, show
  v8.setFlagsFromString('--lazy');
  restore();
}

/** Node.js and V8 draw random numbers in advance and cache them, so all runs would get the same ones. While packages load,
 * which may keep references, these functions are replaced by ones that cache nothing. */
function withoutCachedRandomness() {
  const { randomBytes, randomUUID } = nodeCrypto;
  const uuid = (options) => randomUUID({ ...options, disableEntropyCache: true });
  const replaced = [
    [Math, 'random', () => Number(randomBytes(8).readBigUInt64LE() >> 11n) / 2 ** 53],
    [nodeCrypto, 'randomUUID', uuid],
    [nodeCrypto, 'randomInt', uncachedInt],
    [globalThis.Crypto.prototype, 'randomUUID', () => uuid()],
  ].map(([owner, name, value]) => {
    const property = Object.getOwnPropertyDescriptor(owner, name);
    Object.defineProperty(owner, name, { ...property, value });
    return [owner, name, property];
  });
  nodeModule.syncBuiltinESMExports();
  return () => {
    for (const [owner, name, property] of replaced) Object.defineProperty(owner, name, property);
    nodeModule.syncBuiltinESMExports();
  };
}

/** Like crypto.randomInt([min, ]max[, callback]). */
function uncachedInt(...values) {
  const callback = typeof values.at(-1) === 'function' ? values.pop() : null;
  const [min, max] = values.length > 1 ? values : [0, values[0]];
  const number = min + Number(nodeCrypto.randomBytes(8).readBigUInt64LE() % BigInt(max - min));
  if (!callback) return number;
  process.nextTick(callback, null, number);
}

module.exports = { learn, learned, preload, use };
