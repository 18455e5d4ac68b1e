// In how many ways can n queens stand on an n × n board with none attacking another?
// TypeScript: the types are stripped when the code is loaded, so there is nothing to build.
//
// Payload: { "n": 8 }

interface Payload {
  n?: number;
}

interface Answer {
  n: number;
  solutions: number;
}

// Each argument is a set of columns, one bit a column: taken by a queen, or attacked along either diagonal.
function count(all: number, columns: number, left: number, right: number): number {
  if (columns === all) return 1;
  let solutions = 0;
  let free = all & ~(columns | left | right);
  while (free) {
    const queen = free & -free; // the lowest free column
    free ^= queen;
    solutions += count(all, columns | queen, (left | queen) << 1, (right | queen) >> 1);
  }
  return solutions;
}

exports.handler = (payload: Payload): Answer => {
  const n: number = payload.n ?? 8;
  if (!Number.isInteger(n) || n < 1 || n > 14) throw new RangeError("n must be a whole number from 1 to 14");
  return { n, solutions: count((1 << n) - 1, 0, 0, 0) };
};
