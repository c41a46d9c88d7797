// What is undone after the tests of a file. vitest takes afterAll() only while it reads the file: called in a hook or in a
// test it does nothing, and directories and servers would be left behind.
import { afterAll } from 'vitest';

const undone: (() => unknown)[] = [];

afterAll(async () => {
  // The newest first: a server goes before the directory that it writes to.
  for (const undo of undone.splice(0).reverse()) await undo();
});

/** Does this after the tests of the file; may be called anywhere. */
export function afterFile(undo: () => unknown): void {
  undone.push(undo);
}
