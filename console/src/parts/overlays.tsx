import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { sayError } from "../api/errors.ts";
import { dismiss, watchToasts, type Toast } from "../state/toast.ts";
import { Button, Icon, Segmented, CopyButton } from "./basic.tsx";
import type { Snippets } from "../support/snippets.ts";

/** Native dialog: the focus goes in, stays in and comes back; Escape closes. */
export function Dialog({ title, aside, wide, onClose, children, footer, onSubmit }: { title: string; aside?: ComponentChildren; wide?: boolean; onClose: () => void; children: ComponentChildren; footer: ComponentChildren; onSubmit?: () => void }) {
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = ref.current;
    const before = document.activeElement as HTMLElement | null;
    dialog?.showModal();
    dialog?.querySelector<HTMLElement>("[data-autofocus], input, select, textarea")?.focus();
    return () => {
      dialog?.close();
      before?.focus?.();
    };
  }, []);
  return (
    <dialog
      ref={ref}
      class={`dlg ${wide ? "wide-dlg" : ""}`}
      aria-label={title}
      onCancel={(e) => {
        e.preventDefault();
        onClose();
      }}
      onKeyDown={(e) => {
        if (e.key === "Enter" && (e.metaKey || e.ctrlKey) && onSubmit) onSubmit();
        e.stopPropagation();
      }}
      onClick={(e) => e.target === ref.current && onClose()}
    >
      <form
        class="dlg-form"
        onSubmit={(e) => {
          e.preventDefault();
          onSubmit?.();
        }}
      >
        <div class="hd row">
          <h2>{title}</h2>
          {aside && <span class="meta num end">{aside}</span>}
        </div>
        {children}
        <div class="ft">{footer}</div>
      </form>
    </dialog>
  );
}

/** Asks before what cannot be undone or takes calls at once. Stays busy until the truth is known; says in place what went wrong. */
export function Confirm({ title, children, action, danger, typed, onClose, run }: { title: string; children: ComponentChildren; action: string; danger?: boolean; typed?: string; onClose: () => void; run: () => Promise<unknown> }) {
  const [busy, setBusy] = useState(false);
  const [wrong, setWrong] = useState<string>();
  const [text, setText] = useState("");
  const go = async (): Promise<void> => {
    if (busy || (typed && text !== typed)) return;
    setBusy(true);
    try {
      await run();
      onClose();
    } catch (error) {
      setWrong(sayError(error));
      setBusy(false);
    }
  };
  return (
    <Dialog
      title={title}
      onClose={onClose}
      onSubmit={() => void go()}
      footer={
        <>
          <Button kind="bare" onClick={onClose}>
            Cancel
          </Button>
          <Button kind={danger ? "danger-primary" : "primary"} type="submit" busy={busy} off={typed && text !== typed ? `Type ${typed} first` : false}>
            {action}
          </Button>
        </>
      }
    >
      <div class="bd">
        <div>{children}</div>
        {typed && (
          <label class="field">
            <span>
              Type <b>{typed}</b> to confirm
            </span>
            <div class="in">
              <input value={text} onInput={(e) => setText(e.currentTarget.value)} autocomplete="off" />
            </div>
          </label>
        )}
        {wrong && (
          <p class="err" role="alert">
            {wrong}
          </p>
        )}
      </div>
    </Dialog>
  );
}

export type MenuItem = { label: string; icon?: string; keys?: string; danger?: boolean; run: () => void } | "line";
export function Menu({ label, icon = "dots", text, items, kind = "bare", small }: { label: string; icon?: string; text?: ComponentChildren; items: MenuItem[]; kind?: "bare"; small?: boolean }) {
  const [open, setOpen] = useState(false);
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!open) return;
    box.current?.querySelector<HTMLElement>("[role=menuitem]")?.focus();
    const away = (e: Event): void => {
      if (!box.current?.contains(e.target as Node)) setOpen(false);
    };
    addEventListener("pointerdown", away);
    return () => removeEventListener("pointerdown", away);
  }, [open]);
  const move = (e: KeyboardEvent): void => {
    if (!open) return;
    const all = [...(box.current?.querySelectorAll<HTMLElement>("[role=menuitem]") ?? [])];
    const at = all.indexOf(document.activeElement as HTMLElement);
    if (e.key === "Escape") {
      setOpen(false);
      box.current?.querySelector<HTMLElement>(".btn")?.focus();
    } else if (e.key === "ArrowDown") all[(at + 1) % all.length]?.focus();
    else if (e.key === "ArrowUp") all[(at - 1 + all.length) % all.length]?.focus();
    else return;
    e.preventDefault();
    e.stopPropagation();
  };
  return (
    <div class="menubox over" ref={box} onKeyDown={move}>
      {text ? (
        <Button kind={kind} small={small} expanded={open} onClick={() => setOpen(!open)}>
          {text}
          <Icon name="down" />
        </Button>
      ) : (
        <Button kind={kind} small={small} icon={icon} label={label} expanded={open} onClick={() => setOpen(!open)} />
      )}
      {open && (
        <div class="menu" role="menu" aria-label={label}>
          {items.map((item, k) =>
            item === "line" ? (
              <hr key={k} />
            ) : (
              <button
                type="button"
                role="menuitem"
                key={item.label}
                class={item.danger ? "err" : ""}
                onClick={() => {
                  setOpen(false);
                  item.run();
                }}
              >
                {item.icon && <Icon name={item.icon} small />}
                {item.label}
                {item.keys && <kbd>{item.keys}</kbd>}
              </button>
            ),
          )}
        </div>
      )}
    </div>
  );
}

export function Toasts() {
  const [toasts, set] = useState<Toast[]>([]);
  useEffect(() => watchToasts(set), []);
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.map((t) => (
        <OneToast key={t.id} toast={t} />
      ))}
    </div>
  );
}
function OneToast({ toast }: { toast: Toast }) {
  const [held, hold] = useState(false);
  useEffect(() => {
    if (held) return;
    const timer = setTimeout(() => dismiss(toast.id), 6000);
    return () => clearTimeout(timer);
  }, [held]);
  return (
    <div class="toast" onMouseEnter={() => hold(true)} onMouseLeave={() => hold(false)} onFocusIn={() => hold(true)} onFocusOut={() => hold(false)}>
      <span>{toast.text}</span>
      <span class="acts">
        {toast.action && (
          <Button
            small
            onClick={() => {
              toast.action!.run();
              dismiss(toast.id);
            }}
          >
            {toast.action.label}
          </Button>
        )}
        <Button small kind="bare" icon="x" label="Dismiss" onClick={() => dismiss(toast.id)} />
      </span>
    </div>
  );
}

export function SnippetTabs({ snippets }: { snippets: Snippets }) {
  const names = Object.keys(snippets) as (keyof Snippets)[];
  const [at, set] = useState(names[0]!);
  const text = snippets[at] ?? "";
  return (
    <>
      {names.length > 1 && <Segmented small label="Form" value={at} options={names.map((n) => [n, n])} onChange={set} />}
      <div class="well snippet">
        <code>{text}</code>
        <CopyButton text={text} label={`Copy the ${at === "SQL" ? "statement" : "command"}`} />
      </div>
    </>
  );
}

export const CopyDialog = ({ snippets, close }: { snippets: Snippets; close: () => void }) => (
  <Dialog title="The same with SQL, curl or the CLI" onClose={close} footer={<Button onClick={close}>Close</Button>}>
    <div class="bd">
      <div>
        <SnippetTabs snippets={snippets} />
      </div>
    </div>
  </Dialog>
);

/** "Show me the SQL / curl / CLI" of an action. */
export function CopyAs({ snippets, label = "Copy as", small }: { snippets: Snippets; label?: string; small?: boolean }) {
  const [open, setOpen] = useState(false);
  return (
    <>
      <Button class="wide" small={small} onClick={() => setOpen(true)}>
        {label}
      </Button>
      {open && <CopyDialog snippets={snippets} close={() => setOpen(false)} />}
    </>
  );
}
