import { useState } from "preact/hooks";
import { Button, Check, Facts, Lang, Meter, Notice, Segmented, SelectField, StatusMark, Switch, TextField, Empty } from "../parts/basic.tsx";
import { Code, Json, LogLines, Spark, TimingBar, TimingKey } from "../parts/data.tsx";
import { OutcomeBars } from "../parts/bars.tsx";
import { Diff } from "../parts/diff.tsx";
import { Confirm, Menu, SnippetTabs } from "../parts/overlays.tsx";
import { diffFiles } from "../support/diff.ts";
import { invokeSnippets } from "../support/snippets.ts";
import { toast } from "../state/toast.ts";

const STATUS = ["queued", "running", "waiting", "success", "error", "timeout", "cancelled"];
const CODE = 'exports.handler = async (order) => {\n  // the sum of its lines\n  const cents = order.lines.map((l) => l.cents);\n  return { total: cents.reduce((a, b) => a + b, 0), currency: "EUR" };\n};';
const AFTER = CODE.replace("order.lines.map", "(order.lines ?? []).map");
const POINTS = Array.from({ length: 60 }, (_, k) => ({ at: new Date(1_795_900_000_000 + k * 60_000).toISOString(), success: 12 + ((k * 7) % 9), error: k > 34 && k % 4 === 0 ? 2 : 0, timeout: k === 20 ? 1 : 0, cancelled: k === 50 ? 3 : 0 }));

/** Every part with its states, in one place. */
export default function Parts() {
  const [seg, setSeg] = useState("one");
  const [on, setOn] = useState(true);
  const [text, setText] = useState("send-receipt");
  const [asking, setAsking] = useState(false);
  return (
    <main class="page parts-page scroll" tabIndex={-1}>
      <h1>Parts</h1>
      <div class="parts">
        <section>
          <h2>Buttons</h2>
          <div class="row wrap">
            <Button kind="primary" icon="plus" keys="C">
              New function
            </Button>
            <Button>Copy as</Button>
            <Button kind="bare">Cancel</Button>
            <Button kind="danger">Delete</Button>
            <Button kind="danger-primary">Delete send-receipt</Button>
            <Button busy>Retry 16</Button>
            <Button off="No changes">Save</Button>
            <Button small>Small</Button>
            <Button icon="copy" label="Copy" />
          </div>
        </section>
        <section>
          <h2>Fields</h2>
          <div class="fieldgrid">
            <TextField label="Name" value={text} onInput={setText} help="Letters, digits and hyphens." />
            <TextField label="Hour" value="25" onInput={() => {}} wrong="Hour 25: hours go from 0 to 23." />
            <SelectField label="Language" value="js" options={[["js", "JavaScript"], ["py", "Python"]]} onChange={() => {}} />
            <div class="row">
              <Switch on={on} label="Enabled" onChange={setOn} />
              <Check on={on} label="Select" onChange={setOn} />
            </div>
          </div>
          <Segmented label="Choice" value={seg} options={[["one", "All"], ["two", "Failing"], ["three", "Disabled"]]} onChange={setSeg} />
        </section>
        <section>
          <h2>Status</h2>
          <div class="row wrap">
            {STATUS.map((s) => (
              <StatusMark key={s} status={s} />
            ))}
          </div>
          <div class="row wrap">
            {STATUS.map((s) => (
              <StatusMark key={s} status={s} pill />
            ))}
          </div>
          <div class="row wrap">
            <span class="tag">v18</span>
            <span class="tag err">2</span>
            <span class="tag amber">sandbox reduced</span>
            <span class="tag ok">sandbox full</span>
            <Lang of="javascript" />
            <Lang of="typescript" />
            <Lang of="python" />
          </div>
        </section>
        <section>
          <h2>Queue, start, run</h2>
          <TimingBar size="big" status="success" timing={{ queue: 2, start: 5, run: 188 }} />
          <TimingKey status="success" timing={{ queue: 2, start: 5, run: 188 }} />
          <TimingBar size="big" status="error" timing={{ queue: 12, start: 6, run: 39 }} />
          <div class="row wrap">
            {(["success", "error", "timeout", "cancelled", "running"] as const).map((s) => (
              <TimingBar key={s} size="mini" status={s} scale={120} timing={{ queue: 2, start: 5, run: s === "timeout" ? 400 : 60 }} />
            ))}
          </div>
        </section>
        <section>
          <h2>Charts</h2>
          <Spark calls={POINTS.map((p) => p.success + p.error)} errors={POINTS.map((p) => p.error)} />
          <OutcomeBars points={POINTS} step={60} height={120} flags={[{ version: 18, at: POINTS[35]!.at, deployed_by: "mara@example.com" }]} />
          <Meter used={61} of={256} />
          <Meter used={4} of={4} />
        </section>
        <section>
          <h2>Code</h2>
          <div class="box clipbox pad">
            <Code code={CODE} file="total.js" hit={3} column={27} />
          </div>
          <div class="box clipbox">
            <Diff unified diffs={diffFiles({ "total.js": CODE }, { "total.js": AFTER })} before={{ "total.js": CODE }} after={{ "total.js": AFTER }} />
          </div>
          <Json value={{ total: 1290, currency: "EUR", lines: null }} label="Result" />
        </section>
        <section>
          <h2>Log</h2>
          <div class="log box clipbox pad">
            <LogLines
              since="2026-11-29T01:00:00.000Z"
              lines={[
                { at: "2026-11-29T01:00:00.018Z", level: "info", message: "pickup order, 3 items" },
                { at: "2026-11-29T01:00:00.020Z", level: "debug", message: "cache empty" },
                { at: "2026-11-29T01:00:00.031Z", level: "warning", message: "no address, the shop’s is used" },
                { at: "2026-11-29T01:00:00.039Z", level: "error", message: "TypeError: Cannot read properties of undefined (reading 'address')" },
              ]}
            />
          </div>
        </section>
        <section>
          <h2>Notices and overlays</h2>
          <Notice kind="bad" actions={<Button>Compare</Button>}>
            <b>v18 fails more than v17: 16 of 126 calls against 3 of 1,136.</b>
          </Notice>
          <Notice kind="warn">
            <b>Not connected.</b> What you see is as of 14:26:02.
          </Notice>
          <div class="row wrap">
            <Button onClick={() => toast("16 invocations are queued again", { label: "Show", run: () => {} })}>Toast</Button>
            <Button onClick={() => setAsking(true)}>Dialog</Button>
            <Menu label="Menu" text="Menu" items={[{ label: "Rename", icon: "file", run: () => {} }, "line", { label: "Delete", danger: true, run: () => {} }]} />
          </div>
        </section>
        <section>
          <h2>Empty</h2>
          <Empty title="No schedules" actions={<Button>New schedule</Button>}>
            A schedule invokes a function at set times, in any time zone.
          </Empty>
        </section>
        <section>
          <h2>Facts and text forms</h2>
          <Facts items={[["Time", "10 s"], ["Memory", "256 MB"]]} />
          <div>
            <SnippetTabs snippets={invokeSnippets("https://functions.example", "send-receipt", { order_id: "HC-20418" })} />
          </div>
        </section>
      </div>
      {asking && (
        <Confirm title="Roll back send-receipt to v17?" action="Roll back to v17" onClose={() => setAsking(false)} run={async () => {}}>
          v17 becomes v19 and gets all calls immediately.
        </Confirm>
      )}
    </main>
  );
}
