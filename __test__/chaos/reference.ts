import { createHash } from 'node:crypto';

// The draw as src/chaos/draw.rs defines it, written a second time from that text alone.

const MASK = (1n << 64n) - 1n;
const rotate = (word: bigint, bits: bigint) => ((word << bits) | (word >> (64n - bits))) & MASK;

/** SipHash-2-4 with the given number of 64-bit words of output. */
function sipHash(key: readonly [bigint, bigint], message: Buffer, words: 1 | 2): bigint[] {
  let [v0, v1, v2, v3] = [
    key[0] ^ 0x736f6d6570736575n,
    key[1] ^ 0x646f72616e646f6dn ^ (words === 2 ? 0xeen : 0n),
    key[0] ^ 0x6c7967656e657261n,
    key[1] ^ 0x7465646279746573n,
  ];
  const rounds = (count: number) => {
    for (let round = 0; round < count; round++) {
      v0 = (v0 + v1) & MASK;
      v1 = rotate(v1, 13n) ^ v0;
      v0 = rotate(v0, 32n);
      v2 = (v2 + v3) & MASK;
      v3 = rotate(v3, 16n) ^ v2;
      v0 = (v0 + v3) & MASK;
      v3 = rotate(v3, 21n) ^ v0;
      v2 = (v2 + v1) & MASK;
      v1 = rotate(v1, 17n) ^ v2;
      v2 = rotate(v2, 32n);
    }
  };
  const padded = Buffer.alloc(Math.floor(message.length / 8) * 8 + 8);
  message.copy(padded);
  padded[padded.length - 1] = message.length & 0xff;
  for (let offset = 0; offset < padded.length; offset += 8) {
    const word = padded.readBigUInt64LE(offset);
    v3 ^= word;
    rounds(2);
    v0 ^= word;
  }
  v2 ^= words === 2 ? 0xeen : 0xffn;
  rounds(4);
  const output = [v0 ^ v1 ^ v2 ^ v3];
  if (words === 2) {
    v1 ^= 0xddn;
    rounds(4);
    output.push(v0 ^ v1 ^ v2 ^ v3);
  }
  return output;
}

const PURPOSES = ['fire', 'status', 'latency', 'victim', 'cut'] as const;
export type Purpose = (typeof PURPOSES)[number];

/** 64 bits for one purpose of one rule at one attempt of one request key. */
export function draw(seed: string, requestKey: string, attempt: number, rule: string, purpose: Purpose): bigint {
  const seedKey = createHash('sha256').update(seed).digest();
  const [h1 = 0n, h2 = 0n] = sipHash(
    [seedKey.readBigUInt64LE(0), seedKey.readBigUInt64LE(8)],
    Buffer.from(requestKey),
    2,
  );
  const message = Buffer.alloc(5);
  message.writeUInt8(PURPOSES.indexOf(purpose), 0);
  message.writeUInt32LE(attempt, 1);
  const [word = 0n] = sipHash([h1, h2], Buffer.concat([message, Buffer.from(rule)]), 1);
  return word;
}

/** Whether a draw fires at a probability with few digits, such as 0.25. */
export function fires(probability: number, word: bigint): boolean {
  return word < BigInt(Math.floor(probability * 2 ** 53)) << 11n;
}

/** Which of `n` things a draw chooses. */
export function choose(n: number, word: bigint): number {
  return Number((word * BigInt(n)) >> 64n);
}

/** The share from 0 to below 1 that a draw stands for. */
export function share(word: bigint): number {
  return Number(word >> 11n) / 2 ** 53;
}

/** The status that an attempt of a key is answered with, 200 where it is spared. */
export function expectedStatus(seed: string, requestKey: string, attempt: number, failureProbability: number): number {
  if (!fires(failureProbability, draw(seed, requestKey, attempt, 'failure', 'fire'))) return 200;
  return [500, 503, 504, 429][choose(4, draw(seed, requestKey, attempt, 'failure', 'status'))] ?? 0;
}
