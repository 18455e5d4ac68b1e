// What the types of the tables in tables.sql allow, and what they do not.
import type { TableInsert, TableRow, Zmesh } from './zmesh';

export const use = async (zmesh: Zmesh, name: string): Promise<unknown> => {
  const { db } = zmesh;
  const [order] = await db.select('orders', { item: 'lamp', mood: ['glad'], note: null });
  const item: string = order.item;
  const note: string | null = order.note;
  const total: string = order.total;
  const doubled: string | null = order.doubled;
  const amount: number = order.amount;
  const tag: string = order.tag;
  const marks: string[] | null = order.marks;
  const mood: 'glad' | 'it\'s "fine"' = order.mood;
  const moods: string | null = order.moods;
  const sizes: number[] = order.sizes;
  const at: Date = order.at;
  const days: number | undefined = order.span?.days;
  const place: string | null = order.place;
  const odd: string | null = order['odd name'];
  const x: number | undefined = order.spot?.x;
  const row: TableRow<'orders'> = await db.insert('orders', { item: 'desk', amount: 1, mood: 'glad', sizes: [1], data: {} });
  const more: TableInsert<'orders'> = { ...row, spot: '(1,2)', at: '2026-01-01', total: 5, moods: ['glad'], number: 7, raw: Buffer.from('') };
  await db.update('orders', { total: '5.00' }, { id: row.id });
  await db.update('orders', { note: null }, 'id = $1', [row.id]);
  await db.remove('orders', { id: [1, 2] });
  const [{ total: sum }] = await db.select('totals');
  const maybe: string | null = sum;
  const [{ n }] = await db.transaction((tx) => tx.select('counts'));
  const count: number | null = n;
  const [invoice] = await db.select('sales.invoices', 'paid order by id limit 1');
  await db.insert('Odd table', { id: 1 });
  await db.insert('notes', { note: 'new' });

  // @ts-expect-error: there is no such column
  await db.select('orders', { itm: 'lamp' });
  // @ts-expect-error: no label of the enum
  await db.select('orders', { mood: 'angry' });
  // @ts-expect-error: there is no such column
  order.itm;
  // @ts-expect-error: what must be there is missing
  await db.insert('orders', { item: 'desk' });
  // @ts-expect-error: there is no such column
  await db.insert('orders', { itm: 'desk', item: 'desk', amount: 1, mood: 'glad', sizes: [], data: {} });
  // @ts-expect-error: generated always
  await db.update('orders', { doubled: '1' }, 'id = 1');
  // @ts-expect-error: cannot be null
  await db.update('orders', { item: null }, 'id = 1');
  // @ts-expect-error: a view that nobody can write
  await db.insert('totals', { item: 'lamp' });
  // @ts-expect-error: may be null
  note.length;

  // Tables that are not known, and rows whose type is given, are as they were.
  const [other] = await db.select('elsewhere', { any: 1 });
  const [given] = await db.select<{ a: number }>('orders');
  const named = await db.insert(name, { any: other.thing });
  return [item, total, doubled, amount, tag, marks, mood, moods, sizes, at, days, place, odd, x, more, maybe, count,
    invoice.paid, given.a, named.any];
};
