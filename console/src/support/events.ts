/** What a sender calls the event of a delivery, by the headers that the large ones use. */
const HEADERS = ["x-github-event", "x-gitlab-event", "x-gitea-event", "x-event-key", "x-shopify-topic", "x-event-type", "x-event-name", "x-event", "ce-type"];

export function eventOf(headers: Record<string, string> | null): string | null {
  for (const name of HEADERS) if (headers?.[name]) return headers[name];
  return null;
}
