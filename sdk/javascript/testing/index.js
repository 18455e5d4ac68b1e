'use strict';
// The zmesh object for tests: a real database that is rolled back, and calls that are recorded instead of made.

const { Failure, RecordingZmesh } = require('./recording.js');

/** The test as a function for any runner: calls it with a zmesh object of its own, and what the runner passes. */
function withZmesh(test) {
  return async function withZmesh(...given) {
    const zmesh = new RecordingZmesh(databaseUrl());
    globalThis.zmesh = zmesh; // as in a run, for modules that nobody passes it to
    let value;
    try {
      value = await test(zmesh, ...given);
    } catch (error) {
      await zmesh.close().catch(() => {}); // the first error is the one to report
      throw error;
    } finally {
      delete globalThis.zmesh;
    }
    await zmesh.close();
    return value;
  };
}

function databaseUrl() {
  const url = process.env.ZMESH_TEST_DATABASE_URL;
  if (!url) throw new Error('no database for tests: start them with `zmesh test`');
  return url;
}

module.exports = { Failure, withZmesh };
