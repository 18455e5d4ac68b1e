// The zmesh object of tests in JavaScript; test_javascript.py runs this file.
import assert from 'node:assert';
import { test } from 'node:test';
import { Failure, withZmesh } from 'zmesh/testing';

const place = (zmesh, item) =>
  zmesh.db.transaction(async (tx) => {
    await zmesh.enqueue('send-receipt', { item }, { delaySeconds: 3600 });
    return await tx.insert('orders', { item });
  });
const items = async (zmesh) => (await zmesh.db.select('orders')).map((row) => row.item);
const functions = async (zmesh) => (await zmesh.enqueued()).map((one) => one.function);

for (const turn of ['first', 'second']) {
  test(`what a test does is rolled back: ${turn} turn`, withZmesh(async (zmesh, t) => {
    assert.match(t.name, /rolled back/);
    assert.equal(globalThis.zmesh, zmesh);
    assert.deepEqual(await items(zmesh), []);
    await place(zmesh, 'tea');
    assert.deepEqual(await items(zmesh), ['tea']);
  }));
}

test('a transaction that fails takes back its rows and what it enqueued', withZmesh(async (zmesh) => {
  await place(zmesh, 'tea');
  await assert.rejects(place(zmesh, null), { code: '23502' });
  assert.deepEqual(await items(zmesh), ['tea']);
  assert.deepEqual(await functions(zmesh), ['send-receipt']);
}));

test('a statement that fails leaves the others as they are', withZmesh(async (zmesh) => {
  await place(zmesh, 'tea');
  await assert.rejects(zmesh.db.query("insert into orders (item) values ('coffee'); select 1 / 0"), /division by zero/);
  assert.deepEqual(await items(zmesh), ['tea']);
}));

test('a failed statement fails its transaction', withZmesh(async (zmesh) => {
  const swallow = zmesh.db.transaction((tx) => tx.query('select 1 / 0').catch(() => {}));
  await assert.rejects(swallow, /rolled back: a statement/);
  assert.deepEqual(await zmesh.db.queryOne('select 1 as one'), { one: 1 });
}));

test('deferred constraints are checked where a run would commit', withZmesh(async (zmesh) => {
  await assert.rejects(zmesh.db.insert('orders', { item: 'tea', parent: 0 }), { code: '23503' });
  for (let turn = 0; turn < 2; turn++) {
    await zmesh.db.transaction(async (tx) => {
      const { id } = await tx.insert('orders', { item: 'tea', parent: 0 });
      await tx.update('orders', { parent: id }, { id });
    });
  }
  assert.equal((await items(zmesh)).length, 2);
}));

test('code that commits by itself is told', withZmesh(async (zmesh) => {
  await assert.rejects(zmesh.db.query('commit'), /use zmesh\.db\.transaction/);
  await place(zmesh, 'tea'); // rolled back: other tests would see it
}));

test('a test that does not await its work fails, and the next one sees nothing of it', async () => {
  const forgets = withZmesh(async (zmesh) => void zmesh.db.insert('orders', { item: 'tea' }));
  await assert.rejects(forgets(), /await everything that uses zmesh/);
  const forgetsLater = withZmesh(async (zmesh) => {
    await items(zmesh);
    zmesh.db.query('select pg_sleep(3600)');
  });
  await assert.rejects(forgetsLater(), /await everything that uses zmesh/);
  await withZmesh(async (zmesh) => assert.deepEqual(await items(zmesh), []))();
});

test('an error of the test comes before its work that nobody awaited', async () => {
  const fails = withZmesh(async (zmesh) => {
    zmesh.db.query('select pg_sleep(3600)');
    throw new Error('the reason');
  });
  await assert.rejects(fails(), /the reason/);
});

test('what starts after its test is refused', async () => {
  let ended;
  await withZmesh(async (zmesh) => void (ended = zmesh))();
  await assert.rejects(ended.db.select('orders'), /this test has ended/);
});

test('due times follow a clock that stands still', withZmesh(async (zmesh) => {
  zmesh.clock.set('2030-01-01T00:00:00Z');
  await place(zmesh, 'tea');
  const [receipt] = await zmesh.enqueued();
  assert.equal(receipt.runAt.toISOString(), '2030-01-01T01:00:00.000Z');
  zmesh.clock.advance(3599);
  assert.deepEqual(await zmesh.due(), []);
  zmesh.clock.advance(1);
  assert.deepEqual(await zmesh.due(), [receipt]);
  assert.throws(() => zmesh.clock.set('tomorrow'), /not a time/);
}));

test('options are checked and recorded', withZmesh(async (zmesh) => {
  const first = await zmesh.enqueue('a', {}, { idempotencyKey: 'k', priority: 7, version: 3 });
  assert.equal(await zmesh.enqueue('a', {}, { idempotencyKey: 'k' }), first);
  const [one, ...others] = await zmesh.enqueued();
  assert.deepEqual([one.id, one.priority, one.version, one.idempotencyKey, others.length], [first, 7, 3, 'k', 0]);
  await assert.rejects(zmesh.enqueue('b', {}, { priority: 1000 }), /priority/);
}));

test('invoke is answered by the test', withZmesh(async (zmesh) => {
  zmesh.answers.price = ({ n }) => ({ cents: n * 3, day: new Date(0) });
  zmesh.answers.stock = new Failure('sold_out', 'no tea left');
  assert.deepEqual(await zmesh.invoke('price', { n: 2 }, { version: 4 }), { cents: 6, day: '1970-01-01T00:00:00.000Z' });
  await assert.rejects(zmesh.invoke('stock'), { name: 'InvocationError', type: 'sold_out', message: 'no tea left' });
  await assert.rejects(zmesh.invoke('mail'), /zmesh\.answers\['mail'\]/);
  assert.deepEqual(zmesh.invoked.map((one) => one.function), ['price', 'stock', 'mail']);
}));

test('variables and the request are those of the test', withZmesh(async (zmesh) => {
  zmesh.env.STRIPE_KEY = 'sk_test';
  zmesh.setRequest('post', '/orders', { query: { tag: ['a', 'b'] }, headers: { 'X-Id': '7' }, body: { item: 'tea' } });
  assert.equal(zmesh.request.method, 'POST');
  assert.deepEqual(zmesh.request.json(), { item: 'tea' });
  assert.deepEqual([zmesh.request.queryAll, zmesh.request.rawQuery], [{ tag: ['a', 'b'] }, 'tag=a&tag=b']);
  assert.deepEqual(zmesh.request.headers, { 'content-type': 'application/json', 'x-id': '7' });
}));
