import type { RequestListener } from 'node:http';

export function converse(app: RequestListener, charges: () => number): Promise<void>;
export function insist(app: RequestListener, charges: () => number, attempt: number): Promise<void>;
