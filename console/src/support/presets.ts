/** How senders sign what they send to a webhook, as forms and details name it. */
export const PRESETS: [string, string][] = [
  ["hmac", "HMAC of the body (generic)"],
  ["standard", "Standard Webhooks"],
  ["stripe", "Stripe"],
  ["github", "GitHub"],
  ["shopify", "Shopify"],
  ["slack", "Slack"],
  ["shared_secret", "A shared secret in a header"],
  ["none", "None: anybody who knows the URL"],
];

const SHORT: Record<string, string> = { hmac: "HMAC", shared_secret: "Shared secret", none: "Unsigned" };
export const presetName = (preset: string): string => SHORT[preset] ?? PRESETS.find(([key]) => key === preset)?.[1] ?? preset;
