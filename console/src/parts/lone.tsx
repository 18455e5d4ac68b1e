import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { Mark } from "./basic.tsx";

/** A page outside of a project: sign-in, an invitation, or why there is nothing else to show. */
export function Lone({ title, foot, children }: { title: string; foot?: ComponentChildren; children: ComponentChildren }) {
  useEffect(() => {
    document.title = `${title} · zMesh`;
  }, [title]);
  return (
    <main class="signin">
      <div class="signin-in">
        <Mark />
        <h1>{title}</h1>
        {children}
      </div>
      <footer class="meta">{foot}</footer>
    </main>
  );
}
