import { useState } from "preact/hooks";
import { Link, useLocation } from "wouter-preact";
import { signOut, useHere } from "../state/session.ts";
import { at } from "../support/routes.ts";
import { Button, Icon, Segmented } from "../parts/basic.tsx";
import { Bar, chosenScheme, ownPages, setScheme } from "../parts/shell.tsx";

/** What the bottom bar of a phone has no room for. */
export default function More() {
  const { session, project, may } = useHere();
  const [, go] = useLocation();
  const [scheme, put] = useState(chosenScheme);
  const others = session.projects.filter((p) => p.slug !== project.slug);
  return (
    <>
      <Bar title="More" line />
      <div class="scroll">
        <div class="page stack more-page">
          {ownPages(may).map((g) => (
            <nav class="nav" aria-label={`${g.label}, all pages`} key={g.label}>
              {g.name && <h2>{g.name}</h2>}
              {g.links.map(([key, icon, text]) => (
                <Link key={key} href={at(key)}>
                  <Icon name={icon} />
                  <span>{text}</span>
                </Link>
              ))}
            </nav>
          ))}
          {others.length > 0 && (
            <nav class="nav" aria-label="Other projects">
              <h2>Other projects</h2>
              {others.map((p) => (
                <a key={p.id} href={`/p/${p.slug}/functions`}>
                  <Icon name="folder" />
                  <span class="cut">{p.name}</span>
                </a>
              ))}
            </nav>
          )}
          <Segmented
            label="Colours"
            value={scheme}
            options={[
              ["", "Like the system"],
              ["light", "Light"],
              ["dark", "Dark"],
            ]}
            onChange={(v) => (setScheme(v), put(v))}
          />
          <p class="soft">
            {session.user.email}, {project.role} of {project.name}
          </p>
          <div class="row wrap">
            <Button onClick={() => go("/parts")}>All parts</Button>
            <Button onClick={() => void signOut().then(() => location.assign("/signin"))}>Sign out</Button>
          </div>
        </div>
      </div>
    </>
  );
}
