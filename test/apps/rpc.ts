// JSON-RPC 2.0 over POST (https://www.jsonrpc.org/specification): the methods are
// plain functions, and each mistake of a caller has its own answer.

import type { StartResponse, Status, WSGIApplication } from 'tsgiref';

type Method = (params: unknown) => unknown;

const methods = new Map<string, Method>([
  ['add', (params) => numbers(params).reduce((sum, each) => sum + each, 0)],
  ['upper', (params) => text(params).toUpperCase()],
]);

class RpcError extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

const rpc: WSGIApplication = async (environ, startResponse) => {
  if (environ.REQUEST_METHOD !== 'POST') {
    startResponse('405 Method Not Allowed', [['Allow', 'POST']]);
    return [];
  }
  const body = new TextDecoder().decode(await environ['wsgi.input'].read());
  const answer = answerText(body);
  // A notification gets no answer, not even for success.
  if (answer === undefined) return send(startResponse, '204 No Content');
  return send(startResponse, '200 OK', answer);
};

function answerText(body: string): unknown {
  let request: unknown;
  try {
    request = JSON.parse(body);
  } catch {
    return failure(null, new RpcError(-32700, 'Parse error'));
  }
  if (!Array.isArray(request)) return answer(request);
  if (request.length === 0) return answer(undefined);
  const answers = request.map(answer).filter((each) => each !== undefined);
  return answers.length > 0 ? answers : undefined;
}

function answer(request: unknown): unknown {
  if (!isRequest(request)) return failure(null, new RpcError(-32600, 'Invalid Request'));
  const { id, method, params } = request;
  try {
    const call = methods.get(method);
    if (call === undefined) throw new RpcError(-32601, 'Method not found');
    const result = call(params);
    return id === undefined ? undefined : { jsonrpc: '2.0', result, id };
  } catch (error) {
    if (!(error instanceof RpcError)) throw error;
    return id === undefined ? undefined : failure(id, error);
  }
}

interface Request {
  method: string;
  params?: unknown;
  id?: string | number | null;
}

function isRequest(value: unknown): value is Request {
  if (typeof value !== 'object' || value === null) return false;
  const { jsonrpc, method, id, params } = value as Record<string, unknown>;
  const knownId = id === undefined || id === null || ['string', 'number'].includes(typeof id);
  const knownParams = params === undefined || (typeof params === 'object' && params !== null);
  return jsonrpc === '2.0' && typeof method === 'string' && knownId && knownParams;
}

function failure(id: string | number | null, { code, message }: RpcError): unknown {
  return { jsonrpc: '2.0', error: { code, message }, id };
}

function numbers(params: unknown): number[] {
  if (Array.isArray(params) && params.every((each) => typeof each === 'number')) return params;
  throw new RpcError(-32602, 'Invalid params');
}

function text(params: unknown): string {
  if (Array.isArray(params) && typeof params[0] === 'string') return params[0];
  throw new RpcError(-32602, 'Invalid params');
}

function send(startResponse: StartResponse, status: Status, answer?: unknown): Uint8Array[] {
  if (answer === undefined) {
    startResponse(status, []);
    return [];
  }
  startResponse(status, [['Content-Type', 'application/json']]);
  return [new TextEncoder().encode(JSON.stringify(answer))];
}

export default rpc;
