// zmesh test
const assert = require("node:assert/strict");
const { test } = require("node:test");
const { withZmesh } = require("zmesh/testing");
const { handler } = require("../functions/greeter.js");

test("it greets by name", withZmesh(async (zmesh) => {
  zmesh.env.GREETING = "Welcome";
  assert.deepEqual(await handler({ name: "Ada" }, zmesh), { message: "Welcome, Ada!" });
}));
