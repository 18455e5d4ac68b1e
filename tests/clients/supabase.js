// Calls functions with the unmodified client of Supabase and prints what it got, as one JSON object.

const { FunctionsClient, FunctionsHttpError } = require('@supabase/functions-js');

const [url, key] = process.argv.slice(2);
const functions = new FunctionsClient(`${url}/api/functions`, { headers: { 'x-api-key': key } });

async function main() {
  const seen = {};
  seen.returned = (await functions.invoke('client-echo', { body: { n: 1 } })).data;
  seen.json = (await functions.invoke('client-json', { body: { n: 1 }, headers: { 'x-mine': 'yes' } })).data;
  seen.text = (await functions.invoke('client-text', { body: 'grüße' })).data;
  seen.method = (await functions.invoke('client-json', { method: 'GET' })).data.method;
  const { data: blob } = await functions.invoke('client-binary', { body: new Uint8Array([0, 127, 255]).buffer });
  seen.binary = [...new Uint8Array(await blob.arrayBuffer())];
  const form = new FormData();
  form.append('file', new Blob(['abc']), 'a.txt');
  seen.form = (await functions.invoke('client-form', { body: form })).data;
  const { data, error, response } = await functions.invoke('client-error', { body: {} });
  const { status, error: own } = await error.context.json();
  seen.error = { data, isHttpError: error instanceof FunctionsHttpError, code: response.status, status, type: own.type };
  const unknown = await functions.invoke('client-unknown');
  seen.problem = (await unknown.error.context.json()).code;
  const { data: stream } = await functions.invoke('client-stream', { body: { count: 3 } });
  seen.stream = '';
  for await (const chunk of stream.body.pipeThrough(new TextDecoderStream())) seen.stream += chunk;
  console.log(JSON.stringify(seen));
}

main();
