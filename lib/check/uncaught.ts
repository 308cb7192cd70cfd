// Survives a server that throws where nothing catches: by default such an error ends
// the process, and the checks with it.

const EVENTS = ['uncaughtException', 'unhandledRejection'] as const;

/**
 * Until `restore()` is called, takes the errors of this process that nothing catches. The
 * listeners that the program has for them are set aside for that time, so that a test
 * runner does not take a server's error for its own.
 */
export class UncaughtErrors {
  private readonly onError: (error: unknown) => void;
  private readonly setAside = EVENTS.map((event) => [event, process.rawListeners(event)] as const);

  /** @param onError - Called with each error, in the context in which it was thrown. */
  constructor(onError: (error: unknown) => void) {
    // Node passes further arguments.
    this.onError = (error) => onError(error);
    for (const event of EVENTS) {
      process.removeAllListeners(event);
      process.on(event, this.onError);
    }
  }

  /** Gives the program its listeners back. */
  restore(): void {
    for (const [event, listeners] of this.setAside) {
      process.removeListener(event, this.onError);
      for (const listener of listeners) process.on(event, listener as () => void);
    }
  }
}
