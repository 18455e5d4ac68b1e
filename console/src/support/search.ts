/** How well the letters of `wanted` fit into `text`: whole word, beginning, in one piece, or in order; null: not at all. */
export function fit(wanted: string, text: string): number | null {
  const [w, t] = [wanted.toLowerCase().trim(), text.toLowerCase()];
  if (!w) return 0;
  if (t === w) return 100;
  if (t.startsWith(w)) return 80;
  const found = t.indexOf(w);
  if (found >= 0) return /[\s\-_/]/.test(t[found - 1] ?? "") ? 70 : 60;
  let at = 0;
  let gaps = 0;
  for (const letter of w) {
    const next = t.indexOf(letter, at);
    if (next < 0) return null;
    gaps += next - at;
    at = next + 1;
  }
  return Math.max(1, 40 - gaps);
}
