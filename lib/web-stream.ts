// Iterates a body that is a web stream. The stream's own iterator cannot be stopped while it
// waits for a chunk, because its return() waits too. A reader can be cancelled.

/** Whether a value is a web `ReadableStream`. Never throws, not even for a Proxy. */
function isWebStream(value: unknown): value is ReadableStream {
  try {
    return typeof ReadableStream === 'function' && value instanceof ReadableStream;
  } catch {
    return false;
  }
}

/** The iterator of an asynchronous body: its own, unless that is a web stream's. */
export function asyncIteratorOf<Chunk>(body: AsyncIterable<Chunk>): AsyncIterator<Chunk> {
  const iterate = body[Symbol.asyncIterator];
  const isStreams =
    isWebStream(body) && iterate === Reflect.get(ReadableStream.prototype, Symbol.asyncIterator);
  return isStreams ? new StreamChunks<Chunk>(body) : Reflect.apply(iterate, body, []);
}

// Like the stream's own iterator, this one releases the lock at the end.
class StreamChunks<Chunk> implements AsyncIterator<Chunk> {
  private readonly reader: ReadableStreamDefaultReader<Chunk>;
  private isOver = false;

  constructor(stream: ReadableStream<Chunk>) {
    this.reader = stream.getReader();
  }

  async next(): Promise<IteratorResult<Chunk>> {
    if (this.isOver) return END;
    try {
      const { done, value } = await this.reader.read();
      if (!done) return { done, value };
    } catch (error) {
      this.release();
      throw error;
    }
    this.release();
    return END;
  }

  async return(): Promise<IteratorResult<Chunk>> {
    if (this.isOver) return END;
    const cancelled = this.reader.cancel();
    this.release();
    await cancelled;
    return END;
  }

  private release(): void {
    this.isOver = true;
    this.reader.releaseLock();
  }
}

const END = Object.freeze({ done: true, value: undefined } as const);
