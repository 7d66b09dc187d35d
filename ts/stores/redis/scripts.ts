import { createHash } from 'node:crypto';
import type { ClaimRef, ClaimRequest } from '../contract.js';

/**
 * A step of the contract as a script: Redis runs each as one, on one key, with the time of the server.
 *
 * A record is a hash: `s` its state (`p` in progress, `c` completed, `n` not replayable, `i` indeterminate, `f` free),
 * `f` the fence, `fp` and `id` fingerprint and identity, `o` the owner, `l` when the lease ends, `m` the commit point
 * is passed, `r` the retention, `g` progress, `h` and `b` the answer, `w` somebody waits. The key's own time to live
 * is the retention; that of a claim in progress begins at the end of its lease.
 *
 * A full Redis refuses a script at its first command that may need memory, and none after one that has written. So a
 * claim begins with `HSET`, and is refused; what ends a claim, or keeps it, begins with a command that needs none.
 */
export interface Script {
  readonly source: string;
  readonly sha1: string;
}

const NOW = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`;

/**
 * Ends the waiting of those who said that they wait. KEYS[1] may carry a prefix of the client's own. A user of Redis that
 * may not publish has written all the same: the others look for themselves when the lease has run out.
 */
const WAKE = (waited: string, channel: string, name: string): string => `
if ${waited} then redis.pcall('PUBLISH', ${channel}, ${name}) end
`;

/** Few arguments, since each costs a client as much as its bytes: here one, of numbers, then texts and how long they are. */
export function claimArgument(
  { fingerprint, identity, owner, leaseMs, overIndeterminate = false }: ClaimRequest,
  retention: string,
): string {
  const lengths = `${Buffer.byteLength(fingerprint)} ${Buffer.byteLength(identity)}`;
  return `${lengths} ${leaseMs} ${retention} ${overIndeterminate ? 1 : 0} ${fingerprint}${identity}${owner}`;
}

/**
 * ARGV: see {@link claimArgument}. A new claim without progress is told by its fence alone: that is what nearly all get, and
 * a number costs a client least.
 */
const CLAIM = `${NOW}
local printed, identified, lease, retention, over, names = string.match(ARGV[1], '^(%d+) (%d+) (%S+) (%S+) (%d) (.*)$')
local fingerprint = string.sub(names, 1, printed)
local identity = string.sub(names, printed + 1, printed + identified)
local owner = string.sub(names, printed + identified + 1)
local kept = redis.call('HMGET', KEYS[1], 's', 'fp', 'id', 'o', 'f', 'l', 'm', 'r', 'g')
local state, fence, progress = kept[1], tonumber(kept[5] or 0), kept[9] or ''
if state == 'p' and tonumber(kept[6]) <= now then
  if kept[7] then
    state = 'i'
    redis.call('HSET', KEYS[1], 's', 'i')
    redis.call('HDEL', KEYS[1], 'o', 'l', 'm', 'w')
  else
    state = 'f'
  end
end
if state and state ~= 'f' then
  if kept[2] ~= fingerprint then return { 'mismatch', 'fingerprint' } end
  if kept[3] ~= identity then return { 'mismatch', 'identity' } end
  if state == 'c' then
    local answer = redis.call('HMGET', KEYS[1], 'h', 'b')
    return { 'completed', answer[1], answer[2] }
  end
  if state == 'n' then return { 'not-replayable' } end
  if state == 'i' and over ~= '1' then return { 'indeterminate' } end
  if state == 'p' then
    if kept[4] ~= owner then return { 'in-progress', tostring(tonumber(kept[6]) - now) } end
    redis.call('HSET', KEYS[1], 'l', now + lease)
    redis.call('PEXPIRE', KEYS[1], lease + kept[8])
    return { 'claimed', tostring(fence), progress }
  end
end
fence = fence + 1
redis.call('HSET', KEYS[1], 's', 'p', 'fp', fingerprint, 'id', identity, 'o', owner, 'f', fence, 'l', now + lease,
  'r', retention)
if state then redis.call('HDEL', KEYS[1], 'm', 'w', 'h', 'b') end
redis.call('PEXPIRE', KEYS[1], lease + retention)
if progress == '' then return fence end
return { 'claimed', tostring(fence), progress }
`;

/** The argument of `settle`, put together as {@link claimArgument} is. */
export function settleArgument(
  { key, owner, fence }: ClaimRef,
  state: 'c' | 'n' | 'i' | 'f',
  retention: string,
  channel: string,
): string {
  const lengths = `${Buffer.byteLength(owner)} ${Buffer.byteLength(channel)}`;
  return `${lengths} ${fence} ${state} ${retention} ${owner}${channel}${key}`;
}

/**
 * ARGV: see {@link settleArgument}; and head and body of a completed one. A completion that is repeated, by a driver that
 * lost the reply, is as good as the first.
 */
const SETTLE = `
local owned, channel, fence, state, retention, names = string.match(ARGV[1], '^(%d+) (%d+) (%S+) (%a) (%S+) (.*)$')
local owner = string.sub(names, 1, owned)
local kept = redis.call('HMGET', KEYS[1], 's', 'o', 'f', 'm', 'w')
if kept[2] ~= owner or kept[3] ~= fence then return 0 end
if kept[1] == 'c' and state == 'c' then
  local answer = redis.call('HMGET', KEYS[1], 'h', 'b')
  return (answer[1] == ARGV[2] and answer[2] == ARGV[3]) and 1 or 0
end
if kept[1] ~= 'p' then return 0 end
if state == 'f' and kept[4] then state = 'i' end
if state == 'c' or state == 'n' then
  redis.call('HDEL', KEYS[1], 'l', 'm', 'w', 'g')
else
  redis.call('HDEL', KEYS[1], 'l', 'm', 'w')
end
if state == 'c' then
  redis.call('HSET', KEYS[1], 's', state, 'h', ARGV[2], 'b', ARGV[3])
else
  redis.call('HSET', KEYS[1], 's', state)
end
redis.call('PEXPIRE', KEYS[1], retention)
${WAKE('kept[5]', 'string.sub(names, owned + 1, owned + channel)', 'string.sub(names, owned + channel + 1)')}
return 1
`;

const IS_LOST = `
local kept = redis.call('HMGET', KEYS[1], 's', 'o', 'f', 'r')
if kept[1] ~= 'p' or kept[2] ~= ARGV[1] or kept[3] ~= ARGV[2] then return 0 end
`;

/** ARGV: owner, fence, lease. */
const RENEW = `${NOW}${IS_LOST}
redis.call('PEXPIRE', KEYS[1], ARGV[3] + kept[4])
redis.call('HSET', KEYS[1], 'l', now + ARGV[3])
return 1
`;

/** ARGV: owner, fence, a field, its value. */
const WRITE = `${IS_LOST}
redis.call('HSET', KEYS[1], ARGV[3], ARGV[4])
return 1
`;

const INSPECT = `${NOW}
local kept = redis.call('HMGET', KEYS[1], 's', 'f', 'l', 'm')
local state, fence = kept[1], kept[2]
if not state or state == 'f' then return false end
if state == 'p' then
  local left = tonumber(kept[3]) - now
  if left > 0 then return { 'in-progress', fence, tostring(left) } end
  if not kept[4] then return false end
  state = 'i'
end
local left = tostring(redis.call('PTTL', KEYS[1]))
if state == 'n' then return { 'not-replayable', fence, left } end
if state == 'i' then return { 'indeterminate', fence, left } end
local answer = redis.call('HMGET', KEYS[1], 'h', 'b')
return { 'completed', fence, left, answer[1], answer[2] }
`;

/** ARGV: channel, name. The fence stays, for the next claim's must be higher. */
const FORGET = `${NOW}
local kept = redis.call('HMGET', KEYS[1], 's', 'l', 'm', 'w')
local state = kept[1]
if not state or state == 'f' then return 0 end
redis.call('HDEL', KEYS[1], 'o', 'l', 'm', 'g', 'h', 'b', 'w')
redis.call('HSET', KEYS[1], 's', 'f')
${WAKE('kept[4]', 'ARGV[1]', 'ARGV[2]')}
return (state == 'p' and tonumber(kept[2]) <= now and not kept[3]) and 0 or 1
`;

/** Milliseconds that there is something to wait for; whoever ends the claim from here on tells. */
const WAIT = `${NOW}
local kept = redis.call('HMGET', KEYS[1], 's', 'l')
if kept[1] ~= 'p' then return 0 end
local left = tonumber(kept[2]) - now
if left <= 0 then return 0 end
redis.call('HSET', KEYS[1], 'w', 1)
return left
`;

/**
 * ARGV: the state to end in, retention, and head and body of a completed one. Nobody waits for an indeterminate record.
 */
const RESOLVE = `${NOW}
local kept = redis.call('HMGET', KEYS[1], 's', 'l', 'm')
local lapsed = kept[1] == 'p' and kept[3] and tonumber(kept[2]) <= now
if kept[1] ~= 'i' and not lapsed then return 0 end
redis.call('HDEL', KEYS[1], 'o', 'l', 'm', 'w')
redis.call('HSET', KEYS[1], 's', ARGV[1])
if ARGV[1] == 'c' then redis.call('HSET', KEYS[1], 'h', ARGV[3], 'b', ARGV[4]) end
if ARGV[1] ~= 'f' then redis.call('HDEL', KEYS[1], 'g') end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
`;

/** One record of a list: state, fence, time left, bytes; or `damaged` and why. */
const LIST = `${NOW}
local type = redis.call('TYPE', KEYS[1]).ok
if type == 'none' then return false end
if type ~= 'hash' then return { 'damaged', 'is a ' .. type .. ', not a hash' } end
local kept = redis.call('HMGET', KEYS[1], 's', 'f', 'l', 'm')
local names = { p = 'in-progress', c = 'completed', n = 'not-replayable', i = 'indeterminate', f = 'free' }
local state = kept[1] and names[kept[1]]
if not state then return { 'damaged', 'has no state that a record can have' } end
if (tonumber(kept[2]) or 0) < 1 then return { 'damaged', 'has no fence' } end
local left = redis.call('PTTL', KEYS[1])
if left < 0 then return { 'damaged', 'never expires' } end
local size = function(field) return redis.call('HSTRLEN', KEYS[1], field) end
if state == 'completed' and redis.call('HEXISTS', KEYS[1], 'b') * size('h') == 0 then
  return { 'damaged', 'is completed, without an answer' }
end
if state == 'in-progress' then
  if not tonumber(kept[3]) then return { 'damaged', 'is in progress, without a lease' } end
  local lease = kept[3] - now
  if lease > 0 then left = lease elseif kept[4] then state = 'indeterminate' else state = 'free' end
end
return { state, kept[2], tostring(left), tostring(size('h') + size('b') + size('g')) }
`;

/** The steps of the contract, and those of operators. */
export const scripts = {
  claim: script(CLAIM),
  settle: script(SETTLE),
  renew: script(RENEW),
  write: script(WRITE),
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
