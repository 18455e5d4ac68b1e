'use strict';
// Asks the sandbox that `zmesh test` has started for a run in the transaction of a test.

const net = require('node:net');
const path = require('node:path');
const { text } = require('node:stream/consumers');

const PREPARE = "select set_config('zmesh_test.answers', $1, false), pg_backend_pid() as process_id";
const INVOKED = `with calls as (delete from zmesh_test.invoked returning *)
  select function, payload, timeout_ms as "timeoutMs", version, alias from calls order by number`;

/** How the run ended, and its calls of zmesh.invoke(), which end as `ends` says. */
function runInSandbox(session, file, asked, ends) {
  const current = session.current.getStore() ?? session.root;
  // Its end checks what a commit would.
  return session.transaction(current, async (scope) => {
    const [{ process_id }] = await session.run(scope, PREPARE, [JSON.stringify(ends)]);
    const ended = await answer({ ...asked, process_id, path: path.resolve(file), root: process.cwd() });
    return { ended, invoked: await session.run(scope, INVOKED) };
  });
}

async function answer(asked) {
  const sandbox = process.env.ZMESH_TEST_SANDBOX;
  if (!sandbox) throw new Error('no sandbox for tests: start them with `zmesh test`');
  const socket = net.connect(sandbox).unref(); // a test that awaits has a session, which keeps the process alive
  socket.write(`${JSON.stringify(asked)}\n`);
  const found = JSON.parse((await text(socket)) || '{"refused": "the sandbox for tests has ended"}');
  if (found.refused) throw new Error(found.refused);
  return found;
}

module.exports = { runInSandbox };
