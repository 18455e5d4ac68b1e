import { Link } from "wouter-preact";
import { api, must } from "../api/client.ts";
import { useData } from "../state/data.ts";
import { presetName } from "../support/presets.ts";
import { at, withQuery } from "../support/routes.ts";
import { invokeSnippets } from "../support/snippets.ts";
import { useHere } from "../state/session.ts";
import { Ago, Bones, Icon } from "../parts/basic.tsx";
import { Box } from "../parts/data.tsx";
import { SnippetTabs } from "../parts/overlays.tsx";
import type { FunctionProps } from "./function.tsx";

/** Everything that starts this function by itself, and how to call it. */
export default function Triggers({ fn }: FunctionProps) {
  const { may } = useHere();
  const schedules = useData("schedules", () => must(api.GET("/schedules", { params: { query: { limit: 100 } } })));
  const webhooks = useData("webhooks", () => must(api.GET("/webhooks", { params: { query: { limit: 100 } } })));
  const changes = useData("changes", () => must(api.GET("/changes")));
  if (!schedules.data || !webhooks.data || !changes.data) return <Bones />;
  const own = <T extends { function_id: string | null }>(items: T[]): T[] => items.filter((i) => i.function_id === fn.id);
  const add = (page: string, text: string) =>
    may("developer") ? (
      <Link class="btn sm" href={withQuery(at(page), { new: fn.slug })}>
        {text}
      </Link>
    ) : undefined;
  return (
    <div class="scroll">
      <div class="page stack form">
        <Box title="Call it">
          <div class="body">
            <SnippetTabs snippets={invokeSnippets(location.origin, fn.slug, {})} />
          </div>
        </Box>
        <Box title="Schedules" actions={add("schedules", "New schedule")}>
          <ul class="simple">
            {own(schedules.data.items).map((s) => (
              <li key={s.id}>
                <Icon name="clock" small />
                <Link class="link" href={at("schedules", s.id)}>
                  {s.name}
                </Link>
                <span class="mono quiet">{s.cron}</span>
                <span class="meta end">{s.enabled ? <>next <Ago at={s.next_due_at} /></> : "paused"}</span>
              </li>
            ))}
            {!own(schedules.data.items).length && <li class="soft">No schedule invokes this function.</li>}
          </ul>
        </Box>
        <Box title="Webhooks" actions={add("webhooks", "New webhook")}>
          <ul class="simple">
            {own(webhooks.data.items).map((w) => (
              <li key={w.id}>
                <Icon name="hook" small />
                <Link class="link" href={at("webhooks", w.id)}>
                  {w.name}
                </Link>
                <span class="quiet">{presetName(w.preset)}</span>
                <span class="meta end">{w.enabled ? "" : "disabled"}</span>
              </li>
            ))}
            {!own(webhooks.data.items).length && <li class="soft">No webhook invokes this function.</li>}
          </ul>
        </Box>
        <Box title="Table changes" actions={add("changes", "Follow a table")}>
          <ul class="simple">
            {own(changes.data.items).map((c) => (
              <li key={c.table}>
                <Icon name="table" small />
                <span class="m">{c.table}</span>
                <span class="quiet">{c.events.join(", ").toLowerCase()}</span>
              </li>
            ))}
            {!own(changes.data.items).length && <li class="soft">No table change invokes this function.</li>}
          </ul>
        </Box>
      </div>
    </div>
  );
}
