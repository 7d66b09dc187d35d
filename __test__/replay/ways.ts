import { createReadStream, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, pipeline, Readable } from 'node:stream';
import { pipeline as pipelined } from 'node:stream/promises';
import { setImmediate as turn } from 'node:timers/promises';
import type { Request, Response } from 'express';
import { afterAll } from 'vitest';
import type { Middleware } from './exchange.js';

/** A handler of Express, and what it answers with. */
export interface Way {
  readonly name: string;
  readonly answer: (req: Request, res: Response) => unknown;
  /** The versions of HTTP that have it; all unless said. */
  readonly on?: 'HTTP/1.1' | 'HTTP/1';
}

/** The way as a handler that anything takes. */
export function handlerOf({ answer }: Way): Middleware {
  return (req, res) => answer(req as Request, res as Response);
}

const folder = mkdtempSync(join(tmpdir(), 'reprise-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** Files to send: one that fits into one read, one that takes several, one without a byte. */
export const files = {
  small: file('small.txt', 'A small file.\n'),
  large: file('large.bin', Buffer.from(Array.from({ length: 200_000 }, (_, i) => i % 251))),
  empty: file('empty.txt', ''),
};

function file(name: string, content: string | Buffer): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

const bytes = Buffer.from([0x00, 0xff, 0x80, 0x0d, 0x0a, 0xe2, 0x82]);

async function* pieces(...all: string[]): AsyncGenerator<string> {
  for (const piece of all) {
    await turn();
    yield piece;
  }
}

/** What Express adds. */
const expressWays: Way[] = [
  { name: 'json of an object', answer: (_, res) => res.status(201).json({ id: 1, name: 'é', list: [null, 1.5] }) },
  { name: 'json of null', answer: (_, res) => res.json(null) },
  { name: 'json of a string', answer: (_, res) => res.json('text') },
  { name: 'json of false', answer: (_, res) => res.json(false) },
  { name: 'json of 0', answer: (_, res) => res.json(0) },
  { name: 'json of undefined', answer: (_, res) => res.json(undefined) },
  { name: 'jsonp', answer: (_, res) => res.jsonp({ a: '\u2028' }) },
  { name: 'send of a string', answer: (_, res) => res.send('Grüße, €') },
  { name: 'send of an empty string', answer: (_, res) => res.send('') },
  { name: 'send of an object', answer: (_, res) => res.send({ a: 1 }) },
  { name: 'send of an array', answer: (_, res) => res.send([1, 2]) },
  { name: 'send of a Buffer', answer: (_, res) => res.send(bytes) },
  { name: 'send of a Buffer with a type', answer: (_, res) => res.type('png').send(bytes) },
  { name: 'send of an empty Buffer', answer: (_, res) => res.send(Buffer.alloc(0)) },
  { name: 'send of null', answer: (_, res) => res.send(null) },
  { name: 'send of nothing', answer: (_, res) => res.send() },
  { name: 'send of false', answer: (_, res) => res.send(false) },
  { name: 'send of a number as text', answer: (_, res) => res.send(String(42)) },
  { name: 'sendStatus 200', answer: (_, res) => res.sendStatus(200) },
  { name: 'sendStatus 201', answer: (_, res) => res.sendStatus(201) },
  { name: 'sendStatus 204', answer: (_, res) => res.sendStatus(204) },
  { name: 'sendStatus 404', answer: (_, res) => res.sendStatus(404) },
  { name: 'a status without a name', answer: (_, res) => res.sendStatus(299) },
  { name: '204', answer: (_, res) => res.status(204).end() },
  { name: '204 with a body that may not be', answer: (_, res) => res.status(204).end('junk') },
  {
    name: '204 with a piece that may not be',
    answer: (_, res) => {
      res.status(204).write('junk');
      res.end();
    },
  },
  { name: '205', answer: (_, res) => res.status(205).send('junk') },
  { name: '304', answer: (_, res) => res.status(304).set('ETag', '"a"').end() },
  {
    name: '304 with the length of what it stands for',
    answer: (_, res) => res.writeHead(304, { 'Content-Length': 99 }).end(),
  },
  { name: '206', answer: (_, res) => res.status(206).set('Content-Range', 'bytes 0-3/9').send('part') },
  { name: '400 with a problem', answer: (_, res) => res.status(400).type('application/problem+json').send('{}') },
  {
    name: 'redirect',
    answer: (_, res) => {
      res.redirect('/elsewhere?a=ä');
    },
  },
  {
    name: 'redirect with a status',
    answer: (_, res) => {
      res.redirect(303, '/elsewhere');
    },
  },
  { name: 'location', answer: (_, res) => res.location('/made/1').status(201).end() },
  {
    name: 'format',
    answer: (_, res) => res.format({ 'text/plain': () => res.send('plain'), json: () => res.json({}) }),
  },
  {
    name: 'append',
    answer: (_, res) => res.append('X-A', '1').append('X-A', ['2', '3']).append('Link', '<b>').send('a'),
  },
  {
    name: 'links, vary, attachment and type',
    answer: (_, res) => res.links({ next: '/2' }).vary('X-Own').attachment('a €.csv').type('csv').send('1;2'),
  },
  { name: 'an ETag of its own', answer: (_, res) => res.set('ETag', '"own"').send('tagged') },
  {
    name: 'a type of its own, without charset',
    answer: (_, res) => {
      res.setHeader('Content-Type', 'application/json');
      res.end('{}');
    },
  },
  {
    name: 'a header removed that Express had set',
    answer: (_, res) => {
      res.removeHeader('X-Powered-By');
      res.send('quiet');
    },
  },
  { name: 'a header replaced that Express had set', answer: (_, res) => res.set('X-Powered-By', 'us').send('proud') },
  {
    name: 'sendFile',
    answer: (_, res) => {
      res.sendFile(files.small);
    },
  },
  {
    name: 'sendFile of several reads',
    answer: (_, res) => {
      res.sendFile(files.large);
    },
  },
  {
    name: 'sendFile of an empty file',
    answer: (_, res) => {
      res.sendFile(files.empty);
    },
  },
  {
    name: 'sendFile with a root, headers and a callback',
    answer: (_, res) => {
      res.sendFile('small.txt', { root: folder, headers: { 'X-File': 'yes' }, maxAge: 5000 }, () => undefined);
    },
  },
  {
    name: 'sendFile of a range',
    answer: (req, res) => {
      req.headers.range = 'bytes=2-6';
      res.sendFile(files.small);
    },
  },
  {
    name: 'sendFile of what is not there',
    answer: (_, res) => {
      res.sendFile(join(folder, 'none'));
    },
  },
  {
    name: 'download',
    answer: (_, res) => {
      res.download(files.large, 'named €.bin');
    },
  },
  {
    name: 'json, twice',
    answer: (_, res) => {
      res.json({ first: true });
      res.json({ second: true });
    },
  },
  {
    name: 'an async handler',
    answer: async (_, res) => {
      await turn();
      res.json({ late: true });
    },
  },
  {
    name: 'an answer after the handler returned',
    answer: (_, res) => {
      setTimeout(() => res.json({ later: true }), 5);
    },
  },
];

/** What Node's response has, by itself. */
export const nodeWays: Way[] = [
  // end
  { name: 'end', answer: (_, res) => res.end() },
  { name: 'end of text', answer: (_, res) => res.end('€') },
  { name: 'end of an empty text', answer: (_, res) => res.end('') },
  { name: 'end of a Buffer', answer: (_, res) => res.end(bytes) },
  { name: 'end of a Uint8Array', answer: (_, res) => res.end(new Uint8Array(bytes)) },
  { name: 'end of null', answer: (_, res) => res.end(null) },
  ...(['utf8', 'latin1', 'binary', 'ascii', 'ucs2', 'utf16le'] as const).map((encoding) => ({
    name: `end of text in ${encoding}`,
    answer: (_: unknown, res: Response) => res.end('00ff7Aé', encoding),
  })),
  { name: 'end of text in hex', answer: (_, res) => res.end('00ff7a', 'hex') },
  { name: 'end of text in base64', answer: (_, res) => res.end('AP96w6k=', 'base64') },
  { name: 'end of text in base64url', answer: (_, res) => res.end('AP96w6k', 'base64url') },
  {
    name: 'pieces in several encodings',
    answer: (_, res) => {
      res.write('é', 'latin1');
      res.write('/w==', 'base64');
      res.write('é', 'utf16le');
      res.end('ff00', 'hex');
    },
  },
  {
    name: 'write, then end',
    answer: (_, res) => {
      res.write('first,');
      res.end('last');
    },
  },
  {
    name: 'write, then end of nothing',
    answer: (_, res) => {
      res.write('all');
      res.end();
    },
  },
  {
    name: 'write of nothing, then end',
    answer: (_, res) => {
      res.write('');
      res.end('all');
    },
  },
  {
    name: 'a Buffer that is used again',
    answer: (_, res) => {
      const one = Buffer.from('one');
      res.write(one, () => {
        one.write('two');
        res.write(one, () => {
          one.write('end');
          res.end(one);
        });
      });
    },
  },
  {
    name: 'pieces in turns',
    answer: async (_, res) => {
      for (const piece of ['a', 'b', 'c']) {
        res.write(piece);
        await turn();
      }
      res.end();
    },
  },
  {
    name: 'pieces in a cork',
    answer: (_, res) => {
      res.cork();
      res.write('a');
      res.write('b');
      process.nextTick(() => {
        res.uncork();
        res.end('c');
      });
    },
  },
  {
    name: 'a length announced, and reached by end',
    answer: (_, res) => {
      res.setHeader('Content-Length', '4');
      res.write('ab');
      res.end('cd');
    },
  },
  {
    name: 'a length announced, and reached before end',
    answer: async (_, res) => {
      res.setHeader('Content-Length', '4');
      res.write('ab');
      res.write('cd');
      await turn();
      res.end();
    },
  },
  {
    name: 'a length announced, in one piece',
    answer: (_, res) => {
      res.setHeader('Content-Length', '4');
      res.write('abcd');
      res.end();
    },
  },
  {
    name: 'a length of zero announced',
    answer: (_, res) => {
      // Of HTTP/2, `setHeader` returns nothing.
      res.setHeader('Content-Length', '0');
      res.end();
    },
  },
  {
    name: 'a length announced by writeHead',
    answer: (_, res) => {
      res.writeHead(200, { 'content-length': '4' });
      res.write('abcd');
      res.end();
    },
  },
  {
    name: 'chunks asked for',
    on: 'HTTP/1',
    answer: (_, res) => {
      res.setHeader('Transfer-Encoding', 'chunked').end('chunk');
    },
  },
  {
    name: 'Content-Length refused',
    on: 'HTTP/1',
    answer: (_, res) => {
      res.removeHeader('Content-Length');
      res.end('none');
    },
  },
  {
    name: 'Connection: close',
    on: 'HTTP/1',
    answer: (_, res) => {
      res.setHeader('Connection', 'close').end('bye');
    },
  },

  // Streams
  { name: 'pipe', answer: (_, res) => createReadStream(files.large).pipe(res) },
  {
    name: 'pipe of several, the last one ends',
    answer: (_, res) => {
      const first = Readable.from(pieces('a', 'b'));
      first.pipe(res, { end: false });
      first.on('end', () => Readable.from(pieces('c')).pipe(res));
    },
  },
  {
    name: 'pipe, and a last word',
    answer: (_, res) => {
      const first = Readable.from(pieces('a', 'b'));
      first.pipe(res, { end: false });
      first.on('close', () => setImmediate(() => res.end('last')));
    },
  },
  {
    name: 'pipe through a transform',
    answer: (_, res) => createReadStream(files.small).pipe(new PassThrough()).pipe(res),
  },
  {
    name: 'pipeline',
    answer: (_, res) => {
      pipeline(createReadStream(files.large), res, () => undefined);
    },
  },
  {
    name: 'pipeline of promises',
    // On a connection that closes before its last answer is out, it rejects; connect leaves that to the process.
    answer: (_, res) => pipelined(Readable.from(pieces('x', 'y', 'z')), res).catch(() => undefined),
  },
  { name: 'pipe of a stream that is empty', answer: (_, res) => Readable.from([]).pipe(res) },

  // Heads
  {
    name: 'a status message',
    on: 'HTTP/1',
    answer: (_, res) => {
      res.statusMessage = 'Quite So';
      res.end('a');
    },
  },
  {
    name: 'writeHead',
    answer: (_, res) => {
      res.writeHead(202);
      res.end('a');
    },
  },
  {
    name: 'writeHead with an object',
    answer: (_, res) => {
      res.writeHead(201, { 'X-A': '1', 'x-b': ['2', '3'], 'X-C': 4 });
      res.end('a');
    },
  },
  {
    name: 'writeHead with a message',
    on: 'HTTP/1',
    answer: (_, res) => {
      res.writeHead(201, 'Grown');
      res.end('a');
    },
  },
  {
    name: 'writeHead with a message and an object',
    on: 'HTTP/1',
    answer: (_, res) => {
      res.writeHead(201, 'Grown', { 'X-A': '1' });
      res.end('a');
    },
  },
  {
    name: 'writeHead with an empty message',
    on: 'HTTP/1',
    answer: (_, res) => {
      res.writeHead(201, '');
      res.end('a');
    },
  },
  {
    name: 'writeHead with a flat array',
    answer: (_, res) => {
      res.writeHead(200, ['X-A', '1', 'X-B', '2', 'X-A', '3']);
      res.end('a');
    },
  },
  {
    name: 'writeHead over headers that were set',
    answer: (_, res) => {
      for (const name of ['X-A', 'X-B', 'X-Z']) res.setHeader(name, '0');
      res.writeHead(200, { 'x-b': '1', 'X-C': '2' });
      res.end('a');
    },
  },
  {
    name: 'writeHead with a flat array over headers that were set',
    answer: (_, res) => {
      for (const name of ['X-A', 'X-Z']) res.setHeader(name, '0');
      res.writeHead(200, ['X-A', '1', 'Link', '<a>', 'Link', '<b>']);
      res.end('a');
    },
  },
  {
    name: 'writeHead, and the body later',
    answer: async (_, res) => {
      res.writeHead(200, { 'Content-Type': 'text/plain' });
      await turn();
      res.end('a');
    },
  },
  {
    name: 'flushHeaders',
    answer: async (_, res) => {
      res.setHeader('X-Early', 'yes');
      res.flushHeaders();
      await turn();
      res.end('a');
    },
  },
  {
    name: 'flushHeaders of a 204',
    answer: async (_, res) => {
      res.statusCode = 204;
      res.flushHeaders();
      await turn();
      res.end();
    },
  },
  {
    name: 'appendHeader and setHeaders',
    on: 'HTTP/1',
    answer: (_, res) => {
      res.appendHeader('X-A', '1').appendHeader('x-a', '2');
      res.setHeaders(new Map([['X-M', '3']]));
      res.end('a');
    },
  },
  {
    name: 'headers of numbers and lists',
    answer: (_, res) => {
      res.setHeader('X-N', 5);
      res.setHeader('X-L', ['a', 'b']);
      res.end('a');
    },
  },
  {
    name: 'a header of Latin-1',
    on: 'HTTP/1',
    answer: (_, res) => {
      res.setHeader('X-L', 'caf\u00e9');
      // Behind text of UTF-8, Node sends the head as UTF-8 too.
      res.end(Buffer.from('a'));
    },
  },
  {
    name: 'a header without a value',
    answer: (_, res) => {
      res.setHeader('X-E', '');
      res.end('a');
    },
  },
  {
    name: 'no Date',
    answer: (_, res) => {
      res.sendDate = false;
      res.end('a');
    },
  },
  {
    name: 'early hints',
    answer: (_, res) => {
      res.writeEarlyHints({ link: '</a.css>; rel=preload', 'x-hint': 'yes' });
      res.end('a');
    },
  },
  {
    name: 'writeContinue and writeProcessing',
    on: 'HTTP/1',
    answer: (_, res) => {
      res.writeContinue();
      res.writeProcessing();
      res.end('a');
    },
  },
  {
    name: 'trailers',
    on: 'HTTP/1.1',
    answer: (_, res) => {
      res.setHeader('Trailer', 'X-Sum');
      res.write('a');
      res.addTrailers({ 'X-Sum': '1' });
      res.end();
    },
  },

  // What is refused by Node, and answered by the error handler
  {
    name: 'a second answer',
    answer: (_, res) => {
      res.end('first');
      res.setHeader('X-A', 'second');
    },
  },
  {
    name: 'a second end',
    answer: (_, res) => {
      // Without a listener it would end the process, as Node has it.
      res.on('error', () => undefined);
      res.end('first');
      res.end('second');
    },
  },
  {
    name: 'a status that is none',
    on: 'HTTP/1',
    answer: (_, res) => {
      res.statusCode = 99_999;
      res.end('a');
    },
  },
  {
    name: 'a status message that is none',
    on: 'HTTP/1',
    answer: (_, res) => {
      res.statusMessage = 'a\nb';
      res.end('a');
    },
  },
  {
    name: 'a header that is none',
    answer: (_, res) => {
      res.writeHead(200, { 'X-A': 'a\nb' });
      res.end('a');
    },
  },
  {
    name: 'pairs over headers that were set',
    on: 'HTTP/1',
    answer: (_, res) => {
      res.writeHead(200, [
        ['X-A', '1'],
        ['X-B', '2'],
      ] as never);
      res.end('a');
    },
  },
  { name: 'a body that is none', on: 'HTTP/1', answer: (_, res) => res.end(5 as never) },
  { name: 'a piece that is none', on: 'HTTP/1', answer: (_, res) => res.write(null) },
];

/** All of them, for Express. */
export const ways: Way[] = [...expressWays, ...nodeWays];
