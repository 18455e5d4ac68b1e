'use strict';
// The kinds of frames between a run and its sandbox, as sandbox/protocol/table.py has them with their bodies.

module.exports = Object.freeze({
  HEAD_BYTES: 5, // the kind, and the bytes of the body that follows
  BOOTED: 'B',
  JOB: 'J',
  FILES: 'F', // after a job that has them
  PAYLOAD: 'P',
  ATTACHMENT: 'D', // asks for a descriptor, and answers that
  IMPORTED: 'I', // names of packages of its image
  LOG: 'L',
  RESULT: 'R',
  RESPONSE: 'H',
  ERROR: 'E',
  STREAM: 'S', // the head of a response that is sent in pieces,
  CHUNK: 'C', // its pieces,
  STREAMED: 'Z', // and its end
  LARGEST_CHUNK: 64 * 1024,
  LONGEST_LINE: 64 * 1024, // bytes of a log line's message
});
