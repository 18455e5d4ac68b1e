'use strict';
// The bundled driver, made quick to sign in: a run usually opens one connection and sends one query.

const crypto = require('node:crypto');
require('node:net'); // the driver loads it with the first connection, when the caller is already waiting
const pg = require('pg');
const signIn = require('pg/lib/crypto/utils.js');
const { types } = require('./types.js');

// The driver signs in through WebCrypto, which takes a new process 8 ms longer than these calls.
signIn.deriveKey = (password, salt, iterations) => crypto.pbkdf2Sync(password, salt, iterations, 32, 'sha256');
signIn.hmacSha256 = (key, text) => crypto.createHmac('sha256', key).update(text).digest();
signIn.sha256 = (text) => crypto.createHash('sha256').update(text).digest();

const READY = Buffer.from('Z\0\0\0\x05I', 'latin1');
const COMPLETED = 'C'.charCodeAt(0);

/** Signs in by SCRAM only, by which the server also proves that it knows the password: while the real one is down, anybody
 * may listen on its port and ask for the password in clear text. */
class ScramClient extends pg.Client {
  #proven = false;

  _handleAuthCleartextPassword() {
    this.#refuse('asked for the password in clear text');
  }

  _handleAuthMD5Password() {
    this.#refuse('asked for an MD5 hash of the password');
  }

  _handleAuthSASLFinal(message) {
    super._handleAuthSASLFinal(message);
    this.#proven = this.saslSession === null;
  }

  _handleReadyForQuery(message) {
    if (this.#proven) super._handleReadyForQuery(message);
    else this.#refuse('did not ask for a password');
  }

  #refuse(what) {
    this.connection.emit('error', new Error(`the server ${what}, but SCRAM-SHA-256 is required`));
    this.connection.stream.destroy();
  }
}

/** A connection of the project's role. */
function connect(url, applicationName) {
  return connected(new ScramClient({ connectionString: url, application_name: applicationName, types }));
}

/** The same with a session that the platform has signed in; null if it is unusable. */
async function adopt({ socket, greeting }) {
  if (!(await wasSetUp(socket))) return null;
  return connected(new pg.Client({ user: 'zmesh', stream: () => asIfNew(socket, greeting), types }));
}

async function connected(client) {
  client.on('error', () => {}); // a lost connection fails the next statement; without this it would end the process
  await client.connect();
  return client;
}

/** Whether the platform's settings were applied; reads the server's answer to them. */
function wasSetUp(socket) {
  return new Promise((resolve) => {
    let answer = Buffer.alloc(0);
    const settle = (well) => {
      socket.off('data', read).off('close', fail);
      if (!well) socket.destroy();
      resolve(well);
    };
    const read = (data) => {
      answer = Buffer.concat([answer, data]);
      if (answer.subarray(-READY.length).equals(READY)) settle(answer[0] === COMPLETED);
    };
    const fail = () => settle(false);
    socket.on('data', read).on('close', fail).on('error', () => {});
  });
}

/** The socket of an already open session, for a driver that expects to connect and sign in. */
function asIfNew(socket, greeting) {
  const { write } = socket;
  socket.connect = () => process.nextTick(() => socket.emit('connect'));
  socket.write = () => {
    socket.write = write;
    process.nextTick(() => socket.emit('data', greeting)); // the answer to the driver's first message
    return true;
  };
  return socket;
}

module.exports = { adopt, connect };
