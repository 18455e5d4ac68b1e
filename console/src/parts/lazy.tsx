import type { ComponentType, FunctionComponent } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Bones, Failed } from "./basic.tsx";

/** A page that is fetched when it is first opened. */
export function lazily<P extends object>(load: () => Promise<{ default: ComponentType<P> }>): FunctionComponent<P> {
  let Loaded: ComponentType<P> | null = null;
  return function Lazy(props: P) {
    const [, redraw] = useState(0);
    const [failed, setFailed] = useState<unknown>();
    useEffect(() => {
      if (Loaded) return;
      let on = true;
      void load().then(
        (m) => {
          Loaded = m.default;
          if (on) redraw(1);
        },
        (e) => on && setFailed(e),
      );
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
  };
}
