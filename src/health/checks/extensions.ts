import { outdatedExtensions, type ExtensionRow } from '../../sql/health-server.ts';
import { ident } from '../../sql/quote.ts';
import { sqlCheck, type Check, type Observation } from '../check.ts';

export const extensions: Check[] = [
  sqlCheck<ExtensionRow>({
    id: 'extensions.outdated',
    group: 'extensions',
    answers: 'which extensions of this database are not as the files of the server are',
    why: 'An upgrade of a package changes its files alone. Until ALTER EXTENSION has run, what is new or mended in it is not there.',
    advice: 'Read what its maintainers say of the new version, and update it.',
    profiles: ['weekly', 'monthly'],
    question: outdatedExtensions,
    judge: (rows) => ({
      observations: rows.map(observe),
      summary: 'every extension is as the files of the server are',
    }),
  }),
];

function observe({ name, installed, available, canUpdate }: ExtensionRow): Observation {
  const common = { object: name, value: null, severity: 'warn' as const };
  if (available === null)
    return {
      ...common,
      message: `${name} is ${installed}, and its files are not on the server any more`,
      advice:
        'Install its package again: neither a dump of it can be restored here, nor the server be upgraded.',
    };
  const message = `${name} is ${installed}; the server has the files of ${available}`;
  if (canUpdate) return { ...common, message, mend: `alter extension ${ident(name)} update;` };
  return {
    ...common,
    message,
    advice:
      'The files of the server have no way between the two: see whether its package is older than the database.',
  };
}
