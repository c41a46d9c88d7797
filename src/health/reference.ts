import { groups } from './check.ts';
import { describeThresholds } from './explain.ts';
import type { PlannedCheck } from './run.ts';

/** What docs/health.md says of each check, as Markdown. Pure. */
export function renderReference(checks: PlannedCheck[]): string {
  return groups
    .flatMap((group) => {
      const own = checks.filter(({ check }) => check.group === group);
      return own.length === 0 ? [] : [`### ${group}`, '', ...own.map(entryOf)];
    })
    .join('\n');
}

function entryOf({ check, bounds }: PlannedCheck): string {
  const { privilege = [], extension, since, notOnStandby, notOnPrimary, countedHours } = check;
  const takes = [
    ...(privilege.length === 0 ? [] : [privilege.map((role) => `\`${role}\``).join(' or ')]),
    ...(extension === undefined ? [] : [`the extension \`${extension}\``]),
    ...(since === undefined ? [] : [`PostgreSQL ${String(Math.floor(since / 10_000))}`]),
    ...(notOnStandby === undefined ? [] : ['a primary']),
    ...(notOnPrimary === undefined ? [] : ['a standby']),
    ...(countedHours === undefined ? [] : [`statistics of ${String(countedHours)} hours`]),
  ];
  const lines = [
    `**${check.id}**: ${check.answers}.`,
    check.why,
    `_${sentence(describeThresholds(bounds.general))}._${check.source === undefined ? '' : ` Source: ${ended(check.source)}`}`,
    `What mends it: ${ended(check.advice)}`,
    ...(takes.length === 0 ? [] : [`Takes ${takes.join(', ')}.`]),
    `Profiles: ${check.profiles.join(', ')}.`,
  ];
  return `- ${lines.join('\n  ')}\n`;
}

function sentence(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

function ended(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`;
}
