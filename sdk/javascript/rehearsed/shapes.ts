export interface Shape {
  side: number;
}

export type Named = { readonly name?: string };

export enum Color {
  Red = 'red',
  Blue = 'blue',
}

export namespace Shapes {
  export const sides = (n: number): number => n * 2;
}

export function area({ side }: Shape): number {
  return side * side;
}
