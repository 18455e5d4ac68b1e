import type { ComponentType, FunctionComponent } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Bones, Failed } from "./basic.tsx";

export type Lazy<P> = FunctionComponent<P> & { load: () => Promise<void> };

/** A page that is fetched when it is first opened, or earlier by `load`. */
export function lazily<P extends object>(load: () => Promise<{ default: ComponentType<P> }>): Lazy<P> {
  let Loaded: ComponentType<P> | null = null;
  const ready = async (): Promise<void> => {
    Loaded ??= (await load()).default;
  };
  function Lazy(props: P) {
    const [, redraw] = useState(0);
    const [failed, setFailed] = useState<unknown>();
    useEffect(() => {
      if (Loaded) return;
      let on = true;
      void ready().then(() => on && redraw(1), (e) => on && setFailed(e));
      return () => {
        on = false;
      };
    }, []);
    if (failed)
      return (
        <div class="page">
          <Failed error={new Error("A new version may have been installed. Reload the page.")} what="This page could not be loaded." retry={() => location.reload()} />
        </div>
      );
    return Loaded ? <Loaded {...props} /> : <Bones />;
  }
  return Object.assign(Lazy, { load: ready });
}
