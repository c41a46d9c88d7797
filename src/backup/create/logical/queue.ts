/** Items that one side finds while the other side works on them. */
export class Queue<Item> {
  readonly #items: Item[] = [];
  #waiting: (() => void)[] = [];
  #isClosed = false;

  push(item: Item): void {
    this.#items.push(item);
    this.#wake();
  }

  /** Nothing more comes; what is in it is still handed out. */
  close(): void {
    this.#isClosed = true;
    this.#wake();
  }

  /** The next item; undefined once it is closed and empty. */
  async next(): Promise<Item | undefined> {
    while (this.#items.length === 0 && !this.#isClosed) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    return this.#items.shift();
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
