import type { NativeFailure } from '../../../native/binding.js';
import { withCode, type RepriseError, type RepriseErrorCode } from '../../errors.js';

const CODES: Record<NativeFailure['failure'], RepriseErrorCode> = {
  BUSY: 'ERR_REPRISE_STORE_BUSY',
  CLOSED: 'ERR_REPRISE_STORE_CLOSED',
  DAMAGED: 'ERR_REPRISE_STORE_DAMAGED',
  NOT_PRIVATE: 'ERR_REPRISE_STORE_NOT_PRIVATE',
  REPLACED: 'ERR_REPRISE_STORE_REPLACED',
  NETWORK: 'ERR_REPRISE_STORE_NETWORK_FILE_SYSTEM',
  FORMAT: 'ERR_REPRISE_STORE_FORMAT',
  OPTIONS: 'ERR_REPRISE_INVALID_OPTION',
  READ_ONLY: 'ERR_REPRISE_STORE_READ_ONLY',
  UNSYNCED: 'ERR_REPRISE_STORE_UNSYNCED',
  SYSTEM: 'ERR_REPRISE_STORE_SYSTEM',
};

/** What to do about it, where that can be said in a sentence. */
const REMEDIES: Partial<Record<NativeFailure['failure'], string>> = {
  DAMAGED: 'Put it aside and restore a backup, or start with a new file.',
  NOT_PRIVATE: 'Give it to the user of this process only: chown, and chmod 600 for a file, 700 for a folder.',
  REPLACED: 'Start the process again. It refuses until then, since another process may use the other file.',
  NETWORK:
    'Use a disk of this host, name fuse, vboxsf or vmhgfs in allowFileSystem if it is one in truth, or use a RedisStore or PostgresStore for several hosts.',
  FORMAT:
    'Drop from the file what another program has added, open the file with the version that made it, or name another file.',
  OPTIONS: 'Give all of them the same options, or make one and share it.',
};

/** Whether a file answered that something went wrong. */
export function isFailure(answer: unknown): answer is NativeFailure {
  return typeof answer === 'object' && answer !== null && 'failure' in answer;
}

/** The error for it, with its code. */
export function errorOf({ failure, message }: NativeFailure): RepriseError {
  const remedy = REMEDIES[failure];
  return withCode(new Error(`FileStore: ${message}${remedy === undefined ? '' : `. ${remedy}`}`), CODES[failure]);
}
