// Uses of the zmesh object that the declarations must allow.
import type { Handler, Zmesh } from './zmesh';

const { createHmac } = require('node:crypto');

interface User {
  id: number;
  name: string;
}

const handler: Handler<{ id: number; body: string }> = async (payload, zmesh) => {
  const users = await zmesh.db.select<User>('users', { id: [payload.id, null], name: 'Ada' });
  await zmesh.db.update('users', { name: undefined }, { id: payload.id });
  await zmesh.db.update('users', { name: 'Ada' }, 'id = $1', [payload.id]);
  await zmesh.db.remove('users', { id: payload.id });
  await zmesh.db.transaction(async (tx) => tx.insert('users', { file: Buffer.from(payload.body, 'base64') }));
  const signature: string = createHmac('sha256', process.env.KEY).update(payload.body).digest('hex');
  const answer = await fetch(new URL('https://a.example'), { headers: { signature } });
  return zmesh.response(await answer.text(), { status: users[0]?.id ?? 404 });
};
exports.handler = handler;

export const greet = (name: string, zmesh: Zmesh): Promise<string> => zmesh.enqueue('greet', { name }, { priority: 5 });
