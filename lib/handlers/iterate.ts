// How an asynchronous body is asked for its chunks.

/**
 * The iterator of a body. A web `ReadableStream` has one that cannot be stopped while
 * it waits for a chunk: its `return()` waits, too, perhaps for ever after the client
 * has left. A reader of the stream can, so it takes the iterator's place.
 */
export function asyncIteratorOf<Chunk>(body: AsyncIterable<Chunk>): AsyncIterator<Chunk> {
  return isWebStream(body) ? new StreamChunks(body) : body[Symbol.asyncIterator]();
}

function isWebStream<Chunk>(body: AsyncIterable<Chunk>): body is ReadableStream<Chunk> {
  return typeof ReadableStream === 'function' && body instanceof ReadableStream;
}

class StreamChunks<Chunk> implements AsyncIterator<Chunk> {
  private readonly reader: ReadableStreamDefaultReader<Chunk>;

  constructor(stream: ReadableStream<Chunk>) {
    this.reader = stream.getReader();
  }

  async next(): Promise<IteratorResult<Chunk>> {
    const { done, value } = await this.reader.read();
    return done ? { done, value: undefined } : { done, value };
  }

  async return(): Promise<IteratorResult<Chunk>> {
    await this.reader.cancel();
    return { done: true, value: undefined };
  }
}
