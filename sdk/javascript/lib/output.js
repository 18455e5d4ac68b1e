'use strict';
// Turns what a run prints with console.*, process.stdout and process.stderr, and Node.js's own warnings, into log lines on
// the channel, in the order in which they were printed.

const { Console } = require('node:console');
const { Writable } = require('node:stream');
const { StringDecoder } = require('node:string_decoder');
const { LOG, LONGEST_LINE } = require('./frames.js');

const PATIENCE_MS = 500;
const STEP_MS = 0.5;
const now = Date.now; // user code may replace the clock in its own tests
const { stringify } = JSON;

class Output {
  #channel = null;
  #unread = null;
  #level = null;
  #stdout = new LineStream(1, (line, cutBytes) => this.#line(this.#level ?? 'info', line, cutBytes));
  #stderr = new LineStream(2, (line, cutBytes) => this.#line(this.#level ?? 'error', line, cutBytes));
  #console = this.#makeConsole();

  /** Sends all further output to the channel. `unread` tells whether a pipe has unread bytes. */
  capture(channel, unread = null) {
    this.#channel = channel;
    this.#unread = unread;
    globalThis.console = this.#console;
    for (const [name, stream] of [['stdout', this.#stdout], ['stderr', this.#stderr]]) {
      Object.defineProperty(process, name, { configurable: true, enumerable: true, get: () => stream });
    }
    process.removeAllListeners('warning');
    process.on('warning', (warning) => {
      if (warning.name !== 'ExperimentalWarning') this.text('warning', `${warning.name}: ${warning.message}`);
    });
  }

  text(level, text) {
    for (const line of text.split('\n')) this.#line(level, line, 0);
  }

  /** Sends the lines that have not ended yet. */
  flush() {
    this.#stdout.endLine();
    this.#stderr.endLine();
  }

  #line(level, line, cutBytes) {
    const message = line.length * 3 + cutBytes > LONGEST_LINE ? cut(line, cutBytes) : line;
    this.#waitUntilPipesAreRead();
    this.#channel.send(LOG, stringify({ at: now(), level, message }));
  }

  /** Output of child processes and fs.writeSync(1) comes first. If it is not read soon, order is no longer guaranteed. */
  #waitUntilPipesAreRead() {
    for (let waited = 0; this.#unread !== null && (this.#unread(1) || this.#unread(2)); waited += STEP_MS) {
      if (waited >= PATIENCE_MS) this.#unread = null;
      else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, STEP_MS);
    }
  }

  #makeConsole() {
    const own = new Console({ stdout: this.#stdout, stderr: this.#stderr, colorMode: false });
    const { log, warn } = own;
    own.debug = (...values) => this.#at('debug', log, values);
    own.warn = (...values) => this.#at('warning', warn, values);
    return own;
  }

  #at(level, print, values) {
    this.#level = level;
    try {
      print(...values);
    } finally {
      this.#level = null;
    }
  }
}

/** process.stdout or process.stderr, cut into lines. */
class LineStream extends Writable {
  #take;
  #decoder = new StringDecoder('utf8');
  #rest = '';
  #cutBytes = 0; // of a line that is too long to keep

  constructor(fd, take) {
    super({ decodeStrings: false, emitClose: false, autoDestroy: false });
    this.fd = fd;
    this._type = 'pipe';
    this._isStdio = true;
    this.#take = take;
  }

  _write(chunk, encoding, done) {
    const text = typeof chunk === 'string' ? chunk : this.#decoder.write(chunk);
    const [first, ...others] = text.split('\n');
    this.#keep(first);
    for (const line of others) {
      this.#end();
      this.#keep(line);
    }
    done();
  }

  endLine() {
    if (this.#rest !== '' || this.#cutBytes > 0) this.#end();
  }

  #keep(text) {
    const all = this.#rest + text;
    const tooMuch = all.slice(LONGEST_LINE);
    this.#rest = tooMuch === '' ? all : all.slice(0, LONGEST_LINE);
    if (tooMuch !== '') this.#cutBytes += Buffer.byteLength(tooMuch);
  }

  #end() {
    const [line, cutBytes] = [this.#rest, this.#cutBytes];
    [this.#rest, this.#cutBytes] = ['', 0];
    this.#take(line.endsWith('\r') ? line.slice(0, -1) : line, cutBytes);
  }
}

function cut(line, cutBytes) {
  const bytes = Buffer.from(line);
  const length = bytes.length + cutBytes;
  if (length <= LONGEST_LINE) return line;
  const kept = bytes.toString('utf8', 0, LONGEST_LINE).replace(/\uFFFD$/, '');
  return `${kept} … [line cut: ${length} bytes, ${LONGEST_LINE} kept]`;
}

module.exports = { Output };
