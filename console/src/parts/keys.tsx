import { useLayoutEffect } from "preact/hooks";

const typing = (target: EventTarget | null): boolean => target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) || !!target.shadowRoot);
export const keysOff = (): boolean => localStorage.getItem("zmesh.keys") === "off";

export type Keys = Record<string, () => unknown>;
const stack: Keys[] = [];

/** Single letters of a page; they rest while somebody types, and in overlays. */
export function usePageKeys(keys: Keys): void {
  useLayoutEffect(() => { // or a key pressed as soon as the page is seen would be lost
    stack.push(keys);
    return () => void stack.splice(stack.indexOf(keys), 1);
  });
}

declare global {
  interface Window {
    /** What was pressed before the program was there, from boot.ts. */
    earlyKeys?: string[] | undefined;
  }
}
/** The keys pressed so far; from Ctrl-K on they are what the palette searches for. */
export function takeEarlyKeys(): { keys: string[]; search: string | null } {
  const keys = window.earlyKeys ?? [];
  delete window.earlyKeys;
  const from = keys.indexOf("Ctrl-K");
  return from < 0 ? { keys, search: null } : { keys: [], search: keys.slice(from + 1).filter((key) => key.length === 1).join("") };
}

let pending: ReturnType<typeof setTimeout> | null = null;
export function handleKey(e: KeyboardEvent, go: (page: string) => void): void {
  if (e.defaultPrevented || e.metaKey || e.ctrlKey || e.altKey || typing(e.target) || document.querySelector("dialog[open]") || keysOff()) return;
  const key = e.key.length === 1 ? e.key.toUpperCase() : e.key;
  if (pending) {
    clearTimeout(pending);
    pending = null;
    const page = { F: "functions", I: "invocations", L: "logs", S: "schedules", W: "webhooks", Q: "queue" }[key];
    if (page) {
      e.preventDefault();
      return go(page);
    }
  }
  if (key === "G") {
    pending = setTimeout(() => (pending = null), 1200);
    return;
  }
  if (key === "/") {
    const field = document.querySelector<HTMLInputElement>("[data-filter]");
    if (field) {
      e.preventDefault();
      field.focus();
      field.select();
    }
    return;
  }
  if (/^(J|K|ArrowDown|ArrowUp)$/.test(key) && moveInList(key === "J" || key === "ArrowDown" ? 1 : -1)) return e.preventDefault();
  if (key === "Y") return void navigator.clipboard.writeText(location.href);
  for (const keys of [...stack].reverse()) {
    if (keys[key]) {
      e.preventDefault();
      keys[key]();
      return;
    }
  }
}

function moveInList(step: number): boolean {
  const links = [...document.querySelectorAll<HTMLElement>("[data-list] .go")];
  if (!links.length) return false;
  const at = links.indexOf(document.activeElement as HTMLElement);
  links[Math.max(0, Math.min(links.length - 1, at < 0 ? 0 : at + step))]?.focus();
  return true;
}
