import { lazily } from "../parts/lazy.tsx";

/** The pages whose code comes when they are opened; the list of functions is in the program itself. */
export const PAGES = {
  function: lazily(() => import("./function.tsx")),
  newFunction: lazily(() => import("./new_function.tsx")),
  invocations: lazily(() => import("./invocations.tsx")),
  invocation: lazily(() => import("./invocation.tsx")),
  logs: lazily(() => import("./logs.tsx")),
  schedules: lazily(() => import("./schedules.tsx")),
  webhooks: lazily(() => import("./webhooks.tsx")),
  changes: lazily(() => import("./changes.tsx")),
  queue: lazily(() => import("./queue.tsx")),
  usage: lazily(() => import("./usage.tsx")),
  secrets: lazily(() => import("./secrets.tsx")),
  keys: lazily(() => import("./api_keys.tsx")),
  members: lazily(() => import("./members.tsx")),
  more: lazily(() => import("./more.tsx")),
  parts: lazily(() => import("./parts.tsx")),
};

export const TAB_PAGES = {
  overview: lazily(() => import("./overview.tsx")),
  code: lazily(() => import("./code.tsx")),
  versions: lazily(() => import("./versions.tsx")),
  triggers: lazily(() => import("./triggers.tsx")),
  settings: lazily(() => import("./settings.tsx")),
  logs: lazily(() => import("./function_logs.tsx")),
};

const isIn = <T extends object>(name: string, all: T): name is keyof T & string => Object.hasOwn(all, name);

/** Loads the code of the page at an address, so that it is there once the session is. */
export async function loadPage(path: string): Promise<void> {
  const [, root, , page = "functions", thing, tab = "overview"] = path.split("/");
  if (root !== "p") return;
  if (page === "functions" && thing === "new") await PAGES.newFunction.load();
  else if (page === "functions" && thing) await Promise.all([PAGES.function.load(), isIn(tab, TAB_PAGES) && TAB_PAGES[tab].load()]);
  else if (page === "invocations" && thing) await PAGES.invocation.load();
  else if (isIn(page, PAGES)) await PAGES[page].load();
}
