import { createHash } from 'node:crypto';
import type { ClaimRef, ClaimRequest, KeptAnswer } from '../contract.js';
import type { RedisArgument } from './client.js';

/**
 * A step of the contract as a script: Redis runs each as one, on one key, with the time of the server.
 *
 * A record is a string, since a script costs Redis by the commands in it: to read and to write a string is one each.
 *
 * ```
 * p--3 36 <owner>86400000 64 64 <fingerprint><identity><rest>
 * ```
 *
 * That is its state (`p` in progress, `c` completed, `n` not replayable, `i` indeterminate, `f` free); `m` where the commit
 * point is passed and `w` where somebody waits, else `-`; the fence; the owner, behind its length; the retention in
 * milliseconds; fingerprint and identity, behind the lengths of both; and the rest: of a completed one the answer, which is
 * the head, behind its length, and the body; else saved progress.
 *
 * The key's own time to live is the retention; that of a claim in progress begins at the end of its lease. So the lease
 * has what the key has left, but for the retention.
 */
export interface Script {
  readonly source: string;
  readonly sha1: string;
}

/** A record in its parts; `fixed` is all that does not change between a claim and its end. */
const READ = `
local function read(record)
  local state, mark, waits, fence, owned, at = string.match(record, '^([pcnif])([-m])([-w])(%d+) (%d+) ()')
  if not state then error('this is no record of reprise') end
  local retention, printed, identified, from = string.match(record, '^(%d+) (%d+) (%d+) ()', at + owned)
  if not retention then error('this is no record of reprise') end
  local identity, rest = from + printed, from + printed + identified
  return {
    state = state, committed = mark == 'm', awaited = waits == 'w', fence = fence,
    owner = string.sub(record, at, at + owned - 1), retention = tonumber(retention),
    fingerprint = string.sub(record, from, identity - 1), identity = string.sub(record, identity, rest - 1),
    fixed = string.sub(record, 4, rest - 1), rest = string.sub(record, rest)
  }
end
`;

/** Milliseconds left of the lease of a claim in progress. */
const LEASE_LEFT = `
local function leaseLeft(record)
  return redis.call('PTTL', KEYS[1]) - record.retention
end
`;

/**
 * Writes what ends a claim or frees a key, also into a full Redis. That refuses a script at a command that may need memory,
 * unless the script has written before: here the time to live that the key has anyway.
 */
const KEEP = `
local function keep(...)
  if redis.pcall('SET', KEYS[1], ...).err then
    redis.call('PEXPIRE', KEYS[1], redis.call('PTTL', KEYS[1]))
    redis.call('SET', KEYS[1], ...)
  end
end
`;

/**
 * Ends the waiting of those who said that they wait, on the channel `<prefix>settled`. KEYS[1] may carry a prefix of the
 * client's own before that of the store. A user of Redis that may not publish has written all the same: the others look for
 * themselves when the lease has run out.
 */
const WAKE = `
local function wake(prefixed, named)
  local at = #KEYS[1] - named + 1
  redis.pcall('PUBLISH', string.sub(KEYS[1], at - prefixed, at - 1) .. 'settled', string.sub(KEYS[1], at))
end
`;

/** The arguments of `claim`: the record of a key's first claim, its time to live, and 1 to claim over an indeterminate one. */
export function claimArguments(
  { fingerprint, identity, owner, leaseMs, overIndeterminate = false }: ClaimRequest,
  retention: number,
): string[] {
  const lengths = `${Buffer.byteLength(fingerprint)} ${Buffer.byteLength(identity)}`;
  const record = `p--${claimName(owner, 1)}${retention} ${lengths} ${fingerprint}${identity}`;
  const timeToLive = String(leaseMs + retention);
  return overIndeterminate ? [record, timeToLive, '1'] : [record, timeToLive];
}

/** Fence and owner, as they stand in a record. */
function claimName(owner: string, fence: number): string {
  return `${fence} ${Buffer.byteLength(owner)} ${owner}`;
}

/**
 * ARGV: see {@link claimArguments}. A new claim without progress is told by its fence alone: that is what nearly all get,
 * and a number costs a client least. A full Redis refuses the one command that may need memory.
 */
const CLAIM = `
local kept = redis.call('GET', KEYS[1])
local claimed, fence, progress = ARGV[1], 1, ''
if kept then
  ${READ}${LEASE_LEFT}${KEEP}
  local record, asked = read(kept), read(claimed)
  local state = record.state
  local left = state == 'p' and leaseLeft(record)
  if left and left <= 0 then
    state = record.committed and 'i' or 'f'
    if state == 'i' then keep('i--' .. record.fixed .. record.rest, 'KEEPTTL') end
  end
  if state ~= 'f' then
    if record.identity ~= asked.identity then return { 'mismatch', 'identity' } end
    if record.fingerprint ~= asked.fingerprint then return { 'mismatch', 'fingerprint' } end
    if state == 'c' then return { 'completed', record.rest } end
    if state == 'n' then return { 'not-replayable' } end
    if state == 'i' and not ARGV[3] then return { 'indeterminate' } end
    if state == 'p' then
      if record.owner ~= asked.owner then return { 'in-progress', tostring(left) } end
      redis.call('PEXPIRE', KEYS[1], ARGV[2] - asked.retention + record.retention)
      return { 'claimed', record.fence, record.rest }
    end
  end
  fence, progress = record.fence + 1, record.rest
  claimed = 'p--' .. fence .. string.sub(claimed, 5) .. progress
end
local written = redis.pcall('SET', KEYS[1], claimed, 'PX', ARGV[2])
if written.err then return string.find(written.err, 'OOM', 1, true) and { 'full' } or written end
if progress == '' then return fence end
return { 'claimed', tostring(fence), progress }
`;

/**
 * The arguments of `settle`: the new state, the retention, how long are the claim's name, the prefix and the key's name, and
 * the claim's name, in one, since each costs a client as much as its bytes; and the answer of a completed one, by itself,
 * since to cut it out costs Redis more.
 */
export function settleArguments(
  { key, owner, fence }: ClaimRef,
  state: 'c' | 'n' | 'i' | 'f',
  retention: number,
  prefix: string,
  answer?: KeptAnswer,
): RedisArgument[] {
  const claim = claimName(owner, fence);
  const lengths = `${Buffer.byteLength(claim)} ${Buffer.byteLength(prefix)} ${Buffer.byteLength(key)}`;
  const end = `${state}${retention} ${lengths} ${claim}`;
  return answer ? [end, answerBytes(answer)] : [end];
}

/** An answer as it stands in a record. */
export function answerBytes({ head, body }: KeptAnswer): Buffer {
  const length = `${head.length} `;
  const bodyAt = length.length + head.length;
  const bytes = Buffer.allocUnsafe(bodyAt + body.length);
  bytes.write(length + head, 'latin1');
  bytes.set(body, bodyAt);
  return bytes;
}

/** The answer in a completed record of the same request. Of any other record the script `claim` says what it is. */
export function answerIn(record: Buffer, { fingerprint, identity }: ClaimRequest): KeptAnswer | undefined {
  const claimed = /^c--\d+ (\d+) /.exec(record.toString('latin1', 0, LONGEST_NUMBERS));
  if (!claimed) return undefined;
  const retentionAt = claimed[0].length + Number(claimed[1]);
  const numbers = record.toString('latin1', retentionAt, retentionAt + LONGEST_NUMBERS);
  const [before = '', printed, identified] = /^\d+ (\d+) (\d+) /.exec(numbers) ?? [];
  const identityAt = retentionAt + before.length + Number(printed);
  const answerAt = identityAt + Number(identified);
  const isSame =
    record.toString('utf8', retentionAt + before.length, identityAt) === fingerprint &&
    record.toString('utf8', identityAt, answerAt) === identity;
  return isSame ? readAnswer(record.subarray(answerAt)) : undefined;
}

/** Characters that three numbers can take. */
const LONGEST_NUMBERS = 64;

/** Reads what {@link answerBytes} wrote; better no answer than a wrong one. */
export function readAnswer(bytes: Buffer): KeptAnswer {
  const [start, length] = /^(\d+) /.exec(bytes.toString('latin1', 0, LONGEST_NUMBERS)) ?? [];
  const headAt = start?.length ?? 0;
  const bodyAt = headAt + Number(length);
  if (start === undefined || bodyAt > bytes.length) throw new Error('RedisStore: a completed record has no answer');
  return { head: bytes.toString('latin1', headAt, bodyAt), body: bytes.subarray(bodyAt) };
}

/**
 * ARGV: see {@link settleArguments}. A completion that is repeated, by a driver that lost the reply, is as good as the first.
 * It reads no more of the record than it needs: this is what every request waits for.
 */
const SETTLE = `
local state, retention, length, prefixed, named, at = string.match(ARGV[1], '^(%a)(%d+) (%d+) (%d+) (%d+) ()')
local kept = redis.call('GET', KEYS[1])
if not kept or string.sub(kept, 4, 3 + length) ~= string.sub(ARGV[1], at, at + length - 1) then return 0 end
local was, mark, waits = string.match(kept, '^(.)(.)(.)')
local printed, identified, from = string.match(kept, '^%d+ (%d+) (%d+) ()', 4 + length)
local rest, answer = from + printed + identified, ARGV[2] or ''
if was == 'c' and state == 'c' then return string.sub(kept, rest) == answer and 1 or 0 end
if was ~= 'p' then return 0 end
if state == 'f' and mark == 'm' then state = 'i' end
${KEEP}
if state == 'c' or state == 'n' then
  keep(state .. '--' .. string.sub(kept, 4, rest - 1) .. answer, 'PX', retention)
else
  keep(state .. '--' .. string.sub(kept, 4), 'PX', retention)
end
if waits == 'w' then
  ${WAKE}
  wake(prefixed, named)
end
return 1
`;

/** Leaves what is written under a claim that is another's by now, or nobody's. ARGV: owner, fence. */
const READ_OWN = `${READ}
local kept = redis.call('GET', KEYS[1])
local record = kept and read(kept)
if not record or record.state ~= 'p' or record.owner ~= ARGV[1] or record.fence ~= ARGV[2] then return 0 end
`;

/** ARGV: owner, fence, lease. */
const RENEW = `${READ_OWN}
redis.call('PEXPIRE', KEYS[1], ARGV[3] + record.retention)
return 1
`;

/** ARGV: owner, fence. */
const COMMIT = `${READ_OWN}
redis.call('SETRANGE', KEYS[1], 1, 'm')
return 1
`;

/** ARGV: owner, fence, progress. */
const SAVE = `${READ_OWN}
redis.call('SET', KEYS[1], string.sub(kept, 1, 3) .. record.fixed .. ARGV[3], 'KEEPTTL')
return 1
`;

const INSPECT = `${READ}${LEASE_LEFT}
local kept = redis.call('GET', KEYS[1])
local record = kept and read(kept)
if not record or record.state == 'f' then return false end
local state, fence = record.state, record.fence
if state == 'p' then
  local left = leaseLeft(record)
  if left > 0 then return { 'in-progress', fence, tostring(left) } end
  if not record.committed then return false end
  state = 'i'
end
local left = tostring(redis.call('PTTL', KEYS[1]))
if state == 'n' then return { 'not-replayable', fence, left } end
if state == 'i' then return { 'indeterminate', fence, left } end
return { 'completed', fence, left, record.rest }
`;

/** ARGV: how long prefix and name are. The fence stays, for the next claim's must be higher. */
const FORGET = `${READ}${LEASE_LEFT}${KEEP}${WAKE}
local kept = redis.call('GET', KEYS[1])
local record = kept and read(kept)
if not record or record.state == 'f' then return 0 end
local lapsed = record.state == 'p' and not record.committed and leaseLeft(record) <= 0
keep('f--' .. record.fixed, 'KEEPTTL')
if record.awaited then wake(ARGV[1], ARGV[2]) end
return lapsed and 0 or 1
`;

/** Milliseconds that there is something to wait for; whoever ends the claim from here on tells. */
const WAIT = `${READ}${LEASE_LEFT}
local kept = redis.call('GET', KEYS[1])
local record = kept and read(kept)
if not record or record.state ~= 'p' then return 0 end
local left = leaseLeft(record)
if left <= 0 then return 0 end
if not record.awaited then redis.call('SETRANGE', KEYS[1], 2, 'w') end
return left
`;

/** ARGV: the state to end in, retention, and the answer of a completed one. Nobody waits for an indeterminate record. */
const RESOLVE = `${READ}${LEASE_LEFT}${KEEP}
local kept = redis.call('GET', KEYS[1])
local record = kept and read(kept)
if not record then return 0 end
local lapsed = record.state == 'p' and record.committed and leaseLeft(record) <= 0
if record.state ~= 'i' and not lapsed then return 0 end
keep(ARGV[1] .. '--' .. record.fixed .. (ARGV[1] == 'f' and record.rest or ARGV[3] or ''), 'PX', ARGV[2])
return 1
`;

/** One record of a list: state, fence, time left, bytes; or `damaged` and why. */
const LIST = `${READ}${LEASE_LEFT}
local type = redis.call('TYPE', KEYS[1]).ok
if type == 'none' then return false end
if type ~= 'string' then return { 'damaged', 'is a ' .. type .. ', not a string' } end
local isRecord, record = pcall(read, redis.call('GET', KEYS[1]))
if not isRecord then return { 'damaged', 'does not begin as a record does' } end
if tonumber(record.fence) < 1 then return { 'damaged', 'has no fence' } end
local left = redis.call('PTTL', KEYS[1])
if left < 0 then return { 'damaged', 'never expires' } end
local names = { p = 'in-progress', c = 'completed', n = 'not-replayable', i = 'indeterminate', f = 'free' }
local state, bytes = names[record.state], #record.rest
if state == 'completed' then
  local head, at = string.match(record.rest, '^(%d+) ()')
  if not head or at + head > bytes + 1 then return { 'damaged', 'is completed, without an answer' } end
  bytes = bytes - at + 1
end
if state == 'in-progress' then
  local lease = leaseLeft(record)
  if lease > 0 then left = lease elseif record.committed then state = 'indeterminate' else state = 'free' end
end
return { state, record.fence, tostring(left), tostring(bytes) }
`;

/** The steps of the contract, and those of operators. */
export const scripts = {
  claim: script(CLAIM),
  settle: script(SETTLE),
  renew: script(RENEW),
  commit: script(COMMIT),
  save: script(SAVE),
  inspect: script(INSPECT),
  forget: script(FORGET),
  wait: script(WAIT),
  resolve: script(RESOLVE),
  list: script(LIST),
};

function script(source: string): Script {
  // Redis names scripts by their SHA-1.
  return { source, sha1: createHash('sha1').update(source).digest('hex') };
}
