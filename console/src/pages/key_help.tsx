import { useState } from "preact/hooks";
import { Button, Switch, keyName } from "../parts/basic.tsx";
import { Dialog } from "../parts/overlays.tsx";
import { keysOff } from "../parts/keys.tsx";

const KEYS: [string[], string][] = [
  [[keyName("K")], "Search or go to"],
  [["/"], "Filter"],
  [["G", "F I L S W Q"], "Go to functions, invocations, live logs, schedules, webhooks, queue"],
  [["J", "K"], "Next and previous in a list"],
  [["↵"], "Open"],
  [["X"], "Select the invocation"],
  [["[", "]"], "Previous and next invocation"],
  [["C"], "New"],
  [["T"], "Test the function"],
  [["R"], "Retry the invocation"],
  [[keyName("↵")], "Run, confirm"],
  [[keyName("S")], "Review and deploy"],
  [["Space"], "Pause the live list"],
  [["Y"], "Copy the link"],
  [["Esc", "Tab"], "Leave the editor"],
  [["Esc"], "Close, clear, back"],
];

export default function KeyHelp({ close }: { close: () => void }) {
  const [off, setOff] = useState(keysOff());
  return (
    <Dialog title="Keys" onClose={close} footer={<Button onClick={close}>Close</Button>}>
      <div class="bd">
        <dl class="facts keys">
          {KEYS.map(([keys, says]) => [
            <dt key={says}>
              {keys.map((k) => (
                <kbd key={k}>{k}</kbd>
              ))}
            </dt>,
            <dd key={`${says}d`}>{says}</dd>,
          ])}
        </dl>
        <span class="row between">
          Single letters
          <Switch
            label="Single letters"
            on={!off}
            onChange={(on) => {
              if (on) localStorage.removeItem("zmesh.keys");
              else localStorage.setItem("zmesh.keys", "off");
              setOff(!on);
            }}
          />
        </span>
      </div>
    </Dialog>
  );
}
