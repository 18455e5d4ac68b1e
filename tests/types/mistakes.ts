// Each line after a comment with @ts-expect-error has to be refused.
import type { Zmesh } from './zmesh';

export async function mistakes(zmesh: Zmesh): Promise<void> {
  // @ts-expect-error a condition is text or an object of columns
  await zmesh.db.select('users', 5);
  // @ts-expect-error params apply only to a condition in SQL
  await zmesh.db.select('users', { id: 1 }, [1]);
  // @ts-expect-error update needs a condition
  await zmesh.db.update('users', { id: 1 });
  // @ts-expect-error params are an array
  await zmesh.db.query('select $1', 5);
  // @ts-expect-error there is no such option
  await zmesh.enqueue('greet', {}, { later: true });
}
