import type { Settings } from '../config/settings.ts';
import type { Log } from '../output/log.ts';
import type { Db } from '../pg/connection.ts';

/** Opens the session when it is first needed, and closes it once. */
export class LazySession {
  readonly #settings: Settings;
  readonly #name: string;
  readonly #signal: AbortSignal;
  readonly #log: Log | undefined;
  #db: Promise<Db> | undefined;

  constructor(settings: Settings, name: string, signal: AbortSignal, log: Log | undefined) {
    this.#settings = settings;
    this.#name = name;
    this.#signal = signal;
    this.#log = log;
  }

  get isOpen(): boolean {
    return this.#db !== undefined;
  }

  open(): Promise<Db> {
    this.#db ??= this.#connect(this.#signal).catch((error: unknown) => {
      // What cannot be reached is not open: some commands do without a database.
      this.#db = undefined;
      throw error;
    });
    return this.#db;
  }

  /** A session that answers even after the run was interrupted. */
  async openFresh(): Promise<Db> {
    return this.#signal.aborted ? await this.reopen() : await this.open();
  }

  /** Another session, for when this one is lost; an interruption does not end it. */
  async reopen(): Promise<Db> {
    await this.close();
    this.#db = this.#connect(undefined);
    return await this.#db;
  }

  async #connect(signal: AbortSignal | undefined): Promise<Db> {
    const log = this.#log;
    // Commands that PostgreSQL itself runs need no session, and must start fast.
    const { connect } = await import('../pg/connection.ts');
    return await connect(
      { ...this.#settings.connection, applicationName: `dbops ${this.#name}` },
      {
        signal,
        ...(log === undefined
          ? {}
          : {
              onStatement: (text: string, milliseconds: number, failed: boolean) => {
                const shown = text.replaceAll(/\s+/g, ' ').trim();
                log.debug(
                  { event: 'statement', milliseconds, failed },
                  `${milliseconds.toFixed(1)} ms${failed ? ' (failed)' : ''}: ${shown}`,
                );
              },
            }),
      },
    );
  }

  async close(): Promise<void> {
    const opening = this.#db;
    this.#db = undefined;
    const db = await opening?.catch(() => undefined);
    await db?.close();
  }
}
