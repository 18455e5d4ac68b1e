import assert from "node:assert/strict";
import { test } from "node:test";
import { earlier, sayDuration, sayFailed, type Compared } from "./compare.ts";
import { clockChange, cronWords } from "./cron.ts";
import { diffFiles, diffLines, fold } from "./diff.ts";
import { eventOf } from "./events.ts";
import { ago, duration, share, shortName, spanExact } from "./format.ts";
import { worseVersion } from "./outcome.ts";
import { problemPlace } from "./problems.ts";
import { firstShare, sayFirstShare } from "./shares.ts";
import { invitationLink, readInvitation } from "./invitations.ts";
import { fit } from "./search.ts";
import { writtenRequest } from "./request.ts";
import { deploySnippets, invokeSnippets } from "./snippets.ts";
import { placeOf } from "./stack.ts";
import { membersOf } from "../editor/declarations.ts";
import { timeTicks } from "./ticks.ts";

test("who deployed is named in short", () => {
  assert.deepEqual(["ada@example.com", "CI (API key)", "postgres (SQL)", null].map(shortName), ["ada", "CI", "postgres", null]);
});

test("a share is never 0 for something, nor 100 for almost all", () => {
  assert.deepEqual([share(0, 10), share(1, 5000), share(15, 1000), share(1, 4), share(9999, 10_000)], ["0", "<0.1", "1.5", "25", ">99.9"]);
});

test("durations have the unit a person would use", () => {
  const said = [0, 0.4, 84, 1180, 45_300, 60_000, 262_000, 7_500_000].map((ms) => Object.values(duration(ms)).join(" "));
  assert.deepEqual(said, ["0 ms", "<1 ms", "84 ms", "1.18 s", "45.3 s", "1 min", "4 min 22 s", "2 h 5 min"]);
});

test("times are relative up to a week", () => {
  const now = Date.parse("2026-11-29T02:00:00Z");
  assert.deepEqual([ago(now - 500, now), ago(now - 1_440_000, now), ago(now + 60_000, now)], ["now", "24 min ago", "in 1 min"]);
  assert.match(ago(now - 8 * 86_400_000, now), /21 Nov 2026/);
  assert.equal(spanExact(5 * 86_400 + 23 * 3600 + 5), "5 d 23 h");
});

test("the line of an error is the first frame in a file of the function", () => {
  const node = "TypeError: x\n    at Object.inner (node:internal/x:1:2)\n    at total (lib/sum.js:7:11)\n    at exports.handler (broken.js:4:25)";
  assert.deepEqual(placeOf(node, ["broken.js", "lib/sum.js"]), { file: "lib/sum.js", line: 7, column: 11, where: "total" });
  const python = 'Traceback\n  File "broken.py", line 9, in handler\n    x\n  File "broken.py", line 4, in total\n    y\n  File "/usr/lib/python3/json.py", line 3, in loads\nKeyError';
  assert.deepEqual(placeOf(python, ["broken.py"]), { file: "broken.py", line: 4, column: null, where: "total" });
  assert.equal(placeOf("Error: x\n    at other.js:1:1", ["broken.js"]), null);
});

test("a refused deployment points to its line", () => {
  assert.deepEqual(problemPlace("broken-js.js:2\n let x = ;\n         ^\n\nSyntaxError: Unexpected token ';'"), { file: "broken-js.js", line: 2, message: "SyntaxError: Unexpected token ';'" });
  assert.equal(problemPlace("the code is too large"), null);
});

test("lines that became others stand in one row with them", () => {
  const rows = diffLines("a\nb\nc\n", "a\nB\nB2\nc\n");
  assert.deepEqual(
    rows.map((r) => [r.before?.text, r.after?.text]),
    [["a", "a"], ["b", "B"], [undefined, "B2"], ["c", "c"]],
  );
});

test("files that were added, removed and changed are told apart, equal ones left out", () => {
  const diffs = diffFiles({ a: "1\n", b: "2\n", same: "x" }, { b: "3\n", c: "4\n", same: "x" });
  assert.deepEqual(diffs.map((d) => [d.file, d.action, d.added, d.removed]), [["a", "removed", 0, 1], ["b", "changed", 1, 1], ["c", "added", 1, 0]]);
});

test("unchanged runs fold to one line and keep their neighbours", () => {
  const before = Array.from({ length: 30 }, (_, k) => `line ${k}`);
  const after = before.with(15, "changed");
  const chunks = fold(diffLines(before.join("\n"), after.join("\n")));
  assert.deepEqual(chunks.map((c) => [c.fold, c.rows.length]), [[true, 12], [false, 7], [true, 11]]);
});

test("a version is called worse only where the data is sure", () => {
  const sure = worseVersion([{ version: 18, calls: 126, failed: 16 }, { version: 17, calls: 1136, failed: 3 }]);
  assert.equal(sure?.worse.version, 18);
  assert.equal(worseVersion([{ version: 18, calls: 29, failed: 16 }, { version: 17, calls: 1136, failed: 3 }]), null);
  assert.equal(worseVersion([{ version: 18, calls: 100, failed: 3 }, { version: 17, calls: 100, failed: 3 }]), null);
});

test("cron is said in words where people know them", () => {
  assert.deepEqual(
    ["*/5 * * * *", "0 7 * * mon", "30 2 * * *", "0 6 1 * *", "30 seconds", "5 * * * *", "0 7 * * 1-5", "1-5 2 3 * *"].map(cronWords),
    ["Every 5 minutes", "Mondays at 07:00", "Every day at 02:30", "On the 1st at 06:00", "Every 30 seconds", "Every hour at minute 5", "On weekdays at 07:00", null],
  );
});

test("a change of clocks between two zones is said", () => {
  const due = ["2027-03-08T12:00:00Z", "2027-03-15T11:00:00Z", "2027-03-22T11:00:00Z"];
  assert.equal(clockChange(due, "America/New_York", "Europe/Berlin")?.time, "12:00");
  assert.equal(clockChange(due.slice(1), "America/New_York", "Europe/Berlin"), null);
});

test("an axis of time has few round ticks and none at its ends", () => {
  const ticks = (minutes: number): string[] => timeTicks(Date.parse("2026-11-29T08:03:00Z"), minutes * 60_000).map((at) => new Date(at).toISOString().slice(14, 16));
  assert.deepEqual(ticks(15), ["05", "10", "15"]);
  assert.deepEqual(ticks(60), ["15", "30", "45"]);
  assert.deepEqual(ticks(24 * 60), ["00", "00", "00", "00"]);
});

test("the palette prefers beginnings over pieces over scattered letters", () => {
  const scores = ["send", "send-receipt", "resend", "s-e-n-d", "other"].map((t) => fit("send", t));
  assert.deepEqual([...scores].slice(0, 4), [...scores].slice(0, 4).sort((a, b) => (b ?? 0) - (a ?? 0)));
  assert.equal(scores[4], null);
});

test("text forms quote what a payload may contain", () => {
  const forms = invokeSnippets("https://x", "hello", { name: "O'Neil" });
  assert.ok(forms.SQL?.includes(`'{"name":"O''Neil"}'`));
  assert.ok(forms.curl?.includes(`O'\\''Neil`));
});

test("completion knows the members of the type declarations", () => {
  const found = membersOf("export interface Zmesh {\n  /** The database. */\n  readonly db: Database;\n  enqueue(slug: string): Promise<string>;\n}\n");
  assert.deepEqual(found.get("Zmesh"), [{ name: "db", detail: "db: Database", info: "The database." }, { name: "enqueue", detail: "enqueue(slug: string): Promise<string>", info: "" }]);
});

const figures = (success: number, error: number, p95: number | null): Compared => ({ success, error, timeout: 0, cancelled: 0, duration_ms: p95 === null ? null : { p50: p95 / 2, p95, p99: p95 } });

test("figures are compared with the same time a day or a week before, in whole hours", () => {
  const now = Date.parse("2026-11-29T10:20:00Z");
  assert.deepEqual(earlier(900_000, now), { since: "2026-11-28T10:00:00.000Z", until: "2026-11-28T11:00:00.000Z", name: "yesterday" });
  assert.deepEqual(earlier(7 * 86_400_000, now), { since: "2026-11-15T10:00:00.000Z", until: "2026-11-22T11:00:00.000Z", name: "the week before" });
  assert.equal(earlier(30 * 86_400_000, now), null);
});

test("a comparison says a change that is larger than what percentiles tell apart, of enough calls", () => {
  const said = (now: Compared, before: Compared): string | null => sayDuration(now, before, "yesterday", "p95");
  assert.equal(said(figures(40, 0, 212), figures(40, 0, 203)), "as yesterday");
  assert.equal(said(figures(40, 0, 412), figures(40, 0, 203)), "up from 203 ms yesterday");
  assert.equal(said(figures(40, 0, 100), figures(40, 0, 203)), "down from 203 ms yesterday");
  assert.equal(said(figures(29, 0, 412), figures(40, 0, 203)), null);
  assert.equal(said(figures(40, 0, null), figures(40, 0, 203)), null);
});

test("so does one of what failed, of enough failures", () => {
  assert.equal(sayFailed(figures(90, 10, 1), figures(99, 1, 1), "yesterday"), "up from 1 % yesterday");
  assert.equal(sayFailed(figures(98, 2, 1), figures(100, 0, 1), "yesterday"), null);
  assert.equal(sayFailed(figures(100, 0, 1), figures(90, 10, 1), "yesterday"), "down from 10 % yesterday");
  assert.equal(sayFailed(figures(90, 10, 1), figures(91, 9, 1), "yesterday"), null);
});

test("a deployment says what becomes of the calls", () => {
  const split = { 17: 75, 18: 25 };
  assert.deepEqual([firstShare(undefined, 18), firstShare({ 18: 100 }, 18), firstShare({ 17: 100 }, 18), firstShare(split, 18)], [100, 100, 0, 0]);
  assert.equal(sayFirstShare(100, split, 18), "It takes all calls at once.");
  assert.equal(sayFirstShare(25, split, 18), "v17 keeps 75 %. v18 gets no more calls.");
  assert.equal(sayFirstShare(10, undefined, 18), "v18 keeps 90 %.");
  assert.equal(sayFirstShare(0, undefined, 18), "v18 keeps all calls.");
  assert.equal(sayFirstShare(0, split, 18), "v17 keeps 75 %, v18 keeps 25 %.");
  assert.equal(deploySnippets("a.ts", "it's new", 10).CLI, "zmesh functions deploy a.ts --message 'it'\\''s new' --share 10");
});

test("a typed request is encoded once, and wrong lines are named", () => {
  const made = writtenRequest({ method: "PUT", target: "/a b%20c/ü?q=x y&z=?", headers: "X-Color : red\n\nAccept: text/plain; q=1" }, "{}");
  assert.deepEqual(made, { method: "PUT", path: "/a%20b%20c/%C3%BC", query: "q=x%20y&z=?", headers: { "x-color": "red", accept: "text/plain; q=1" }, body: "{}" });
  assert.equal((writtenRequest({ method: "GET", target: "/", headers: "" }, "{}") as { body: string }).body, "");
  assert.equal(writtenRequest({ method: "GET", target: "orders", headers: "" }, ""), "The path begins with /, as in /orders/7?full=1.");
  assert.equal(writtenRequest({ method: "GET", target: "/", headers: "a: b\nnothing" }, ""), "Header 2: write name: value.");
});

test("an invitation's link is read back", () => {
  const link = invitationLink("https://z.example", "zi_abc", "a+b/c@example.org");
  assert.deepEqual(readInvitation(new URL(link).hash), { token: "zi_abc", email: "a+b/c@example.org" });
  assert.equal(readInvitation(""), null);
  assert.deepEqual(readInvitation("#zi_abc/%"), { token: "zi_abc", email: "" });
});

test("a delivery is named by the event that its sender gives", () => {
  assert.equal(eventOf({ "content-type": "application/json", "x-github-event": "issues" }), "issues");
  assert.equal(eventOf({ "x-shopify-topic": "orders/create" }), "orders/create");
  assert.equal(eventOf({ "content-type": "application/json" }), null);
  assert.equal(eventOf(null), null);
});
