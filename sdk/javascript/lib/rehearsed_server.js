'use strict';
// Answers like PostgreSQL, just enough for the driver to sign in and run a query: what a template rehearses with.

const crypto = require('node:crypto');
const net = require('node:net');

const PASSWORD = 'rehearsed';
const SALT = Buffer.alloc(16, 1);

/** A server on a free local port; `url` is its address, and `close` waits until nothing of it is open.
 * A client signs in, or is `signedIn` already and gets the answer to a first query. */
async function openServer({ signedIn = false } = {}) {
  const sockets = new Set();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    new Conversation(socket, signedIn);
  });
  await new Promise((resolve, reject) => server.on('error', reject).listen(0, '127.0.0.1', resolve));
  const close = async () => {
    for (const socket of sockets) socket.end();
    await new Promise((resolve) => server.close(resolve));
  };
  const { port } = server.address();
  return { port, url: `postgresql://warm:${PASSWORD}@127.0.0.1:${port}/warm`, close };
}

/** One connection. */
class Conversation {
  #socket;
  #signIn = { started: false, bare: '', serverFirst: '' };

  constructor(socket, signedIn) {
    this.#socket = socket;
    this.#signIn.started = signedIn;
    if (signedIn) socket.write(Buffer.concat([message('C', text('SET')), ready()]));
    socket.on('data', (data) => this.#read(data));
  }

  #read(data) {
    if (!this.#signIn.started) {
      this.#signIn.started = true;
      this.#socket.write(message('R', int(10), text('SCRAM-SHA-256'), text('')));
      return;
    }
    while (data.length > 0) {
      const end = 1 + data.readInt32BE(1);
      this.#answer(String.fromCharCode(data[0]), data.subarray(5, end).toString('latin1'));
      data = data.subarray(end);
    }
  }

  #answer(kind, body) {
    if (kind === 'p') this.#socket.write(this.#signIn.serverFirst ? this.#signedIn(body) : this.#challenge(body));
    else if (kind === 'Q') this.#socket.write(rows());
    else if (kind === 'S') this.#socket.write(Buffer.concat([message('1'), message('2'), rows()]));
  }

  #challenge(body) {
    const [, bare, nonce] = /(n=.*,r=(.*))$/.exec(body);
    const serverFirst = `r=${nonce}rehearsed,s=${SALT.toString('base64')},i=1`;
    Object.assign(this.#signIn, { bare, serverFirst });
    return message('R', int(11), Buffer.from(serverFirst));
  }

  #signedIn(body) {
    const hmac = (key, value) => crypto.createHmac('sha256', key).update(value).digest();
    const signed = `${this.#signIn.bare},${this.#signIn.serverFirst},${body.slice(0, body.lastIndexOf(',p='))}`;
    const serverKey = hmac(crypto.pbkdf2Sync(PASSWORD, SALT, 1, 32, 'sha256'), 'Server Key');
    const proof = message('R', int(12), Buffer.from(`v=${hmac(serverKey, signed).toString('base64')}`));
    return Buffer.concat([proof, greeting()]);
  }
}

function greeting() {
  const settings = message('S', text('server_version'), text('18.0'));
  return Buffer.concat([message('R', int(0)), settings, message('K', int(1), int(1)), ready()]);
}

function rows() {
  const column = [text('one'), int(0), short(0), int(23), short(4), int(-1), short(0)];
  const row = message('D', short(1), int(1), Buffer.from('1'));
  return Buffer.concat([message('T', short(1), ...column), row, message('C', text('SELECT 1')), ready()]);
}

const ready = () => message('Z', Buffer.from('I'));
const text = (value) => Buffer.from(`${value}\0`);

function int(value) {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

function short(value) {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
}

function message(kind, ...parts) {
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.from(kind), int(4 + body.length), body]);
}

module.exports = { greeting, openServer };
