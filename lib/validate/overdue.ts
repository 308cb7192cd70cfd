// Things that should be over soon, and what to do about those that are not. To take
// one on and to let it go must cost next to nothing, since nearly all are in time.

const INTERVAL = 10;

/** Items that are given at least 10 milliseconds, and as a rule no more than 20. */
export class Overdue<Item> {
  private readonly young: Set<Item> = new Set();
  private readonly old: Set<Item> = new Set();
  private readonly onOverdue: (item: Item) => void;
  private looking = false;

  constructor(onOverdue: (item: Item) => void) {
    this.onOverdue = onOverdue;
  }

  add(item: Item): void {
    this.young.add(item);
    this.lookLater();
  }

  /** Lets go of what is done, so that it is not held in memory either. */
  delete(item: Item): void {
    if (!this.young.delete(item)) this.old.delete(item);
  }

  private lookLater(): void {
    if (this.looking || typeof globalThis.setTimeout !== 'function') return;
    this.looking = true;
    setTimeout(() => this.look(), INTERVAL);
  }

  // What is still here at the second look has had one whole interval at least.
  private look(): void {
    const due = [...this.old];
    this.old.clear();
    for (const item of this.young) this.old.add(item);
    this.young.clear();
    this.looking = false;
    if (this.old.size > 0) this.lookLater();
    for (const item of due) this.onOverdue(item);
  }
}
