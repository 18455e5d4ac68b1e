import { Link, useLocation } from "wouter-preact";
import { signOut, useHere } from "../state/session.ts";
import { at } from "../support/routes.ts";
import { Button, Icon } from "../parts/basic.tsx";
import { Bar, ownPages } from "../parts/shell.tsx";

/** What the bottom bar of a phone has no room for. */
export default function More() {
  const { session, project, may } = useHere();
  const [, go] = useLocation();
  return (
    <>
      <Bar title="More" line />
      <div class="scroll">
        <div class="page stack">
          {ownPages(may).map((g) => (
            <nav class="nav" aria-label={g.label} key={g.label}>
              {g.name && <h2>{g.name}</h2>}
              {g.links.map(([key, icon, text]) => (
                <Link key={key} href={at(key)}>
                  <Icon name={icon} />
                  <span>{text}</span>
                </Link>
              ))}
            </nav>
          ))}
          <p class="soft">
            {session.user.email}, {project.role} of {project.name}
          </p>
          <div class="row wrap">
            {session.projects
              .filter((p) => p.slug !== project.slug)
              .map((p) => (
                <Button key={p.id} onClick={() => location.assign(`/p/${p.slug}/functions`)}>
                  {p.name}
                </Button>
              ))}
            <Button onClick={() => go("/parts")}>All parts</Button>
            <Button onClick={() => void signOut().then(() => location.assign("/signin"))}>Sign out</Button>
          </div>
        </div>
      </div>
    </>
  );
}
