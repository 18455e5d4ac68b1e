// Without anything that must be transformed.

import { join } from 'node:path';
import type { Named, Shape } from './shapes';

interface Job<Result> extends Named {
  run(shape: Shape, ...rest: string[]): Promise<Result | null>;
}

export class Work implements Job<number> {
  private readonly limit: number = 1;
  declare name?: string;
  async run(shape: Shape): Promise<number | null> {
    return (shape.side as number) > this.limit ? shape.side! : null;
  }
}

export const handler = async <Payload extends { id?: string }>(payload: Payload): Promise<string> => {
  const found: Record<string, unknown> = { ...payload, job: await new Work().run({ side: 2 } satisfies Shape) };
  return join('a', String(found.job ?? payload?.id));
};
