// What the page says beside its numbers.

export const howItWasMeasured = `
Written by \`npm run bench\`. **Read the ratios**: absolute times move with the machine (two shared cores; its load average
stands below each scenario).

- One process holds a server for each middleware. Blocks of 150 requests go to them in turn, one request in flight; the
  time is that inside the server, from its \`request\` event until \`res.end\` returns. The first 10 rounds warm up, 60
  are counted (20 of a slow handler, and of tables without a target). *Added* is the median of the differences to the bare server's
  block of the same round, with its quartiles; *of bare* is the same as a ratio (B). M is what the hand-written Map
  middleware adds to the same work in the same rounds. A target in M is held against the ratio of the two medians; beside
  it stands where that lies in 95 of 100 resamplings of the rounds.
- *requests/s* and *CPU* come from 32 connections of another process, in turn as well. They move more than the rest.
- *checked*: the handler ran exactly as often as there are keys, and every answer had the bytes of the first.
- AWS Powertools wraps functions instead of responses and takes no fingerprint here; \`@node-idempotency/core\` has no
  middleware for Express, and is joined to it by its two calls.
- Of the stores of (g), (h) and (m), blocks of *pairs* (a claim and its completion) go to each in turn, and every subject is
  compared with the first one's block of the same round. Redis and PostgreSQL are started for it, as their packages come,
  on the same two cores: what a pair waits for them is theirs, the CPU of the client is not.
- *reprise* stands behind \`express.json()\`, as all others do; *reprise, parseJson* reads the body in its place.
- The machine is shared with others, who slow it down for seconds or minutes, and then reprise more than the Map. Several
  runs of two days read, behind \`express.json()\`: (a) 1.30 M twice, 1.16, 1.87, 1.51 and 1.22; (c) 2.21, 3.85, 2.09, 2.68, 2.60, 2.26 and
  2.30 M; (d) 1.03, 0.97, 0.87, 1.41 and 1.67 M from parsed JSON, 0.85, 0.73, 1.20, 1.13 and 1.18 M from the bytes. With \`parseJson\`: (a)
  −0.33 and −0.67 M; (c) 1.92, 0.03 and 0.04 M; (d) −0.76 and −0.70 M. (e) 1.08 to 1.13, half of eight runs within 1.1, and 1.10; of
  (i), with its path excluded, 0.02, 0.01, 0.05 and −0.00 B.
- Of (f), every subject runs by itself for a second, on a new file, in turn; through Node it runs half a second before, in
  which V8 compiles. Ratios are of one round.

The file store has a benchmark of its own in Rust, too, \`cargo bench --bench file_store\`; the steps of the core have one by
criterion, \`cargo bench --bench core\`.
`;

/** Where a target was missed: why, and what would reach it. */
export const notes = {
  a: `
**With \`parseJson\` a new key takes less time than the bare server**: what it adds is less than what \`express.json()\` and its
dependencies cost, and the response is made cheap (below) before the body is read, which is a part of the gain. Read there, the
bytes are at hand, and no parsed body is written as JSON again to be compared.

**Why the target is missed behind \`express.json()\`.** Where the time of a new key goes, by a clock around each step (medians of
another run, µs, on a machine with other work, which took a quarter longer):

| step                                                                           | Node 20 | Node 24 |
| ------------------------------------------------------------------------------ | ------: | ------: |
| make two hash tables (\`ts/cheap.ts\`)                                         |     5.5 |       0 |
| read the request, \`JSON.stringify\` its body (the Map does, too)               |     5.8 |     3.2 |
| name it and claim its key, one crossing                                        |     8.8 |     7.8 |
| take over the response                                                         |     2.0 |     1.8 |
| read the head of the answer, by public calls                                   |     3.9 |     3.1 |
| its verdict, its record, one crossing                                          |     5.3 |     4.1 |
| the rest                                                                       |     3.1 |     2.6 |

The crossings take so long since nothing of ours is in the processor's caches after Express: on plain \`node:http\` the same
steps take 60 % of that. Canonical JSON on the stack has taken a microsecond off since.

Until V8 13 (Node 24), each property that is added to an object whose prototype was changed gives it a hidden class of its own,
so that no inline cache hits any more (\`%HaveSameMap\` tells). Express changes the prototypes of every request and response. What
hash tables cost is more than saved again by what Node and Express do after; yet most of the time of a bare request is this:
the second table above is of a server that makes its requests in two classes which have \`app.request\` and \`app.response\`
for prototypes, by the options \`IncomingMessage\` and \`ServerResponse\` of \`createServer\`. There a new key under reprise takes
less time than a bare request here. With Node 24 both are as fast without, and the hash tables would cost 11 µs: there is none.

On Node 24, where Express is twice as fast and there is nothing to be made cheap, the target is missed in either place: of a bare
request of 35 µs, reprise adds 28 µs behind \`express.json()\` and 15 with \`parseJson\`, and the Map 6
(\`npx node@24 benchmark/bench.mjs a --quick\`).`,
  b: `
A replay skips the handler and \`res.json\`, but sets each header of the answer anew, so that other middleware's headers
stay. Writing the kept fields in one call of \`writeHead\` where no other middleware has set any would save some of that.`,
  c: `
What is said of (a) holds here too; the rest is the copy of ten kibibytes into the store: 8 µs more than for 300 bytes, six tenths of
them for the system to clear memory that nobody has used before (\`perf record\`). Where the system is slow at that, so is this: one of
three runs read 1.92 M with \`parseJson\`.`,
  d: `
What is said of (a) holds here too. Each table has a bare server of its own, since keeping the bytes costs one something;
all nine servers take turns in the same rounds. The Map takes its fingerprint for the key, of the parsed body both times.
With \`rawBody\` the bytes that the parser has kept are compared; without, the parsed body is written as JSON again.
\`parseJson\` has the bytes, and no parser in front.`,
  e: `
The time is that of sixty-four clients in another process, from the first byte written to the last answer read; the handler
takes 50 ms by its timer, and the limit is 1.1 × as much. Of it, 1 ms is the way of the first request to the handler and of
an answer back, 50.4 the timer, 0.8 the first answer, after everything has slept for so long, 0.3 the news of it, and 2 to
2.8 the sixty-three replays, of which one asks the store for all. Half of a replay's 32 to 45 µs is \`writev\`, which wakes the
client. With texts written straight to the sockets, without Node's responses, the last answer came 1.4 ms earlier: what
reprise itself does in a replay is a small part of that. Without any middleware, where each request runs the handler, Express
takes longer.`,
  i: `
An armed chaos decides in about 6 µs, and yet the request is faster than without it: until Node 24, under Express, it makes the
response cheap first, as the idempotency middleware does (\`ts/cheap.ts\`), and the response that follows saves more than
that. On plain \`node:http\`, where there is nothing to be saved, deciding costs about 3 µs.`,
  f: `
The engine's groups write 64 claims and then 64 completions, with fewer columns, no index of claims and nobody who waits
for them. The core's own pair is the same Rust code without Node, called by 64 tasks of one thread. Through Node, four tenths of
the CPU are the JavaScript thread's and half are the writer's. Records lie in the order in which they come: with rows placed
by their keys, as the engine's are here, each claim and each completion wrote a page of its own, and all rates were some six tenths of these.

**Why four processes do less than one.** Only one of them writes at a time, and SQLite forgets all pages that a process has
read whenever another one has written, so each reads them again at every turn. By a clock around each turn of the core, with 64
callers each: a turn takes 2 ms for 170 steps, from its end to the next one's begin it is 50 µs (median), and a step takes 11 to 12 µs
of it, where it takes 10 in one process. The cores are not the limit there, they work for two thirds of the time; through Node they
work for nine tenths of it. With 16 callers each, four processes do as much as one of 16, 1.11 × in the core and 0.96 × through Node;
what is missing to one with 64 is the size of its groups.

SQLite has its pages in one block since the last run (\`.cargo/config.toml\`), which spares four processes 13,000 page faults a second: through
Node they do 0.90 × instead of 0.87 ×. More pages kept, a mapped file, smaller pages, longer turns, a pause for the callers to come again
before a turn ends, and finding a record by its number where it is completed: none of them made a difference that could be told from the
scatter. One writer for all, who got the steps of the other processes by a socket, did 28 % more with four processes; it was not worth its
weight (docs/decisions/0001-no-leader-in-the-file-store.md).`,
  g: `
The two bare commands are \`SET NX PX\` and \`SET PX\` with as many bytes. A claim is one such command, too (\`SET NX GET PX\`).
The completion is a script, so that it is one round trip: a \`GET\` and a \`SET\`, for which Redis takes some 13 µs, where a bare
\`SET\` takes 1 to 2 (\`INFO commandstats\`, hundreds of them in one pipeline). That is bytes: Lua makes a string of the answer
and another one of the record, where \`SET\` keeps the bytes that came.`,
  h: `
All statements are prepared, once for each connection: to plan the store's took longer than to run them. Inside of a
transaction they are where no pooler is in between, which would end it by refusing one. What the transaction adds is a claim
that is committed before it, and the statement that ends the claim in it: two more round trips, and one more wait for the
disk. The least that keeps a key and an answer knows no
leases, no fences and no owner, and forgets nobody's crash.`,
  k: `
moka's part is done every 2 ms on a thread of its own, so that no call waits for it; the longest claims and completions
are those in which a table of records grows, which is why there are 256 of them, and those that the system interrupts: of
a million calls the longest is another one in every run. The pauses of the collector are taken out of the calls that they fell into. *nothing* is
a loop of JavaScript as long as a \`get\`, in between the calls: what the system does to a million of those, it does to any. Of each record, 1,096 bytes are its answer, for which
mimalloc takes a block of 1,280; the rest is the record, its place in a table that is half full, and in its batch. mimalloc
is built without huge pages: with them a call now and then waited 6 ms for two megabytes at once, and the p99 of the
event loop was 7 ms.`,
  l: `
**Why the target is missed.** Both are faster than with glibc's allocator, where two threads did 0.84 × one: what one of them
allocates the other frees, and for that glibc had them wait for each other. With mimalloc in the addon two threads do more than twice as many
pairs as before, and one does more, too. What is left is not what they share: of two threads that have a
store each, which share nothing, both together do 1.5 to 1.65 × one, where of two that share one store they do 1.4 × (medians of
20 rounds in turns; the bench's own two numbers differ by a tenth from run to run). It is not the memory either: reading and
writing at random in 136 MB each scales to 1.96 ×.

- moka's thread is a third one on two cores. It takes 8 % of a core for each that works (\`perf record\`), and the slower of the two
  counts. With a hundred thousand records a batch has 19 of them; with 64 in each, two threads do 1.46 × one.
- Half of what a thread clears away the other has written: that takes 0.76 µs of a pair instead of 0.52, and mimalloc
  0.13 µs more to give the blocks back to the thread that they came from.
- The count of claims, which both write, makes no difference that could be measured.

A third core for moka's thread would come near; so would tables of each thread's own, which a store that all threads share
cannot have.`,
  m: `
The other tables live on JavaScript's heap, hold a reference to what they are given, and check nothing. MemoryStore copies
each answer out of the heap and back, tells a claim from an answer and the right owner from any other, and gives a promise
for each step. The middleware does not go this way: it calls the store without the promises, and with a key that is
already bytes.`,
};
