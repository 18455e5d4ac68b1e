// zmesh test
import assert from "node:assert/strict";
import { test } from "node:test";
import { withZmesh } from "zmesh/testing";
import { handler } from "../functions/greeter.ts";

test("it greets by name", withZmesh(async (zmesh) => {
  zmesh.env.GREETING = "Welcome";
  assert.deepEqual(await handler({ name: "Ada" }, zmesh), { message: "Welcome, Ada!" });
}));
