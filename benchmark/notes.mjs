// What the page says beside its numbers.

export const howItWasMeasured = `
Written by \`npm run bench\`. **Read the ratios**: this machine has two cores and was shared with other work while it
measured, and absolute times move with it.

- One process holds a server for each middleware. Blocks of 150 requests go to them in turn, one request in flight; the
  time is that inside the server, from its \`request\` event until \`res.end\` returns. *Added* is the median of the
  differences to the bare server's block of the same round, with its quartiles; *of bare* is the same as a ratio (B).
  M is what the hand-written Map middleware adds to the same work.
- *requests/s* and *CPU* come from 32 connections of another process, in turn as well.
- *checked*: the handler ran exactly as often as there are keys, and every answer had the bytes of the first.
`;

/** Where a target was missed: why, and what would reach it. */
export const notes = {};
