import type { ComponentType, FunctionComponent } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Bones, Button, Notice } from "./basic.tsx";

export type Lazy<P> = FunctionComponent<P> & { load: () => Promise<void> };

/** A page that is fetched when it is first opened, or earlier by `load`; `Place` keeps the room of a part until it is there. */
export function lazily<P extends object>(load: () => Promise<{ default: ComponentType<P> }>, Place?: FunctionComponent<P>): Lazy<P> {
  let Loaded: ComponentType<P> | null = null;
  const ready = async (): Promise<void> => {
    Loaded ??= (await load()).default;
  };
  function Lazy(props: P) {
    const [, redraw] = useState(0);
    const [failed, setFailed] = useState(false);
    useEffect(() => {
      if (Loaded) return;
      let on = true;
      void ready().then(() => on && redraw(1), () => on && setFailed(true));
      return () => {
        on = false;
      };
    }, []);
    if (failed) return <NotLoaded />;
    return Loaded ? <Loaded {...props} /> : Place ? <Place {...props} /> : <Bones />;
  }
  return Object.assign(Lazy, { load: ready });
}

const CHECKED_EVERY_MS = 3000;
const answers = (): Promise<boolean> => fetch("/health", { cache: "no-store" }).then((r) => r.ok, () => false);

/** The code of a page could not be loaded: the server does not answer, or has a newer console with other file names. */
function NotLoaded() {
  const [state, setState] = useState<"unknown" | "away" | "newer">("unknown");
  useEffect(() => {
    let wasAway = false;
    let timer: ReturnType<typeof setTimeout>;
    const check = async (): Promise<void> => {
      if (!(await answers())) {
        wasAway = true;
        setState("away");
        timer = setTimeout(() => void check(), CHECKED_EVERY_MS);
      } else if (wasAway) location.reload();
      else setState("newer");
    };
    void check();
    return () => clearTimeout(timer);
  }, []);
  if (state === "unknown") return <Bones />;
  return (
    <div class="page">
      {state === "away" ? (
        <Notice kind="warn">
          <b>This page could not be loaded: the server does not answer.</b> It opens as soon as it does.
        </Notice>
      ) : (
        <Notice icon="info" actions={<Button onClick={() => location.reload()}>Reload</Button>}>
          <b>The console has been updated since you opened it.</b> Reload to continue. Drafts are kept in this browser.
        </Notice>
      )}
    </div>
  );
}
