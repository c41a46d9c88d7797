import { DbopsError } from '../errors.ts';
import { writeStderr } from './log.ts';

export interface Consent {
  yes: boolean;
  signal: AbortSignal;
}

/**
 * Asks on the terminal before a change that a person typed by name. Without a terminal --yes is needed. The plan and the
 * question go to stderr: stdout carries the result alone. Throws confirmation_required.
 */
export async function confirm(plan: string, question: string, consent: Consent): Promise<void> {
  if (consent.yes) return;
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    throw new DbopsError(
      'confirmation_required',
      `not confirmed: "${question}" needs a yes, and there is no terminal to ask on`,
      {
        hint: 'Look at the plan with --dry-run, then give --yes.',
      },
    );
  }
  writeStderr(`${plan}\n`);
  const { createInterface } = await import('node:readline/promises');
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await lines.question(`${question} [y/N] `, { signal: consent.signal });
    if (/^y(es)?$/i.test(answer.trim())) return;
  } finally {
    lines.close();
  }
  throw new DbopsError('confirmation_required', 'not confirmed; nothing was changed');
}
