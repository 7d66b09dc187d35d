import { describe, expect, it } from 'vitest';
import { expresses, send } from '../helpers/server.js';
import { bytesOf, expectReplay, servePair } from './exchange.js';
import { mountOn } from './express.js';
import { handlerOf, ways } from './ways.js';

/** A connection that goes on or ends, by both versions of HTTP/1. */
const REQUESTS = [
  'POST / HTTP/1.1',
  'POST / HTTP/1.1\r\nConnection: close',
  'POST / HTTP/1.0',
  'POST / HTTP/1.0\r\nConnection: keep-alive',
];

describe.each(expresses)('$name', ({ express }) => {
  const mount = mountOn(express);

  describe.each(ways)('$name', (way) => {
    it('§4.1 reaches the first client byte for byte as without us', async () => {
      const { bare, guarded } = await servePair(mount, handlerOf(way));
      for (const head of REQUESTS.filter((head) => head.includes(way.on ?? ''))) {
        expect(await bytesOf(guarded, head)).toBe(await bytesOf(bare, head));
      }
    });

    it('§5.1 is replayed with the same status, message, headers and bytes, and runs once', async () => {
      const pair = await servePair(mount, handlerOf(way));
      const first = await send(pair.guarded, { key: 'k' });
      const again = await send(pair.guarded, { key: 'k' });
      if (first.status < 500) expectReplay(again, first);
      // Behind an error the key is free (§4.5).
      else expect(again).toMatchObject({ status: first.status, text: first.text, isReplay: false });
      expect(pair.runs()).toBe(first.status < 500 ? 1 : 2);
    });
  });
});
