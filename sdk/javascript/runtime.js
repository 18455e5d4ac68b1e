'use strict';
// The JavaScript runtime of a function. Started as `node runtime.js` it serves one run on descriptor 3;
// a template process requires it, calls prepare(), forks, and calls serve() in each child.

const os = require('node:os');
const path = require('node:path');
const background = require('./lib/background.js');
const { Channel } = require('./lib/channel.js');
const { Failure, failureFrame } = require('./lib/failures.js');
const frames = require('./lib/frames.js');
const { handlerOf } = require('./lib/handlers.js');
const { load } = require('./lib/loading.js');
const { loadFunction, loadOnce } = require('./lib/loading_once.js');
const network = require('./lib/network.js');
const { RawResponse, isStream, isWebResponse } = require('./lib/http.js');
const { Output } = require('./lib/output.js');
const packages = require('./lib/packages.js');
const { registerHooks, withPlace } = require('./lib/resolving.js');
const { NotJson, toJson } = require('./lib/results.js');
const { fromWebResponse, sendStream } = require('./lib/streaming.js');
const { showWithin } = require('./lib/stacks.js');
const { limitWorkers } = require('./lib/threads.js');
const { watchProcess } = require('./lib/unhandled.js');
const { Rehearsal, rehearseDatabase, rehearseModules, warm } = require('./lib/warming.js');
const { Zmesh } = require('./lib/zmesh.js');

const STACK_FRAMES = 50;
const NEVER_LOADED = "the code's top-level await can never settle: nothing is left to wait for";
const NEVER_SETTLED = 'the promise that the handler returned can never settle: nothing is left to wait for';
const NEVER_DONE = 'a promise that was passed to waitUntil can never settle: nothing is left to wait for';
registerHooks();
limitWorkers();

const output = new Output();

/** In a process that waits for its run: goes through one that nobody asked for, so that the memory a run writes to is no
 * longer shared with the template when the job comes. */
function rehearse() {
  const rehearsal = new Rehearsal(['javascript', 'exports.handler = (payload) => payload;']);
  const job = JSON.parse(rehearsal.receive().body.toString('utf8'));
  const payload = JSON.parse(rehearsal.receive().body.toString('utf8'));
  const handler = handlerOf(load(job).exported, job);
  frameOf(handler(payload, new Zmesh(job.context, job.env)), job.limits.result_bytes);
}

/** Waits for a run on the channel, executes it, and ends this process. A fork passes in the native functions. */
function serve(fd, native = {}) {
  const channel = new Channel(fd, native.receive);
  const { reallyExit } = process;
  rehearse();
  const exit = () => {
    channel.waitForEnd();
    reallyExit.call(process, 0);
  };
  serveOn(channel, exit, native.unread);
}

/** Why nothing is left to wait for. */
function unsettled(job) {
  if (!job.isLoaded) return NEVER_LOADED;
  return background.isPending() ? NEVER_DONE : NEVER_SETTLED;
}

function serveOn(channel, exit, unread) {
  const job = {};
  const end = endOnce(channel, exit, job);
  const fail = (thrown) => {
    if (!job.answered) return end(frames.ERROR, failureFrame(withPlace(thrown), job));
    console.error('After the response was sent:', thrown);
    return end(frames.STREAMED, '');
  };
  watchProcess({
    unhandled: fail,
    idle: () => fail(new Failure('no_result', unsettled(job))),
    exit: () => output.flush(),
  });
  Error.stackTraceLimit = STACK_FRAMES;
  output.capture(channel, unread);
  channel.send(frames.BOOTED, ''); // booted: from here on the time counts as the function's
  const header = channel.receive();
  if (!header) process.reallyExit(0);
  Object.assign(job, JSON.parse(header.body.toString('utf8')));
  job.folder = process.cwd();
  showWithin(job.folder);
  const files = job.has_files ? channel.receive() : null;
  const payload = channel.receive();
  if (!payload) process.reallyExit(0);
  process.uptime(); // has the event loop look at the clock: it may have waited for long, and timers would fire early
  process.mainModule = undefined; // `require.main === module` is for programs
  process.argv.splice(1, Infinity, path.resolve(job.filename));
  packages.use(job.image);
  if (job.learn) packages.learn(job.image);
  lowerPriority(job.limits.nice); // before any code of the user's, whose threads and children inherit it
  if (job.network === 'none') network.turnOff();
  answer(job, files?.body, payload.body, channel)
    .then(({ kind, body }) => end(kind, body))
    .catch(fail);
}

/** Lowers the priority of this process for the processor's time. */
function lowerPriority(nice) {
  if (nice) os.setPriority(Math.min(os.constants.priority.PRIORITY_LOW, os.getPriority() + nice));
}

/** Sends the first final frame and ends the process; whatever user code has left running ends with it. */
function endOnce(channel, exit, job) {
  return (kind, body) => {
    output.flush();
    if (job.learn) channel.send(frames.IMPORTED, packages.learned());
    channel.send(kind, body);
    exit();
  };
}

/** In a template, before the first fork: loads and compiles what runs need by going through some of them. */
async function prepare() {
  warm();
  await rehearseModules();
  await rehearseDatabase(); // after what makes V8 collect garbage, which drops compiled code
  const { prepareStackTrace, stackTraceLimit } = Error;
  for (const rehearsal of Rehearsal.all()) {
    await new Promise((resolve) => serveOn(rehearsal, resolve));
  }
  watchProcess(null);
  Error.stackTraceLimit = stackTraceLimit;
  Error.prepareStackTrace = prepareStackTrace;
}

async function answer(job, files, payloadText, channel) {
  const payload = JSON.parse(payloadText.toString('utf8'));
  const zmesh = new Zmesh(job.context, job.env, () => channel.takeSession());
  Object.assign(process.env, zmesh.env);
  const { exported, registered } = await loadFunction(job, files, zmesh);
  job.isLoaded = true;
  const handler = handlerOf(exported, job, registered);
  const result = await responseOf(await handler(payload, zmesh));
  const isResponse = result instanceof RawResponse;
  if (isResponse && (result.stream || (zmesh.request && background.isPending()))) return await sendPieces(job, channel, result);
  await finishBackground({ isAnswered: isResponse && zmesh.request !== null });
  return frameOf(result, job.limits.result_bytes);
}

/** Sends a response that is a stream, or whose client shall have it before the run ends. */
async function sendPieces(job, channel, response) {
  await sendStream(channel, response);
  if (background.isPending()) channel.send(frames.CHUNK, ''); // the response is complete
  job.answered = true;
  await finishBackground({ isAnswered: true });
  return { kind: frames.STREAMED, body: '' };
}

/** Waits for what was passed to waitUntil. A failure of it is the run's, unless its request has been answered. */
async function finishBackground({ isAnswered }) {
  const errors = await background.settled();
  if (!isAnswered && errors.length > 0) throw errors[0];
  for (const error of errors) console.error('A promise that was passed to waitUntil was rejected:', error);
}

/** Generators, streams and the web's responses as ours; any other result as it is. */
async function responseOf(result) {
  if (isWebResponse(result)) return fromWebResponse(result);
  return isStream(result) ? new RawResponse(result) : result;
}

function frameOf(result, limit) {
  if (result instanceof RawResponse) {
    checkSize(result.body.length, limit);
    return { kind: frames.RESPONSE, body: result.frame() };
  }
  const body = jsonResult(result);
  checkSize(Buffer.byteLength(body), limit);
  return { kind: frames.RESULT, body };
}

function jsonResult(result) {
  try {
    return toJson(result);
  } catch (error) {
    if (!(error instanceof NotJson)) throw error;
    throw new Failure('invalid_result', `the result is not JSON: ${error.message}`);
  }
}

function checkSize(bytes, limit) {
  if (limit && bytes > limit) {
    throw new Failure('result_too_large', `the result has ${bytes} bytes; at most ${limit} are allowed`);
  }
}

module.exports = { loadOnce, preload: packages.preload, prepare, serve };

if (require.main === module) serve(Number(process.argv[2] ?? 3));
