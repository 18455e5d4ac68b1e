/** The pages that the frame leads to: key in the address, icon, name. The frame that index.html shows at first is made of it, too. */
export type Group = { label: string; name?: string; links: [key: string, icon: string, text: string][] };

export const NAV: Group[] = [
  { label: "Main", links: [["functions", "fn", "Functions"], ["invocations", "runs", "Invocations"], ["logs", "log", "Live logs"]] },
  { label: "Triggers", name: "Triggers", links: [["schedules", "clock", "Schedules"], ["webhooks", "hook", "Webhooks"], ["changes", "table", "Table changes"]] },
  { label: "Platform", name: "Platform", links: [["queue", "queue", "Queue"], ["usage", "gauge", "Limits and usage"]] },
  // API keys come last: a viewer does not get them, and nothing moves when they go.
  { label: "Project", name: "Project", links: [["secrets", "lock", "Secrets"], ["members", "people", "Members"], ["keys", "key", "API keys"]] },
];

/** What a phone's bottom bar leads to, before "Search" and "More". */
export const DOCK: Group["links"] = [
  ["functions", "fn", "Functions"],
  ["invocations", "runs", "Invocations"],
  ["queue", "queue", "Queue"],
];

export const TABS: [key: string, text: string][] = [
  ["overview", "Overview"],
  ["code", "Code and test"],
  ["invocations", "Invocations"],
  ["logs", "Live logs"],
  ["versions", "Versions"],
  ["triggers", "Triggers"],
  ["settings", "Settings"],
];
