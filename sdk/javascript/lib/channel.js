'use strict';
// The socket between a run and its sandbox: frames of one type byte, four bytes of length, and a body.

const fs = require('node:fs');
const net = require('node:net');
const { ATTACHMENT, HEAD_BYTES, STREAM } = require('./frames.js');
const network = require('./network.js');

const { readSync, writeSync } = fs; // user code may replace the properties of fs

class Channel {
  #receiveMessage;
  #streams = false;

  /** `receiveMessage` reads a message and the descriptor that comes along, if this Node.js can do so. */
  constructor(fd, receiveMessage) {
    this.fd = fd;
    this.#receiveMessage = receiveMessage;
  }

  /** A session with the project's database that the platform has signed in, or null. */
  takeSession() {
    const patient = network.isOff(); // there is no other way to a session
    if (!this.#receiveMessage || (this.#streams && !patient)) return null; // while a stream waits for its reader, nothing is answered
    this.send(ATTACHMENT, '');
    const [answer, descriptor] = this.#receiveMessage(this.fd, patient);
    if (descriptor === null) return null;
    return { socket: new net.Socket({ fd: descriptor }), greeting: answer.subarray(HEAD_BYTES) };
  }

  /** The next frame, or null if the sandbox has closed the channel. */
  receive() {
    const head = this.#read(HEAD_BYTES);
    const body = head && this.#read(head.readUInt32BE(1));
    return body && { kind: String.fromCharCode(head[0]), body };
  }

  /** Sends one frame whole; if the sandbox is gone, there is nobody left to tell. */
  send(kind, body) {
    this.#streams ||= kind === STREAM;
    const length = Buffer.byteLength(body);
    const frame = Buffer.allocUnsafe(HEAD_BYTES + length);
    frame.write(kind, 0, 'latin1');
    frame.writeUInt32BE(length, 1);
    if (typeof body === 'string') frame.write(body, HEAD_BYTES, 'utf8');
    else frame.set(body, HEAD_BYTES);
    try {
      for (let sent = 0; sent < frame.length; ) sent += writeSync(this.fd, frame, sent);
    } catch {
      // EPIPE, or user code closed the channel
    }
  }

  /** After the final frame: the sandbox ends this process as soon as it has read its resource usage. */
  waitForEnd() {
    try {
      while (readSync(this.fd, Buffer.allocUnsafe(HEAD_BYTES)) > 0);
    } catch {
      // user code closed the channel
    }
  }

  #read(length) {
    const data = Buffer.allocUnsafe(length);
    for (let got = 0; got < length; ) {
      const count = readSync(this.fd, data, got, length - got, null);
      if (count === 0) return null;
      got += count;
    }
    return data;
  }
}

module.exports = { Channel };
