// Survives a server that throws where nothing catches: by default such an error ends
// the process, and the checks with it.

const EVENTS = ['uncaughtException', 'unhandledRejection'] as const;

/**
 * Until `restore()` is called, collects the errors of this process that nothing
 * catches. The listeners that the program has for them are set aside for that time, so
 * that a test runner does not take a server's error for its own.
 */
export class UncaughtErrors {
  private readonly collected: unknown[] = [];
  private readonly onError: (error: unknown) => void;
  private readonly setAside = EVENTS.map((event) => [event, process.rawListeners(event)] as const);

  /** @param onError called with each error, when it is thrown */
  constructor(onError: () => void) {
    this.onError = (error) => {
      this.collected.push(error);
      onError();
    };
    for (const event of EVENTS) {
      process.removeAllListeners(event);
      process.on(event, this.onError);
    }
  }

  /** The errors since the last call. */
  take(): unknown[] {
    return this.collected.splice(0);
  }

  /** Gives the program its listeners back. */
  restore(): void {
    for (const [event, listeners] of this.setAside) {
      process.removeListener(event, this.onError);
      for (const listener of listeners) process.on(event, listener as () => void);
    }
  }
}
