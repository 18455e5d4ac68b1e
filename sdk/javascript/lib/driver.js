'use strict';
// The bundled driver, made quick to sign in: a run usually opens one connection and asks one thing of it.

const crypto = require('node:crypto');
require('node:net'); // the driver loads it with the first connection, when the caller is already waiting
const pg = require('pg');
const signIn = require('pg/lib/crypto/utils.js');
const { types } = require('./types.js');

// The driver signs in through WebCrypto, which costs a fresh process 8 ms more than these calls do.
signIn.deriveKey = (password, salt, iterations) => crypto.pbkdf2Sync(password, salt, iterations, 32, 'sha256');
signIn.hmacSha256 = (key, text) => crypto.createHmac('sha256', key).update(text).digest();
signIn.sha256 = (text) => crypto.createHash('sha256').update(text).digest();

/** A connection of the project's role. */
async function connect(url, applicationName) {
  const client = new pg.Client({ connectionString: url, application_name: applicationName, types });
  client.on('error', () => {}); // a lost connection fails the next statement; without this it would end the process
  await client.connect();
  return client;
}

module.exports = { connect };
