/** Which values of a field of a cron line count, in order, and how it was said. */
export interface CronField {
  values: number[];
  /** It is "*": any value. */
  isAny: boolean;
}

/** A cron line in parts. Sunday is 0. */
export interface CronTimes {
  minutes: CronField;
  hours: CronField;
  days: CronField;
  months: CronField;
  weekdays: CronField;
  /** The same in numbers, for programs that know no names and no 7: "0 3 * * 0". */
  text: string;
}

const monthNames = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const dayNames = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];

interface FieldKind {
  title: string;
  from: number;
  to: number;
  /** Names stand for numbers from `from` on. */
  names?: readonly string[];
}

const kinds = [
  { title: 'minute', from: 0, to: 59 },
  { title: 'hour', from: 0, to: 23 },
  { title: 'day of month', from: 1, to: 31 },
  { title: 'month', from: 1, to: 12, names: monthNames },
  // 0 and 7 are both Sunday.
  { title: 'day of week', from: 0, to: 7, names: dayNames },
] as const satisfies FieldKind[];

const macros: Record<string, string> = {
  '@hourly': '0 * * * *',
  '@daily': '0 0 * * *',
  '@midnight': '0 0 * * *',
  '@weekly': '0 0 * * 0',
  '@monthly': '0 0 1 * *',
  '@yearly': '0 0 1 1 *',
  '@annually': '0 0 1 1 *',
};

const longestMonths = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/**
 * Reads a cron line as every cron does: five fields with numbers, names, ranges, steps and lists, or a word such as
 * @daily. Returns what is wrong with it as text. Pure.
 */
export function parseCron(text: string): CronTimes | string {
  const trimmed = text.trim().toLowerCase();
  if (trimmed === '') return 'is empty; write five fields, such as "0 3 * * *"';
  if (trimmed.startsWith('@') && macros[trimmed] === undefined)
    return `knows no ${trimmed}; there are ${Object.keys(macros).join(', ')}`;
  const parts = (macros[trimmed] ?? trimmed).split(/\s+/);
  if (parts.length !== 5)
    return `must have five fields (minute, hour, day of month, month, day of week), not ${String(parts.length)}`;
  const read = kinds.map((kind, index) => parseField(parts[index] ?? '', kind));
  const problem = read.find((field) => typeof field === 'string');
  if (problem !== undefined) return problem;
  const [minutes, hours, days, months, weekdays] = read as [
    CronField,
    CronField,
    CronField,
    CronField,
    CronField,
  ];
  const fields = { minutes, hours, days, months, weekdays };
  return dayProblem(fields, parts[2] ?? '', parts[4] ?? '') ?? { ...fields, text: inNumbers(fields) };
}

function parseField(text: string, kind: FieldKind): CronField | string {
  const isAny = text === '*';
  const values = new Set<number>();
  for (const item of text.split(',')) {
    const found = parseItem(item, kind);
    if (typeof found === 'string') return found;
    for (const value of found) values.add(kind.title === 'day of week' ? value % 7 : value);
  }
  return { values: [...values].sort((a, b) => a - b), isAny };
}

/** One item of a list: "*", "5", "mon-fri", "0-30/10". */
function parseItem(item: string, kind: FieldKind): number[] | string {
  const { title, from, to } = kind;
  const [, range = '', step] = /^([^/]+)(?:\/(\d+))?$/.exec(item) ?? [];
  const bounds =
    range === '*' ? [from, title === 'day of week' ? 6 : to] : range.split('-').map(numberOf(kind));
  const [first = NaN, last = first] = bounds;
  if (bounds.length > 2 || !Number.isInteger(first) || !Number.isInteger(last))
    return `has no ${title} ${JSON.stringify(item)}; a ${title} is a number${kind.names === undefined ? '' : ` or a name such as ${kind.names[1] ?? ''}`}, a range, a step such as */2, a list, or *`;
  if (first < from || last > to || first > to)
    return `has a ${title} outside of ${String(from)} to ${String(to)}: ${JSON.stringify(item)}`;
  if (first > last) return `has a ${title} range that runs backwards: ${JSON.stringify(item)}`;
  if (step === undefined) return numbers(first, last, 1);
  if (Number(step) < 1) return `has a step of 0 in its ${title}: ${JSON.stringify(item)}`;
  // "*/90" is no every 90 minutes: it would run at minute 0 of each hour.
  if (Number(step) > last - first && bounds.length > 1)
    return `has a step in its ${title} that is longer than its range, so it would run at ${String(first)} alone: ${JSON.stringify(item)}`;
  // Crons differ on "5/15": some take it for 5 alone.
  if (bounds.length === 1 && range !== '*')
    return `has a step without a range in its ${title}; write ${range}-${String(to)}/${step} instead of ${item}`;
  return numbers(first, last, Number(step));
}

function numberOf({ names = [], from }: FieldKind): (text: string) => number {
  return (text) => {
    const named = names.indexOf(text);
    return named >= 0 ? named + from : /^\d{1,2}$/.test(text) ? Number(text) : NaN;
  };
}

function numbers(first: number, last: number, step: number): number[] {
  return Array.from({ length: Math.floor((last - first) / step) + 1 }, (_, index) => first + index * step);
}

/** A day that never comes, and a pair of fields that crons read differently. */
function dayProblem(
  { days, months, weekdays }: Omit<CronTimes, 'text'>,
  dayText: string,
  weekdayText: string,
): string | undefined {
  if (!days.isAny && !weekdays.isAny && [dayText, weekdayText].some((text) => text.startsWith('*')))
    return 'has a step of * beside another day field, which some crons read as "and" and others as "or"; list the days';
  const comes = months.values.some((month) => (days.values[0] ?? 32) <= (longestMonths[month - 1] ?? 0));
  // With a day of week it runs on that day at least.
  if (!comes && weekdays.isAny) {
    const shown = months.values.map((month) => monthNames[month - 1] ?? '').join(', ');
    return `names a day that never comes: day ${String(days.values[0])} of ${shown}`;
  }
  return undefined;
}

function inNumbers({ minutes, hours, days, months, weekdays }: Omit<CronTimes, 'text'>): string {
  return [minutes, hours, days, months, weekdays]
    .map(({ values, isAny }) => (isAny ? '*' : runsOf(values)))
    .join(' ');
}

/** "1-5,7" of 1, 2, 3, 4, 5, 7. Every cron reads that. */
function runsOf(values: number[]): string {
  const runs: [number, number][] = [];
  for (const value of values) {
    const last = runs.at(-1);
    if (last !== undefined && last[1] === value - 1) last[1] = value;
    else runs.push([value, value]);
  }
  return runs
    .map(([first, last]) =>
      first === last ? String(first) : `${String(first)}${last === first + 1 ? ',' : '-'}${String(last)}`,
    )
    .join(',');
}
