import { pendingSettings, settingsThatAreOff, type SettingRow } from '../../sql/health-server.ts';
import { sqlCheck, type Check, type Observation } from '../check.ts';

interface Protection {
  severity: 'warn' | 'crit';
  cost: string;
}

/** What each costs when it is off. */
const protections = new Map<string, Protection>([
  ['fsync', { severity: 'crit', cost: 'a crash of the machine can ruin the whole cluster' }],
  [
    'full_page_writes',
    { severity: 'crit', cost: 'a crash of the machine can leave blocks that are written by half' },
  ],
  [
    'autovacuum',
    { severity: 'warn', cost: 'dead rows stay, statistics grow old, and wraparound comes nearer' },
  ],
  ['track_counts', { severity: 'warn', cost: 'autovacuum does not see what it would have to do' }],
]);

export const settings: Check[] = [
  sqlCheck<SettingRow>({
    id: 'settings.protections',
    group: 'settings',
    answers: 'whether a setting that protects the data is off',
    why: 'Such settings are switched off for a load or a test, and forgotten. Nothing shows until the day of the crash.',
    advice:
      'Switch it on. Where the file system never writes a block by half (ZFS), full_page_writes may stay off: ignore that object.',
    profiles: ['daily', 'weekly', 'monthly'],
    question: () => settingsThatAreOff([...protections.keys()]),
    judge: (rows) => ({
      observations: rows.map(({ name }): Observation => {
        const { severity, cost } = protections.get(name) ?? {
          severity: 'warn',
          cost: 'it protects the data',
        };
        const mend = `alter system set ${name} = on; select pg_reload_conf();`;
        return { object: name, value: null, severity, message: `${name} is off: ${cost}`, mend };
      }),
      summary: `${[...protections.keys()].join(', ')} are on`,
    }),
  }),
  sqlCheck<SettingRow>({
    id: 'settings.pending-restart',
    group: 'settings',
    answers: 'which settings were changed and wait for a restart',
    why: 'The server does not run as its configuration says, and the next restart, perhaps after a crash, changes more than expected.',
    advice: 'Restart the server when it suits, or take the change back.',
    privilege: ['pg_read_all_settings', 'pg_monitor'],
    profiles: ['weekly', 'monthly'],
    question: pendingSettings,
    judge: (rows) => ({
      observations: rows.map(({ name, value }) => ({
        object: name,
        value: null,
        severity: 'warn',
        message: `${name} was changed, and is ${value} until the server restarts`,
      })),
      summary: 'no setting waits for a restart',
    }),
  }),
];
