// Loaded once in a template, so that the compiler and the loader are warm in its runs. Nothing of it is used.

import fs, { readFileSync as read } from 'node:fs';
import * as path from 'node:path';
import pg from 'pg';
import type { Shape } from './shapes';
import { Color, Shapes, area, type Named } from './shapes';
import common from './common.cjs';
import data from './data.json' with { type: 'json' };

type Pair<Left, Right = Left> = readonly [Left, Right];
interface Job<Result> extends Named {
  run(payload: unknown, ...rest: string[]): Promise<Result | null>;
  [key: string]: unknown;
}

abstract class Base<Result> implements Named {
  static #count = 0;
  declare readonly kind: 'base';
  protected name = 'base' as const;
  constructor(private readonly limit: number = 10, public label?: string) {
    Base.#count += 1;
  }
  abstract run(value: Result): Promise<Result>;
  get size(): number {
    return this.limit!;
  }
}

class Work extends Base<number> {
  override async run(value: number): Promise<number> {
    for await (const one of this.values(value)) if (one > this.size) break;
    return value satisfies number;
  }
  private async *values(limit: number): AsyncGenerator<number, void, undefined> {
    for (let n = 0; n < limit; n++) yield n ** 2;
  }
}

function isNamed(value: unknown): value is Named {
  return typeof value === 'object' && value !== null && 'name' in value;
}

const first = <Value,>(pair: Pair<Value>): Value => pair[0];
const options: Record<string, number> = { one: 1, ...{ two: 2 }, [`three${first(['x', 'y'])}`]: 3 };
const { one = 1, ...others } = options;

export const handler = async (payload: { id?: string }, zmesh?: Job<Shape>): Promise<unknown> => {
  try {
    const worked: number = await new Work(5).run(3);
    const id = payload?.id ?? (zmesh as Named | undefined)?.name;
    switch (Color.Red as Color) {
      case Color.Red:
        return { worked, id, one, others, area: area({ side: Shapes.sides(2) }), isNamed: isNamed(payload), common, data };
      default:
        return [typeof read, typeof path.join, typeof fs, typeof pg.Client, /a+/u.test(`${id}`)];
    }
  } catch (error) {
    throw new TypeError('rehearsed', { cause: error });
  }
};

export default { handler };
export type { Job };
export { area as size } from './shapes';
