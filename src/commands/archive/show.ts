import { findArchive } from '../../archive/catalogue.ts';
import { holdHistory } from '../../catalogue/hold.ts';
import { describeArchive } from '../../archive/list/describe.ts';
import { lookAt } from '../../archive/survey.ts';
import { defineCommand, type Result } from '../command.ts';
import { openChosen, storesOf } from '../stores.ts';

interface Options {
  store?: string;
}

export const command = defineCommand<Options>({
  changes: false,
  examples: [
    {
      command: 'dbops archive show 20260505',
      about: 'what an archive holds, how it was proven, and where it is',
    },
    {
      command: 'dbops archive show 20260505 --json',
      about: 'the manifest itself',
    },
  ],
  notes: 'Reads the stores alone. The beginning of an id is enough where only one begins so.',
  declare(cmd) {
    cmd.argument('<id>', 'the archive');
    cmd.option('--store <name>', 'look into this store only');
  },
  async run(context): Promise<Result> {
    const { args, options, log, signal } = context;
    const stores = storesOf(context);
    try {
      const found = await findArchive(await openChosen(context, stores, options.store), args[0] ?? '', {
        signal,
        onProblem: (store, error) =>
          log.warn({ event: 'store_failed', store: store.name }, `store "${store.name}": ${error.message}`),
      });
      const copies = await Promise.all(
        found.stores.map((store) => lookAt({ store, place: found.place, id: found.id }, signal)),
      );
      const [first] = found.stores;
      const holds = first === undefined ? [] : await holdHistory(first, found.place, signal);
      return { data: found.manifest, text: describeArchive(found, copies, holds) };
    } finally {
      await stores.closeAll();
    }
  },
});
