// node --test
const assert = require("node:assert/strict");
const test = require("node:test");
const { handler } = require("../functions/greeter.js");

test("it greets by name", async () => {
  const zmesh = { env: { GREETING: "Welcome" } };
  assert.deepEqual(await handler({ name: "Ada" }, zmesh), { message: "Welcome, Ada!" });
});
