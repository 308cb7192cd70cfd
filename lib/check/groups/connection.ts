// The first group: the server answers at all, and goes on answering, whatever the
// clients beside it do.

import { DETAILS, NotApplicable, checksOf } from '../definition.ts';
import { Gate, bytes, respond, respondWith } from '../trial.ts';

const check = checksOf('connection');

check('connection-starts', DETAILS,
  'start(app) starts the server and gives its url and a function that closes it.',
  'Resolve with { url, close } once the server listens.',
  async (trial) => {
    await trial.serve(respond(['ok']));
    await trial.connect();
    return undefined;
  });

check('connection-answers', DETAILS,
  'A GET request is answered with what the application returns.',
  'Call the application with environ and startResponse, and send status, headers and body.',
  async (trial) => {
    const { code, body } = await trial.exchange(respond(['hello']));
    return trial.same('the status and body of an application that answers 200 with "hello"',
      [String(code), body], ['200', 'hello']);
  });

check('connection-calls-once', DETAILS,
  'The application is called once for each request.',
  'Call the application in one place, when the head of the request is complete.',
  async (trial) => {
    await trial.exchange(respond(['ok']));
    await trial.quiet();
    const { length } = trial.calls;
    return length === 1 ? undefined : `called the application ${length} times for one request`;
  });

check('connection-twice', DETAILS,
  'A server answers one request after another, on connections of their own.',
  'Keep what belongs to a request in that request, and nothing of it in the server.',
  async (trial) => {
    let count = 0;
    const app = respondWith(() => [bytes(`answer ${count += 1}`)]);
    const bodies = [];
    for (let index = 0; index < 3; index += 1) bodies.push((await trial.exchange(app)).body);
    return trial.same('the bodies of three requests', bodies, ['answer 1', 'answer 2', 'answer 3']);
  });

check('connection-at-once', 'PEP 3333, "Thread Support"',
  'Requests on two connections are both answered, even if the first one takes its time.',
  'Do not wait for one application before calling the next; or finish the first, then go on.',
  async (trial) => {
    const gate = new Gate();
    await trial.serve(respondWith(async ({ PATH_INFO }) => {
      if (PATH_INFO === '/slow') await gate.opened;
      return [bytes(PATH_INFO)];
    }));
    const slow = await trial.send({ target: '/slow' });
    await trial.until(() => trial.calls.length === 1, 'did not call the application');
    const fast = await trial.send({ target: '/fast' });
    let answeredBeside = true;
    try {
      await fast.receives('/fast', 'an answer');
    } catch {
      answeredBeside = false;
    }
    gate.open();
    const bodies = [(await slow.response()).body, (await fast.response()).body];
    const wrong = trial.same('the bodies of two requests at once', bodies, ['/slow', '/fast']);
    if (wrong === undefined && !answeredBeside) {
      throw new NotApplicable('the server serves one request at a time');
    }
    return wrong;
  });

check('connection-many', DETAILS,
  'Each of many requests at once gets its own answer.',
  'Keep status, headers and body in variables of the request, not of the server.',
  async (trial) => {
    await trial.serve(respondWith(async ({ QUERY_STRING = '' }) => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      return [bytes(QUERY_STRING)];
    }));
    const queries = Array.from({ length: 30 }, (_, index) => `number=${index}`);
    const clients = [];
    for (const query of queries) clients.push(await trial.send({ target: `/?${query}` }));
    const bodies = [];
    for (const client of clients) bodies.push((await client.response()).body);
    const wrong = bodies.findIndex((body, index) => body !== queries[index]);
    return wrong === -1
      ? undefined
      : trial.same(`the body of request ${wrong} of 30 at once`, bodies[wrong], queries[wrong]);
  });

check('connection-head-in-pieces', 'RFC 9112 §2.2',
  'A head that arrives in several packets is one head.',
  'Collect what arrives until the empty line, then parse it.',
  async (trial) => {
    await trial.serve(respond(['ok']));
    const client = await trial.connect();
    const request = trial.format({ target: '/pieces', headers: ['X-One: 1', 'X-Two: 2'] });
    for (const piece of [request.slice(0, 7), request.slice(7, -9), request.slice(-9, -3)]) {
      client.send(piece);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    client.send(request.slice(-3));
    const { code } = await client.response();
    return trial.same('the status, X-One and X-Two of a request in four packets',
      [String(code), trial.calls[0]?.given['HTTP_X_ONE'], trial.calls[0]?.given['HTTP_X_TWO']],
      ['200', '1', '2']);
  });

check('connection-silent-client', DETAILS,
  'A client that connects and sends nothing does not keep others from being answered.',
  'Read each connection by its own events; do not wait for one before accepting the next.',
  async (trial) => {
    await trial.serve(respond(['ok']));
    const silent = await trial.connect();
    const talking = await trial.send();
    try {
      await talking.receives('ok', 'an answer beside a silent connection');
      return undefined;
    } catch {
      silent.leave();
      await talking.receives('ok', 'an answer after the silent connection had ended');
      throw new NotApplicable('the server serves one connection at a time');
    }
  });

check('connection-client-resets', DETAILS,
  'A client that breaks its connection off does no harm to the server.',
  'Listen to the "error" event of every socket.',
  async (trial) => {
    await trial.serve(respond(['ok']));
    for (const beginning of ['', 'GET / HT', trial.format()]) {
      const client = await trial.connect();
      if (beginning !== '') client.send(beginning);
      await trial.quiet();
      client.reset();
    }
    await trial.quiet();
    const { code } = await trial.exchange(respond(['ok']));
    return trial.same('the status of a request after three broken connections', code, 200);
  });

check('connection-closes', DETAILS,
  'close() stops the server: it resolves, and the port is free.',
  'Close the listening socket and the idle connections, such as with server.close().',
  async (trial) => {
    const url = await trial.serve(respond(['ok']));
    const client = await trial.send();
    await client.response();
    client.leave();
    await trial.quiet();
    await trial.close();
    try {
      const late = await trial.connect();
      late.send(trial.format());
      await late.receives('ok', 'an answer');
    } catch {
      return undefined;
    }
    return `still answered on ${url.host} after close()`;
  });
