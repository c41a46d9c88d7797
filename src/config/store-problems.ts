import type { Path, Problem } from './issues.ts';
import { nearest } from './nearest.ts';
import type { FileSettings, FileStore } from './schema.ts';
import { parseStoreUrl } from './store-url.ts';

/** What is wrong with the stores of a file, and with what names them in the same file. Pure. */
export function storeProblems(settings: FileSettings): Problem[] {
  const { stores } = settings;
  if (stores === undefined) return [];
  return [
    ...Object.entries(stores).flatMap(([name, store]) => inStore(store, ['stores', name])),
    ...sharedPlaces(stores),
    ...copiesProblems(settings, Object.keys(stores)),
  ];
}

/** Where a file names stores that are not among `names`, or wants more copies than there are. Pure. */
export function copiesProblems(settings: FileSettings, names: string[]): Problem[] {
  return [
    ...sectionProblems(settings.archive ?? {}, names, 'archive'),
    ...sectionProblems(settings.backup ?? {}, names, 'backup'),
    ...sectionProblems(settings.wal ?? {}, names, 'wal'),
    ...(settings.partitions ?? []).flatMap((item, index) =>
      unknownCopies(item.archive?.copies ?? [], names, ['partitions', index, 'archive', 'copies']),
    ),
  ];
}

function sectionProblems(
  { copies, required }: { copies?: string[] | undefined; required?: number | undefined },
  names: string[],
  section: string,
): Problem[] {
  const problems = unknownCopies(copies ?? [], names, [section, 'copies']);
  const count = copies?.length ?? names.length;
  if (required !== undefined && required > count) {
    const stores = `${String(count)} ${count === 1 ? 'store gets' : 'stores get'} a copy`;
    problems.push({ path: [section, 'required'], message: `is ${String(required)}, but only ${stores}` });
  }
  return problems;
}

function unknownCopies(copies: string[], names: string[], path: Path): Problem[] {
  return copies.flatMap((copy, index): Problem[] => {
    const place = [...path, index];
    // Two copies in one place are one.
    if (copies.indexOf(copy) < index) return [{ path: place, message: `names "${copy}" a second time` }];
    if (names.includes(copy)) return [];
    return [{ path: place, message: `names no store; ${whichStore(copy, names)}` }];
  });
}

/** 'did you mean "local"?', or the names there are. */
export function whichStore(name: string, names: string[]): string {
  const guess = nearest(name, names);
  if (guess !== undefined) return `did you mean "${guess}"?`;
  if (names.length === 0) return 'there is none under "stores:"';
  return `"stores:" has ${names.join(', ')}`;
}

const onlyS3 = [
  'region',
  'endpoint',
  'pathStyle',
  'profile',
  'accessKeyId',
  'secretAccessKey',
  'secretAccessKeyFile',
  'kmsKeyId',
  'storageClass',
] as const;

function inStore(store: FileStore, path: Path): Problem[] {
  const place = parseStoreUrl(store.url);
  if ('problem' in place) return [{ path: [...path, 'url'], message: place.problem }];
  if (place.kind === 'file') {
    return onlyS3
      .filter((key) => store[key] !== undefined)
      .map((key) => ({ path: [...path, key], message: 'goes with s3://, not with file://' }));
  }
  return [...keyProblems(store, path), ...endpointProblems(store, path), ...classProblems(store, path)];
}

function keyProblems(store: FileStore, path: Path): Problem[] {
  const secrets = [store.secretAccessKey, store.secretAccessKeyFile].filter((item) => item !== undefined);
  if (secrets.length === 2) {
    return [{ path: [...path, 'secretAccessKeyFile'], message: 'and secretAccessKey exclude each other' }];
  }
  if (store.accessKeyId !== undefined && secrets.length === 0) {
    return [{ path: [...path, 'accessKeyId'], message: 'needs secretAccessKeyFile or secretAccessKey' }];
  }
  if (store.accessKeyId === undefined && secrets.length === 1) {
    const key = store.secretAccessKey === undefined ? 'secretAccessKeyFile' : 'secretAccessKey';
    return [{ path: [...path, key], message: 'needs accessKeyId' }];
  }
  return [];
}

function endpointProblems(store: FileStore, path: Path): Problem[] {
  if (store.endpoint === undefined) return [];
  const problem = (message: string): Problem[] => [{ path: [...path, 'endpoint'], message }];
  if (!/^https?:\/\//i.test(store.endpoint) || !URL.canParse(store.endpoint)) {
    return problem('must be http://host:port or https://host:port');
  }
  const url = new URL(store.endpoint);
  if (url.username !== '' || url.password !== '') {
    return problem('must not hold credentials; give accessKeyId and secretAccessKeyFile');
  }
  if (url.search !== '' || url.hash !== '') return problem('must not hold ? or #');
  return [];
}

/** A copy counts only once it was read back, which these classes allow hours later. */
function classProblems(store: FileStore, path: Path): Problem[] {
  if (!['GLACIER', 'DEEP_ARCHIVE'].includes(store.storageClass ?? '')) return [];
  const message =
    'must be a class that can be read at once, since every copy is read back: GLACIER_IR, or STANDARD with a lifecycle rule of the bucket that moves it later';
  return [{ path: [...path, 'storageClass'], message }];
}

/** Two names for one place would count as two copies, and write over each other. */
function sharedPlaces(stores: Record<string, FileStore>): Problem[] {
  const seen = new Map<string, string>();
  return Object.entries(stores).flatMap(([name, store]): Problem[] => {
    const place = parseStoreUrl(store.url);
    if ('problem' in place) return [];
    const key = place.kind === 'file' ? place.path : `${serverOf(store)} ${place.bucket}/${place.prefix}`;
    const earlier = seen.get(key);
    if (earlier === undefined) {
      seen.set(key, name);
      return [];
    }
    return [{ path: ['stores', name, 'url'], message: `is the place of stores.${earlier} already` }];
  });
}

/**
 * Whose buckets are meant. AWS has many endpoints (of a region, dual-stack, FIPS, accelerated, of a VPC), but the name of
 * a bucket means one bucket in all of a partition (AWS, AWS in China, GovCloud):
 * https://docs.aws.amazon.com/general/latest/gr/s3.html
 */
function serverOf({ endpoint, region = '' }: FileStore): string {
  const url = endpoint !== undefined && URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  const isAws = endpoint === undefined || /\.amazonaws\.com(\.cn)?$/.test(url?.hostname ?? '');
  if (!isAws) return url === undefined ? endpoint : `${url.origin}${url.pathname.replace(/\/+$/, '')}`;
  const [partition = 'aws'] =
    /\b(cn|us-gov)-/.exec(url?.hostname ?? '') ?? /^(cn|us-gov)-/.exec(region) ?? [];
  return partition;
}
