import type { RequestListener } from 'node:http';

export function converse(app: RequestListener, charges: () => number): Promise<void>;
