// What tests of functions do; it must compile.
import { Failure, withZmesh } from 'zmesh/testing';
import type { Zmesh } from './zmesh';

const handler = async (payload: { item: string }, zmesh: Zmesh) => zmesh.db.insert('orders', payload);
const test = (name: string, run: (t: { name: string }) => Promise<void>) => run({ name });

test('an order is kept', withZmesh(async (zmesh, t: { name: string }) => {
  zmesh.env.KEY = t.name;
  zmesh.answers.price = new Failure('sold_out', 'no tea left');
  zmesh.setRequest('POST', '/', { body: { item: 'tea' } }).json();
  await handler({ item: 'tea' }, zmesh);
  zmesh.clock.advance(3600);
  const [receipt] = await zmesh.enqueued();
  return receipt!.runAt.getTime();
}));
