// How long a check waits for a server.
//
// A limit in wall-clock time would blame the server for a machine that stalls. The
// server under test runs in this very process, so a wait counts turns of the event
// loop instead: a stall of any length counts as one turn.

import { Finding } from './definition.ts';

const TURN_MS = 50;
const QUIET_TURNS = 3;
const QUIET_TURN_MS = 25;

/** The waits of one check, with one limit for each of them. */
export class Patience {
  /** The limit of each wait, in milliseconds on a machine that does not stall. */
  readonly limit: number;
  private readonly waits = new Set<() => void>();

  constructor(limit: number) {
    this.limit = limit;
  }

  /** The limit, as the end of a sentence. */
  get inSeconds(): string {
    return `within ${this.limit / 1000} s`;
  }

  /** To be called when something has happened: every wait tests its condition again. */
  wake(): void {
    for (const look of [...this.waits]) look();
  }

  /**
   * Resolves once `isDone()` returns true.
   *
   * @throws Finding of `complaint()` when the limit is over; or what `isDone()` throws.
   */
  until(isDone: () => boolean, complaint: () => string): Promise<void> {
    return new Promise((resolve, reject) => {
      let turns = Math.ceil(this.limit / TURN_MS);
      let timer: NodeJS.Timeout | undefined;
      let isSettled = false;
      const settle = (how: () => void): void => {
        isSettled = true;
        this.waits.delete(look);
        clearTimeout(timer);
        how();
      };
      const look = (): void => {
        try {
          if (isDone()) settle(resolve);
        } catch (error) {
          settle(() => reject(error));
        }
      };
      const turn = (): void => {
        look();
        if (isSettled) return;
        turns -= 1;
        if (turns < 0) settle(() => reject(new Finding(complaint())));
        else timer = setTimeout(turn, TURN_MS);
      };
      this.waits.add(look);
      timer = setTimeout(turn, TURN_MS);
      look();
    });
  }

  /**
   * The value of a promise.
   *
   * @throws Finding of `complaint()` when the limit is over; otherwise as the promise does.
   */
  async within<Value>(promise: PromiseLike<Value>, complaint: () => string): Promise<Value> {
    let settled = false;
    const settle = (): void => {
      settled = true;
      this.wake();
    };
    promise.then(settle, settle);
    await this.until(() => settled, complaint);
    return promise;
  }

  /**
   * Waits as long as the server needs to do a thing that it must not do. Too short a
   * wait can only let a faulty server pass, never fail a correct one.
   */
  async quiet(): Promise<void> {
    for (let turn = 0; turn < QUIET_TURNS; turn += 1) {
      await new Promise((resolve) => setTimeout(resolve, QUIET_TURN_MS));
    }
  }
}
