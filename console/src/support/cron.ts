import { shortClock, weekday } from "./format.ts";

const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const SHORT = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const pad = (n: string): string => n.padStart(2, "0");

/** Words for the patterns people write most; null for the others, which stand as they are. */
export function cronWords(cron: string): string | null {
  const seconds = /^(\d+) seconds?$/.exec(cron.trim());
  if (seconds) return seconds[1] === "1" ? "Every second" : `Every ${seconds[1]} seconds`;
  const parts = cron.trim().split(/\s+/);
  if (parts.length !== 5) return null;
  const [minute, hour, date, month, dow] = parts as [string, string, string, string, string];
  const everyDay = date === "*" && month === "*" && dow === "*";
  if (everyDay && hour === "*") {
    if (minute === "*") return "Every minute";
    const step = /^\*\/(\d+)$/.exec(minute);
    if (step) return `Every ${step[1]} minutes`;
    return /^\d+$/.test(minute) ? (minute === "0" ? "Every hour" : `Every hour at minute ${minute}`) : null;
  }
  if (everyDay && /^\*\/\d+$/.test(hour) && /^\d+$/.test(minute)) return `Every ${hour.slice(2)} hours at minute ${minute}`;
  if (!/^\d+$/.test(minute) || !/^\d+$/.test(hour)) return null;
  const at = `at ${pad(hour)}:${pad(minute)}`;
  if (everyDay) return `Every day ${at}`;
  if (date === "*" && month === "*") {
    const day = dayName(dow);
    return day && `${day} ${at}`;
  }
  if (/^\d+$/.test(date) && month === "*" && dow === "*") return `On the ${ordinal(Number(date))} ${at}`;
  return null;
}
function dayName(dow: string): string | null {
  const text = dow.toLowerCase();
  if (text === "1-5" || text === "mon-fri") return "On weekdays";
  const index = (d: string): number => (/^\d$/.test(d) ? Number(d) % 7 : SHORT.indexOf(d.slice(0, 3)));
  const days = text.split(",").map(index);
  return days.every((d) => d >= 0) ? days.map((d) => `${DAYS[d]}s`).join(" and ") : null;
}
const ordinal = (n: number): string => `${n}${n % 10 === 1 && n !== 11 ? "st" : n % 10 === 2 && n !== 12 ? "nd" : n % 10 === 3 && n !== 13 ? "rd" : "th"}`;

export const ownZone = (): string => Intl.DateTimeFormat().resolvedOptions().timeZone;
export const zoneName = (zone: string): string => zone.split("/").at(-1)!.replaceAll("_", " ");

/** When the reader's clock shows another time than before for the same time over there: clocks changed between them. */
export function clockChange(due: string[], zone: string, reader: string): { at: string; time: string } | null {
  for (let k = 1; k < due.length; k++) {
    const sameThere = shortClock(due[k - 1]!, zone) === shortClock(due[k]!, zone);
    if (sameThere && shortClock(due[k - 1]!, reader) !== shortClock(due[k]!, reader)) return { at: weekday(due[k]!, reader), time: shortClock(due[k]!, reader) };
  }
  return null;
}
