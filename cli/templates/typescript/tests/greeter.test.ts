// node --test
import assert from "node:assert/strict";
import test from "node:test";
import { handler } from "../functions/greeter.ts";

test("it greets by name", async () => {
  const zmesh: any = { env: { GREETING: "Welcome" } };
  assert.deepEqual(await handler({ name: "Ada" }, zmesh), { message: "Welcome, Ada!" });
});
