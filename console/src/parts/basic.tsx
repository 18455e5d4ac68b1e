import type { ComponentChildren, JSX } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { ago, exact } from "../support/format.ts";
import { sayError } from "../api/errors.ts";
import { ApiError } from "../api/errors.ts";

export function Icon({ name, small, class: extra }: { name: string; small?: boolean; class?: string }) {
  return (
    <svg class={`i ${small ? "sm" : ""} ${extra ?? ""}`} viewBox="0 0 16 16" aria-hidden="true">
      <use href={`#${name}`} />
    </svg>
  );
}

export const Mark = () => (
  <svg class="mark" viewBox="0 0 20 20" aria-hidden="true">
    <use href="#z" />
  </svg>
);

type ButtonProps = {
  kind?: "primary" | "bare" | "danger" | "danger-primary";
  small?: boolean;
  icon?: string;
  /** A button that is only an icon has its name here. */
  label?: string;
  keys?: string;
  busy?: boolean;
  off?: string | false;
  class?: string;
  onClick?: (e: MouseEvent) => void;
  type?: "submit" | "button";
  pressed?: boolean;
  expanded?: boolean;
  children?: ComponentChildren;
};
const KINDS = { primary: "pri", bare: "bare", danger: "bad", "danger-primary": "bad pri" };

export function Button({ kind, small, icon, label, keys, busy, off, class: extra, onClick, type = "button", pressed, expanded, children }: ButtonProps) {
  const spinning = useLater(!!busy, 150);
  const classes = ["btn", kind && KINDS[kind], small && "sm", !children && "icon", spinning && "is-busy", extra].filter(Boolean).join(" ");
  return (
    <button type={type} class={classes} aria-label={label} title={off || (children ? undefined : label)} disabled={!!off} aria-busy={busy} aria-pressed={pressed} aria-expanded={expanded} onClick={busy ? undefined : onClick}>
      {spinning ? <span class="spin" /> : icon && <Icon name={icon} />}
      {children}
      {keys && <kbd class="wide" aria-hidden="true">{keys}</kbd>}
    </button>
  );
}

/** True once `on` has been true for `ms`: what is quick shows nothing. */
export function useLater(on: boolean, ms: number): boolean {
  const [late, setLate] = useState(false);
  useEffect(() => {
    if (!on) return setLate(false);
    const timer = setTimeout(() => setLate(true), ms);
    return () => clearTimeout(timer);
  }, [on, ms]);
  return late && on;
}

export const isMac = /Mac|iPhone|iPad/.test(navigator.platform);
export const keyName = (key: string): string => (isMac ? `⌘${key}` : `Ctrl ${key}`);

const LANGUAGES: Record<string, [string, string]> = { javascript: ["JS", "JavaScript"], typescript: ["TS", "TypeScript"], python: ["PY", "Python"] };
export const Lang = ({ of }: { of: string }) => (
  <span class="lang" title={LANGUAGES[of]?.[1]}>
    {LANGUAGES[of]?.[0] ?? "?"}
  </span>
);
export const languageName = (of: string): string => LANGUAGES[of]?.[1] ?? of;

export const StatusMark = ({ status, pill, word }: { status: string; pill?: boolean; word?: string }) => (
  <span class={`st ${status} ${pill ? "pill" : ""}`}>
    <Icon name={`st-${status}`} />
    {word ?? status}
  </span>
);

let now = Date.now();
const clocks = new Set<() => void>();
setInterval(() => {
  if (document.hidden) return;
  now = Date.now();
  for (const tick of clocks) tick();
}, 1000);
export function useNow(): number {
  const [, set] = useState(0);
  useEffect(() => {
    now = Date.now();
    const tick = (): void => set(now);
    clocks.add(tick);
    return () => void clocks.delete(tick);
  }, []);
  return Math.max(now, Date.now() - 1000);
}

export function Ago({ at }: { at: string | null | undefined }) {
  const time = useNow();
  if (!at) return <>–</>;
  return (
    <time dateTime={at} title={exact(at)}>
      {ago(Date.parse(at), time)}
    </time>
  );
}

export function Segmented<T extends string>({ label, value, options, onChange, small, class: extra }: { label: string; value: T; options: [T, ComponentChildren][]; onChange: (v: T) => void; small?: boolean; class?: string }) {
  return (
    <div class={`seg ${small ? "sm" : ""} ${extra ?? ""}`} role="group" aria-label={label}>
      {options.map(([key, text]) => (
        <button type="button" key={key} aria-pressed={key === value} onClick={() => onChange(key)}>
          {text}
        </button>
      ))}
    </div>
  );
}

export const Switch = ({ on, label, onChange, off }: { on: boolean; label: string; onChange: (on: boolean) => void; off?: boolean }) => (
  <button type="button" class="switch over" role="switch" aria-checked={on} aria-label={label} disabled={off} onClick={() => onChange(!on)} />
);

export function Check({ on, label, onChange }: { on: boolean; label: string; onChange: (on: boolean) => void }) {
  return (
    <button type="button" class={`check over ${on ? "on" : ""}`} role="checkbox" aria-checked={on} aria-label={label} onClick={() => onChange(!on)}>
      <Icon name="check" />
    </button>
  );
}

type FieldProps = { label: string; help?: ComponentChildren; wrong?: string; children: (props: { id: string; "aria-describedby"?: string; "aria-invalid"?: boolean }) => ComponentChildren };
export function Field({ label, help, wrong, children }: FieldProps) {
  const id = useId();
  const about = wrong || help ? `${id}-h` : undefined;
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children({ id, "aria-describedby": about, "aria-invalid": wrong ? true : undefined })}
      {wrong ? (
        <span class="help bad" id={about}>
          {wrong}
        </span>
      ) : (
        help && (
          <span class="help" id={about}>
            {help}
          </span>
        )
      )}
    </div>
  );
}

type InputProps = Omit<JSX.InputHTMLAttributes<HTMLInputElement>, "value" | "onInput"> & { value: string; onInput: (v: string) => void; wrong?: boolean; children?: ComponentChildren };
export const Input = ({ value, onInput, wrong, children, ...rest }: InputProps) => (
  <div class={`in ${wrong ? "bad" : ""}`}>
    <input {...rest} value={value} onInput={(e) => onInput(e.currentTarget.value)} />
    {children}
  </div>
);

export function TextField({ label, help, wrong, value, onInput, ...rest }: { label: string; help?: ComponentChildren; wrong?: string | undefined } & Omit<InputProps, "wrong">) {
  return (
    <Field label={label} help={help} wrong={wrong}>
      {(props) => <Input {...rest} {...props} value={value} onInput={onInput} wrong={!!wrong} />}
    </Field>
  );
}

export function SelectField({ label, help, wrong, value, options, onChange }: { label: string; help?: ComponentChildren; wrong?: string; value: string; options: [string, string][]; onChange: (v: string) => void }) {
  return (
    <Field label={label} help={help} wrong={wrong}>
      {(props) => <Select {...props} value={value} options={options} onChange={onChange} />}
    </Field>
  );
}
export const Select = ({ value, options, onChange, ...rest }: { value: string; options: [string, string][]; onChange: (v: string) => void; id?: string; "aria-label"?: string }) => (
  <div class="in select">
    <select {...rest} value={value} onChange={(e) => onChange(e.currentTarget.value)}>
      {options.map(([key, text]) => (
        <option key={key} value={key}>
          {text}
        </option>
      ))}
    </select>
    <Icon name="down" small />
  </div>
);

export function FilterField({ value, onInput, label, placeholder, icon = "filter", class: extra }: { value: string; onInput: (v: string) => void; label: string; placeholder: string; icon?: string; class?: string }) {
  return (
    <div class={`in filter ${extra ?? ""}`}>
      <Icon name={icon} />
      <input type="search" data-filter aria-label={label} placeholder={placeholder} value={value} onInput={(e) => onInput(e.currentTarget.value)} onKeyDown={(e) => e.key === "Escape" && !value && e.currentTarget.blur()} />
      <kbd class="wide" aria-hidden="true">
        /
      </kbd>
    </div>
  );
}

export function Notice({ kind, icon = "warn", children, actions }: { kind?: "bad" | "warn"; icon?: string; children: ComponentChildren; actions?: ComponentChildren }) {
  return (
    <div class={`note ${kind ?? ""}`} role={kind ? "alert" : "status"}>
      <Icon name={icon} />
      <div class="grow">{children}</div>
      {actions && <div class="acts">{actions}</div>}
    </div>
  );
}

/** What did not work, where the action was: what happened, what to do, the request's id to copy. */
export function Failed({ error, what, retry }: { error: unknown; what?: string; retry?: () => void }) {
  const id = error instanceof ApiError ? error.problem.request_id : null;
  return (
    <Notice kind="bad" actions={retry && <Button onClick={retry}>Try again</Button>}>
      {what && <b>{what} </b>}
      <span>{sayError(error)}</span>
      {id && <span class="meta"> Request {id}</span>}
    </Notice>
  );
}

export function Bones({ rows = 6 }: { rows?: number }) {
  const late = useLater(true, 150);
  return (
    <div class="bones page stack" aria-busy="true" aria-label="Loading">
      {late && Array.from({ length: rows }, (_, k) => <div class="bone" key={k} style={{ width: `${70 - ((k * 17) % 40)}%` }} />)}
    </div>
  );
}

export const Empty = ({ title, children, actions }: { title: string; children?: ComponentChildren; actions?: ComponentChildren }) => (
  <div class="empty">
    <h2>{title}</h2>
    {children && <p>{children}</p>}
    {actions && <div class="acts">{actions}</div>}
  </div>
);

export const Meter = ({ used, of, kind }: { used: number; of: number; kind?: "err" }) => (
  <div class={`meter ${kind ?? (of && used / of >= 0.9 ? "full" : "")}`}>
    {used > 0 && <i style={{ width: `max(2px, ${of ? Math.min(100, (used / of) * 100) : 0}%)` }} />}
  </div>
);

export function useCopied(): [boolean, (text: string) => void] {
  const [copied, set] = useState(false);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  return [
    copied,
    (text) => {
      void navigator.clipboard.writeText(text).then(() => {
        set(true);
        clearTimeout(timer.current);
        timer.current = setTimeout(() => set(false), 1500);
      });
    },
  ];
}
export function CopyButton({ text, label, small = true, class: extra }: { text: string; label: string; small?: boolean; class?: string }) {
  const [copied, copy] = useCopied();
  return <Button kind="bare" small={small} icon={copied ? "check" : "copy"} label={copied ? "Copied" : label} class={`over ${extra ?? ""}`} onClick={() => copy(text)} />;
}

export const Facts = ({ items }: { items: [string, ComponentChildren][] }) => (
  <dl class="facts">
    {items.map(([name, value]) => [<dt key={name}>{name}</dt>, <dd key={`${name}-v`}>{value}</dd>])}
  </dl>
);
