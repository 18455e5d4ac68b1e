'use strict';
// node node_template.js RUNTIME [PACKAGES [loads]]: boots once, then becomes each run of JavaScript by a fork. Descriptor 3 is
// where orders come from; in a run it is the run's channel. With a JSON list of packages it says "loaded", imports these and
// says "imported"; it needs an answer to each to go on. If it `loads`, it also executes the code in descriptor 4.

const fs = require('node:fs');
const v8 = require('node:v8');
const vm = require('node:vm');
const ORDERS = 3;
const CODE = 4;

const [, , runtimeFile, packages, loads] = process.argv;
const { loadOnce, preload, prepare, serve } = require(runtimeFile);

/** Returns in each run, with what is different there. */
function fork() {
  try {
    const { serve: serveOrders, ...native } = require('./fork.node');
    return { pid: serveOrders(ORDERS, drawRandomNumber), ...native };
  } catch (error) {
    fs.writeSync(ORDERS, String(error.message));
    process.exit(1);
  }
}

/** V8 gives an object a random number when it first is a key. */
function drawRandomNumber() {
  new WeakSet().add({});
}

/** What Node.js keeps of its own start, as it would be had the runtime been started in this process. */
function forgetTemplate({ pid, reallyExit }) {
  process.reallyExit = reallyExit;
  Object.defineProperty(process, 'pid', { ...Object.getOwnPropertyDescriptor(process, 'pid'), value: pid });
  process.argv.splice(1, Infinity, runtimeFile);
  process.execArgv.splice(0, process.execArgv.length, ...process.execArgv.filter((flag) => !OF_TEMPLATE.has(flag)));
  process.chdir(process.env.HOME); // Node.js remembers where the template was
}

/** Where the space for new objects is nearly full, each run would collect garbage anew. */
function emptyNewSpace() {
  v8.setFlagsFromString('--expose-gc');
  const collect = vm.runInNewContext('gc');
  v8.setFlagsFromString('--no-expose-gc');
  for (let time = 0; time < 2; time++) collect({ type: 'minor' }); // a full one would drop compiled code as well
}

async function importPackages() {
  sayAndWait('loaded');
  try {
    if (loads) process.chdir(process.env.HOME);
    await preload(JSON.parse(packages), process.env.HOME, loads && (() => loadOnce(CODE, fail)));
  } catch (error) {
    fail(error);
  }
  sayAndWait('imported');
}

function fail(error) {
  fs.writeSync(ORDERS, `failed: ${described(error)}`.slice(0, 1000));
  process.reallyExit(0);
}

/** Packages and functions throw what they like. */
function described(error) {
  try {
    return loads && error instanceof Error ? `${error.name}: ${error.message}` : String(error?.message ?? error);
  } catch {
    return 'a value that could not be shown';
  }
}

function sayAndWait(word) {
  fs.writeSync(ORDERS, word);
  const answer = Buffer.alloc(64);
  if (answer.toString('latin1', 0, fs.readSync(ORDERS, answer)) !== 'go') process.reallyExit(0);
}

const OF_TEMPLATE = new Set(['--single-threaded', '--v8-pool-size=0']);
prepare().then(async () => {
  if (packages) await importPackages();
  emptyNewSpace();
  const here = fork();
  forgetTemplate(here);
  serve(ORDERS, here);
});
