// The smallest server there is, for the time it takes to start.

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

const server = createServer((_request, response) => {
  response.writeHead(200, { 'Content-Type': 'text/plain' });
  response.end('Hello world!\n');
});
server.listen(0, '127.0.0.1', () => {
  console.log(`Serving on http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
});
