export type Toast = { id: number; text: string; action?: { label: string; run: () => void } };
let toasts: Toast[] = [];
let tell: (t: Toast[]) => void = () => {};
let next = 1;
export const watchToasts = (fn: (t: Toast[]) => void): void => {
  tell = fn;
};
export function dismiss(id: number): void {
  toasts = toasts.filter((t) => t.id !== id);
  tell(toasts);
}
export function toast(text: string, action?: Toast["action"]): void {
  toasts = [...toasts.slice(-2), { id: next++, text, action }];
  tell(toasts);
}
