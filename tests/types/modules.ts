// What an ES module may use.

import type { Handler, Zmesh } from './zmesh';

const here: string = [import.meta.url, import.meta.dirname, import.meta.filename, import.meta.resolve('./x.js')].join();

export const handler: Handler<{ id: string }> = async (payload, zmesh) => zmesh.db.queryOne('select $1', [payload.id + here]);

export default async (payload: { id: string }, zmesh: Zmesh): Promise<unknown> => handler(payload, zmesh);
