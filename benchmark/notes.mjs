// What the page says beside its numbers.

export const howItWasMeasured = `
Written by \`npm run bench\`. **Read the ratios**: this machine has two cores and was shared with other work while it
measured (the load average stands below each scenario), and absolute times move with it.

- One process holds a server for each middleware. Blocks of 150 requests go to them in turn, one request in flight; the
  time is that inside the server, from its \`request\` event until \`res.end\` returns. The first 10 rounds warm up, 20
  are counted (of (a) 20 and 24). *Added* is the median of the differences to the bare server's block of the same round, with its
  quartiles; *of bare* is the same as a ratio (B). M is what the hand-written Map middleware adds to the same work.
- *requests/s* and *CPU* come from 32 connections of another process, in turn as well. They move more than the rest.
- *checked*: the handler ran exactly as often as there are keys, and every answer had the bytes of the first.
- AWS Powertools wraps functions instead of responses and takes no fingerprint here; \`@node-idempotency/core\` has no
  middleware for Express, and is joined to it by its two calls.

Not measured yet: an answer of 10 KiB (c), bursts of duplicates (e) and many records (k), which the runs have but this busy
machine did not finish; the stores outside of the process (file, Redis, PostgreSQL), and worker threads.
`;

/** Where a target was missed: why, and what would reach it. */
export const notes = {
  a: `
**Why the target is missed.** Parts were left out one by one, in the same kind of run (bare request 81 µs): naming the
request, its fingerprint and the claim take 17 µs; the five functions in front of the response's own and its listeners
23 µs; reading the head and holding the last byte back 20 µs; writing the record 10 µs. It is the response that costs,
not the store: called in a loop, with everything in the processor's caches, a claim takes 2.9 µs and a completion
1.5 µs, and five functions assigned to a response, doing nothing, already add 11–13 µs, as much as the whole
hand-written Map, which replaces one. What would reach the target is to guard in front of Express, on the plain
\`node:http\` listener, where one answer object of ours stands for the response, so that nothing is put on Express's.`,
  b: `
A replay skips the handler and \`res.json\`, but sets each header of the answer anew, so that other middleware's headers
stay. Writing the kept fields in one call of \`writeHead\` where no other middleware has set any would save most of it. Why
express-idempotency takes milliseconds for a replay was not looked into.`,
  d: `
What is said of (a) holds here too. Bytes that a parser's \`verify\` has kept are not read yet: both ways write the parsed
body as JSON again, about 3 µs. Reading them would save that, and no more.`,
  e: `
The time includes that of sixty-four clients in the same process, and of a machine with more work than cores.`,
  j: `
A zero delay went by a timer when this was measured, which Node rounds up to 1 ms, as cockatiel's does; the rest is what
other processes had of the core. A macrotask (\`setImmediate\`) would do.`,
};
