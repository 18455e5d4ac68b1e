'use strict';
// What a run prints with console.*, and Node.js's own warnings, become log lines on the channel.

const { Console } = require('node:console');

const MAX_LINE_BYTES = 64 * 1024;
const now = Date.now; // user code may replace the clock in its own tests
const { stringify } = JSON;

class Output {
  #channel = null;
  #level = null;
  #console = this.#makeConsole();

  /** From now on console.* and warnings go to the channel. */
  capture(channel) {
    this.#channel = channel;
    globalThis.console = this.#console;
    process.removeAllListeners('warning');
    process.on('warning', (warning) => {
      if (warning.name !== 'ExperimentalWarning') this.text('warning', `${warning.name}: ${warning.message}`);
    });
  }

  text(level, text) {
    for (const line of text.split('\n')) this.#line(level, line);
  }

  #line(level, line) {
    const message = line.length * 3 > MAX_LINE_BYTES ? cut(line) : line;
    this.#channel.send('L', stringify({ at: now(), level, message }));
  }

  #makeConsole() {
    const own = new Console({ stdout: this.#stream('info'), stderr: this.#stream('error'), colorMode: false });
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

  /** As much of a stream as Console uses. */
  #stream(level) {
    return {
      write: (text) => this.text(this.#level ?? level, text.endsWith('\n') ? text.slice(0, -1) : text),
      once() {},
      removeListener() {},
      listenerCount: () => 0,
    };
  }
}

function cut(line) {
  const bytes = Buffer.from(line);
  if (bytes.length <= MAX_LINE_BYTES) return line;
  const kept = bytes.toString('utf8', 0, MAX_LINE_BYTES).replace(/\uFFFD$/, '');
  return `${kept} … [line cut: ${bytes.length} bytes, ${MAX_LINE_BYTES} kept]`;
}

module.exports = { Output };
