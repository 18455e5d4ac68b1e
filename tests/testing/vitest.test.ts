// Tests of functions with vitest; test_javascript.py runs this file.
import { expect, test } from 'vitest';
import { withZmesh } from 'zmesh/testing';
import { keepOrder } from './keep-order';
import { handler } from './common-js.js';

test('a handler in TypeScript works on the database of the test', withZmesh(async (zmesh) => {
  expect(await keepOrder({ item: 'tea' }, zmesh)).toMatchObject({ item: 'tea' });
  expect(await zmesh.enqueued()).toMatchObject([{ function: 'send-receipt' }]);
}));

test('and what it did is rolled back', withZmesh(async (zmesh) => {
  expect(await zmesh.db.select('orders')).toEqual([]);
}));

test('a handler in CommonJS works too', withZmesh(async (zmesh) => {
  expect(await handler({ n: 2 }, zmesh)).toBe(4);
}));

test('this one fails', () => {
  expect(1).toBe(2);
});
