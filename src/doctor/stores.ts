import type { Settings } from '../config/settings.ts';
import type { StoreSettings } from '../config/stores.ts';
import { humanSeconds } from '../output/human.ts';
import { openStore } from '../storage/open.ts';
import { probeStore, type Ability, type StoreProbe } from '../storage/probe.ts';
import { finding, ok, type Finding } from './finding.ts';

/** The least that S3 takes, so that the probe is quick on a slow line. */
const partSizeBytes = 5 * 1024 * 1024;
/** Whoever waits for a diagnosis waits less long than an archive at night. */
const patience = { attempts: 3, idleTimeoutMs: 15_000 };

/** Without these no archive can be made or believed; without the others something else is missed. */
const needed: Ability[] = ['write', 'read', 'list', 'write in parts'];

/** Tries each store with an object of its own, which is deleted again. Throws interrupted. */
export async function checkStores(
  settings: Pick<Settings, 'stores'>,
  now: Date,
  signal: AbortSignal | undefined,
): Promise<Finding[]> {
  const found = await Promise.all(settings.stores.map((store) => checkStore(store, now, signal)));
  return found.flat();
}

async function checkStore(
  settings: StoreSettings,
  now: Date,
  signal: AbortSignal | undefined,
): Promise<Finding[]> {
  const store = await openStore(settings, { ...patience, partSizeBytes });
  try {
    const probe = await probeStore(store, { partSizeBytes, now, signal });
    return judgeStore(settings.name, store.url, probe);
  } finally {
    await store.close();
  }
}

/** Pure. */
export function judgeStore(name: string, url: string, probe: StoreProbe): Finding[] {
  const check = `store.${name}`;
  return [judgeAbilities(check, url, probe), ...judgeUploads(check, probe)];
}

function judgeAbilities(check: string, url: string, { abilities, lacks, milliseconds }: StoreProbe): Finding {
  if (lacks.length === 0) {
    const took = humanSeconds(milliseconds / 1000);
    return ok(check, `${url} can ${abilities.join(', ')} (tried in ${took})`);
  }
  const isCritical = lacks.some((lack) => needed.includes(lack.ability));
  const reasons = [...new Set(lacks.map((lack) => lack.message))];
  const words = reasons.map((reason) => {
    const stopped = lacks.filter((lack) => lack.message === reason).map((lack) => lack.ability);
    return `${stopped.join(', ')} (${reason})`;
  });
  const hints = [...new Set(lacks.flatMap((lack) => lack.hint ?? []))];
  return finding(
    check,
    isCritical ? 'crit' : 'warn',
    `${url} cannot ${words.join('; ')}`,
    hints.length === 0 ? undefined : hints.join(' '),
  );
}

function judgeUploads(check: string, { abandoned }: StoreProbe): Finding[] {
  if (abandoned.length === 0) return [];
  const oldest = abandoned.reduce((a, b) => (a.startedAt < b.startedAt ? a : b));
  const count = abandoned.length === 1 ? '1 upload' : `${String(abandoned.length)} uploads`;
  return [
    finding(
      `${check}.uploads`,
      'warn',
      `${count} begun more than a day ago and never finished, the oldest on ${oldest.startedAt.toISOString().slice(0, 10)} for ${oldest.key}; they cost space`,
      '"dbops archive run" drops what its own killed runs left; a lifecycle rule of the bucket (AbortIncompleteMultipartUpload) drops the rest.',
    ),
  ];
}
