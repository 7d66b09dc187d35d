import { connect } from 'node:net';
import type { BodyKind, Client, Scenario } from './scenario.js';
import { parseAnswers } from './wire.js';
import type { Wire, World } from './world.js';

/** The request that follows on a connection that stays open: behind its answer nothing more comes. */
export const LAST = '/last';

/** How long nothing may happen, in milliseconds, before a client takes a server for hung. */
export interface Patience {
  readonly quietMs: number;
}

/** Sends a scenario's request, or its retry, and writes down what comes. */
export async function ask(
  world: World,
  port: number,
  scenario: Scenario,
  patience: Patience,
  isRetry: boolean,
): Promise<void> {
  const { client } = scenario;
  const does = isRetry && client.does.is !== 'pipeline' ? ({ is: 'plain' } as const) : client.does;
  const paths = does.is === 'pipeline' ? ['/one', '/two'] : ['/one'];
  const requests = paths.map((path, i) => requestOf(scenario, path, isRetry, i === paths.length - 1));
  const version = versionOf(client);
  const isLeft =
    client.connection === 'keep-alive' && version === '1.1' && does.is !== 'broken-upload' && does.is !== 'garbage';
  const last = isLeft ? `GET ${LAST} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n` : '';
  const received: Buffer[] = [];
  const wire: Wire = { answers: [], end: 'closed' };
  world.seen.wires.push(wire);
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  socket.setNoDelay(true);
  await new Promise<void>((resolve) => {
    let isOver = false;
    const over = (end: Wire['end']) => {
      if (isOver) return;
      isOver = true;
      wire.end = end;
      if (end === 'hung') world.giveUp();
      clearInterval(watch);
      socket.destroy();
      resolve();
    };
    const leave = (reset: boolean) => {
      if (reset) socket.resetAndDestroy();
      over('left');
    };
    const watch = setInterval(() => {
      if (world.isQuiet(patience.quietMs)) over('hung');
    }, 5);
    socket.on('data', (piece) => {
      world.touch();
      received.push(piece);
      if (does.is === 'abort' && does.after === 'first-byte') leave(does.reset);
      if (does.is === 'slow') {
        socket.pause();
        setTimeout(() => socket.resume(), 1);
      }
    });
    socket.on('end', () => {
      over('closed');
    });
    socket.on('error', () => {
      over('reset');
    });
    socket.on('close', () => {
      over('closed');
    });
    if (does.is === 'slow') {
      socket.pause();
      setTimeout(() => socket.resume(), 8);
    }
    const all = requests.map(({ head, body }) => head + body).join('') + last;
    switch (does.is) {
      case 'split': {
        const { length } = requests[0]?.head ?? '';
        socket.write(all.slice(0, length), 'latin1');
        setTimeout(() => socket.write(all.slice(length), 'latin1'), 2);
        break;
      }
      case 'half-close':
        socket.end(all, 'latin1');
        break;
      case 'broken-upload': {
        const { head = '', body = '' } = requests[0] ?? {};
        socket.write(head + body.slice(0, body.length / 2), 'latin1');
        setTimeout(leave, 3, false);
        break;
      }
      case 'garbage':
        socket.write(all, 'latin1');
        setTimeout(() => socket.write('garbage\r\n\r\n'), 2);
        break;
      default:
        socket.write(all, 'latin1');
        if (does.is === 'abort' && does.after !== 'first-byte') setTimeout(leave, does.after, does.reset);
    }
  });
  wire.answers.push(...parseAnswers(Buffer.concat(received), paths.length));
}

function requestOf(
  scenario: Scenario,
  path: string,
  isRetry: boolean,
  isLast: boolean,
): { head: string; body: string } {
  const { client, key } = scenario;
  const [headers, body] = BODIES[client.body];
  const accepts = isRetry ? client.acceptsThen : client.accepts;
  const lines = [
    `POST ${path} HTTP/${versionOf(client)}`,
    'Host: test',
    'Origin: https://shop.example',
    ...(key === 'explicit' ? [`Idempotency-Key: key-of-${path.slice(1)}`] : []),
    ...(accepts === null ? [] : [`Accept-Encoding: ${accepts}`]),
    ...(versionOf(client) === '1.1' && client.connection === 'close' && isLast ? ['Connection: close'] : []),
    ...headers,
  ];
  return { head: `${lines.join('\r\n')}\r\n\r\n`, body };
}

/** HTTP/1.0 knows no second request. */
function versionOf({ version, does }: Client): Client['version'] {
  return does.is === 'pipeline' ? '1.1' : version;
}

function sized(type: string, body: string): [string[], string] {
  return [[`Content-Type: ${type}`, `Content-Length: ${body.length}`], body];
}

const FORM =
  '--edge\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' +
  '--edge\r\nContent-Disposition: form-data; name="f"; filename="f.txt"\r\nContent-Type: text/plain\r\n\r\nfile\r\n--edge--\r\n';

const BODIES: Readonly<Record<BodyKind, readonly [headers: readonly string[], body: string]>> = {
  none: [['Content-Length: 0'], ''],
  json: sized('application/json', '{"amount":5}'),
  'chunked-json': [
    ['Content-Type: application/json', 'Transfer-Encoding: chunked'],
    '5\r\n{"amo\r\n7\r\nunt":5}\r\n0\r\n\r\n',
  ],
  form: sized('application/x-www-form-urlencoded', 'amount=5'),
  text: sized('text/plain', 'a text of some length'),
  multipart: sized('multipart/form-data; boundary=edge', FORM),
};

/** Whether a client stays until its answer is there. */
export function stays(client: Client): boolean {
  // To Node, a client that ended its half has left, unless the answer is there already.
  return !['abort', 'broken-upload', 'half-close', 'garbage'].includes(client.does.is);
}
