import { createHash } from 'node:crypto';

/**
 * Any number of shares from 0 to below 1 that follow from one: where a single draw is not enough. The nth group of
 * eight is SHA-256 over the draw as a big-endian double and n as 32 bits, read as 32-bit numbers.
 */
export function* sharesOf(drawn: number): Generator<number, never> {
  const message = Buffer.alloc(12);
  message.writeDoubleBE(drawn);
  for (let n = 0; ; n++) {
    message.writeUInt32BE(n, 8);
    const digest = createHash('sha256').update(message).digest();
    for (let at = 0; at < 32; at += 4) yield digest.readUInt32BE(at) / 2 ** 32;
  }
}
