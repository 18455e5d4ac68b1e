// graphile-worker, measured by bench.queue_side_by_side: node graphile_worker.mjs URL JOBS SAMPLES SETTING

import { Logger, makeWorkerUtils, run } from "graphile-worker";
import pg from "pg";

const [url, jobs, samples, setting] = process.argv.slice(2);
const SETTINGS = {
  default: { concurrentJobs: 10 },
  batched: { concurrentJobs: 24, worker: { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
};
const CHUNK = 1000;

const preset = { worker: { connectionString: url, logger: new Logger(() => () => {}), ...worker(SETTINGS[setting]) } };
const pool = new pg.Pool({ connectionString: url, max: 1 });
const utils = await makeWorkerUtils({ preset });
await utils.migrate();
let onStart = () => {};
const taskList = { noop: async () => onStart() };

function worker({ concurrentJobs, worker: more = {} }) {
  return { concurrentJobs, maxPoolSize: concurrentJobs, ...more };
}

async function enqueue() {
  const started = performance.now();
  for (let at = 0; at < jobs; at += CHUNK) {
    await utils.addJobs(Array.from({ length: CHUNK }, (_, n) => ({ identifier: "noop", payload: { n: at + n } })));
  }
  return jobs / (performance.now() - started) * 1000;
}

async function drain() {
  let first;
  let left = Number(jobs);
  const ran = new Promise((resolve) => {
    onStart = () => {
      first ??= performance.now();
      if (--left === 0) resolve();
    };
  });
  const runner = await run({ preset, taskList, noHandleSignals: true });
  await ran;
  while ((await pool.query("select exists (select from graphile_worker._private_jobs) as some")).rows[0].some);
  const seconds = (performance.now() - first) / 1000;
  await runner.stop();
  return jobs / seconds;
}

async function latencies() {
  const runner = await run({ preset, taskList, noHandleSignals: true });
  const seen = [];
  for (let n = -20; n < samples; n++) {
    const begun = new Promise((resolve) => { onStart = () => resolve(performance.now()); });
    const started = performance.now();
    await utils.addJob("noop", { n });
    const ms = await begun - started;
    if (n >= 0) seen.push(ms);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  await runner.stop();
  return seen;
}

console.log(JSON.stringify({ enqueue: await enqueue(), drain: await drain(), latencies: await latencies() }));
await utils.release();
await pool.end();
