/** Round times of the reader's clock for an axis of time: at most five, none where it would touch the ends. */
const MINUTE = 60_000;
const DAY = 1440 * MINUTE;
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 7200, 14400].map((minutes) => minutes * MINUTE);

export function timeTicks(from: number, length: number): number[] {
  const step = STEPS.find((s) => length / s <= 5) ?? 30 * DAY;
  // Multiples of a step in local time; days begin at the reader's midnight.
  const offset = new Date(from).getTimezoneOffset() * MINUTE;
  const first = Math.ceil((from - offset + 0.04 * length) / step) * step + offset;
  const ticks: number[] = [];
  for (let at = first; at <= from + 0.92 * length; at += step) ticks.push(at);
  return ticks;
}
