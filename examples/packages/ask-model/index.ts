// Sorts a customer's message into one of a few kinds with a language model, by the OpenAI SDK.
// It needs the secret OPENAI_API_KEY; OPENAI_BASE_URL names another server with the same API, such as a local one.
import OpenAI from "openai";

const KINDS = ["invoice", "delivery", "return", "other"];

export async function handler({ message }: { message: string }, zmesh: any) {
  const { OPENAI_API_KEY, OPENAI_BASE_URL, MODEL = "gpt-4o-mini" } = zmesh.env;
  const client = new OpenAI({ apiKey: OPENAI_API_KEY, baseURL: OPENAI_BASE_URL, maxRetries: 1 });
  const { choices, usage } = await client.chat.completions.create({
    model: MODEL,
    messages: [
      { role: "system", content: `Answer with one word, the kind of the message: ${KINDS.join(", ")}.` },
      { role: "user", content: message },
    ],
  });
  const answer = choices[0].message.content?.trim().toLowerCase() ?? "";
  console.log(`${usage?.total_tokens ?? "?"} tokens`);
  return { kind: KINDS.includes(answer) ? answer : "other" };
}
