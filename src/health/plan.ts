import { nearest } from '../config/nearest.ts';
import type { Settings } from '../config/settings.ts';
import { DbopsError } from '../errors.ts';
import { groups, type Check, type Group, type Profile } from './check.ts';
import { builtIn } from './checks/index.ts';
import { readOwnChecks } from './custom.ts';
import type { PlannedCheck } from './run.ts';
import { readBounds, type BoundsProblem } from './thresholds.ts';

/** Which checks are wanted. */
export interface CheckChoice {
  profile?: Profile | undefined;
  /** Checks or groups; only these run, whatever the profile and the configuration leave out. */
  only?: string[] | undefined;
  /** Checks or groups that are left out. */
  skip?: string[] | undefined;
}

type HealthPart = Pick<Settings, 'health' | 'files'>;

/** Every check there is, those of the configuration too. Throws config_invalid with all that is wrong there at once. */
export function listChecks(settings: HealthPart): PlannedCheck[] {
  const { planned, problems } = readChecks(settings);
  if (problems.length === 0) return planned;
  throw new DbopsError('config_invalid', 'the configuration of health is not valid', {
    detail: problems.join('\n'),
    hint: '"dbops health list" shows the checks, and "dbops health explain <check>" what each is judged by.',
  });
}

/** What is wrong with the section "health", each with its place in the file. Pure. */
export function healthProblems(settings: HealthPart): string[] {
  return readChecks(settings).problems;
}

function readChecks({ health, files }: HealthPart): { planned: PlannedCheck[]; problems: string[] } {
  const own = readOwnChecks(health.checks, new Set(builtIn.map(({ id }) => id)));
  const checks = [...builtIn, ...own.checks];
  const problems = [...own.problems, ...unknownNames(health, checks)];
  const planned = checks.map((check) => {
    const read = readBounds(check, health.thresholds[check.id]);
    problems.push(...read.problems);
    return { check, bounds: read.bounds };
  });
  const file = files.find((item) => item.settings.health !== undefined);
  const located = problems.map(({ path, message }) => `${file?.locate(path) ?? path.join('.')}: ${message}`);
  return { planned, problems: located };
}

/**
 * The checks that run, in the order of the report. Throws usage for a name that is unknown, and when no check is left: that
 * nothing was found would be no news. Pure.
 */
export function chooseChecks(settings: HealthPart, choice: CheckChoice): PlannedCheck[] {
  const chosen = choose(settings, choice);
  if (chosen.length > 0) return chosen;
  throw new DbopsError('usage', 'no check is left to run', {
    hint: 'See --only, --skip and --profile, and "health.skip" in the configuration.',
  });
}

function choose(settings: HealthPart, choice: CheckChoice): PlannedCheck[] {
  const all = listChecks(settings);
  const checks = all.map(({ check }) => check);
  for (const [flag, names] of [
    ['--only', choice.only ?? []],
    ['--skip', choice.skip ?? []],
  ] as const)
    for (const name of names) refuseUnknown(flag, name, checks);
  const isNamed = (check: Check, names: string[]) => names.includes(check.id) || names.includes(check.group);
  const skipped = (check: Check) => isNamed(check, choice.skip ?? []);
  if (choice.only !== undefined && choice.only.length > 0) {
    const only = choice.only;
    return all.filter(({ check }) => isNamed(check, only) && !skipped(check));
  }
  const profile = choice.profile ?? 'daily';
  return all.filter(
    ({ check }) =>
      check.profiles.includes(profile) && !isNamed(check, settings.health.skip) && !skipped(check),
  );
}

/** The check of that name. Throws usage. */
export function getCheck(settings: HealthPart, id: string): PlannedCheck {
  const all = listChecks(settings);
  const found = all.find(({ check }) => check.id === id);
  if (found !== undefined) return found;
  throw unknownCheck(
    `there is no check "${id}"`,
    id,
    all.map(({ check }) => check.id),
  );
}

function refuseUnknown(flag: string, name: string, checks: Check[]): void {
  const known = knownNames(checks);
  if (!known.includes(name)) throw unknownCheck(`${flag}: there is no check or group "${name}"`, name, known);
}

function unknownCheck(message: string, name: string, known: string[]): DbopsError {
  const guess = nearest(name, known);
  return new DbopsError('usage', message, {
    hint: `${guess === undefined ? '' : `Did you mean "${guess}"? `}"dbops health list" shows them all.`,
  });
}

function knownNames(checks: Check[]): string[] {
  const used = new Set<Group>(checks.map(({ group }) => group));
  return [...checks.map(({ id }) => id), ...groups.filter((group) => used.has(group))];
}

function unknownNames({ skip, thresholds }: Settings['health'], checks: Check[]): BoundsProblem[] {
  const ids = checks.map(({ id }) => id);
  const problem = (path: (string | number)[], name: string, known: string[]): BoundsProblem[] => {
    if (known.includes(name)) return [];
    const guess = nearest(name, known);
    return [
      {
        path,
        message: `there is no check "${name}"${guess === undefined ? '' : `; did you mean "${guess}"?`}`,
      },
    ];
  };
  return [
    ...skip.flatMap((name, index) => problem(['health', 'skip', index], name, knownNames(checks))),
    ...Object.keys(thresholds).flatMap((name) => problem(['health', 'thresholds', name], name, ids)),
  ];
}
