import { once } from 'node:events';
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import httpProxy from 'http-proxy';
import {
  createChaos,
  FileStore,
  MemoryStore,
  type AtomicStore,
  type IdempotencyStore,
  type StoredResponse,
} from '../../ts/index.js';
import type { FileName } from './scenario.js';
import type { World } from './world.js';

/** What all runs share: files to send, a server to pass requests on to, a store in a file, chaos that matches nothing. */
export interface Fixtures {
  readonly files: Readonly<Record<FileName, string>>;
  readonly fileStore: FileStore;
  readonly chaos: ReturnType<typeof createChaos>;
  /** Passes a request on, by http-proxy. */
  proxy(req: IncomingMessage, res: ServerResponse, path: string, failed: (error: Error) => void): void;
  close(): Promise<void>;
}

/** Ways in which the server behind a proxy answers. */
const UPSTREAM: Record<string, RequestListener> = {
  '/length': (_, res) => {
    res.setHeader('Content-Length', 11).end('of upstream');
  },
  '/chunked': (_, res) => {
    res.writeHead(201, ['Link', '<a>', 'Link', '<b>', 'Set-Cookie', 'a=1', 'Set-Cookie', 'b=2']);
    res.write('of ');
    setTimeout(() => res.end('upstream'), 1);
  },
  '/fails': (_, res) => {
    res.writeHead(503, { 'Retry-After': '1' }).end('busy');
  },
  '/empty': (_, res) => {
    res.writeHead(204).end();
  },
  '/breaks': (_, res) => {
    res.writeHead(200, { 'Content-Length': 100 });
    res.write('half');
    setTimeout(() => res.destroy(), 1);
  },
};

export const UPSTREAM_PATHS = Object.keys(UPSTREAM);

export async function openFixtures(): Promise<Fixtures> {
  const folder = mkdtempSync(join(tmpdir(), 'reprise-differential-'));
  const contents = { small: 'a small file\n', large: 'a large file, line by line\n'.repeat(8000), empty: '' };
  const path = (name: string) => join(folder, `${name}.txt`);
  for (const [name, text] of Object.entries(contents)) {
    writeFileSync(path(name), text);
    utimesSync(path(name), 1_700_000_000, 1_700_000_000);
  }
  const upstream = createServer((req, res) => {
    req.resume();
    (UPSTREAM[req.url ?? ''] ?? UPSTREAM['/length'])?.(req, res);
  });
  await once(upstream.listen(0, '127.0.0.1'), 'listening');
  const { port } = upstream.address() as AddressInfo;
  const proxy = httpProxy.createProxyServer({ target: `http://127.0.0.1:${port}`, ignorePath: false });
  const fileStore = new FileStore({ path: join(folder, 'store.db') });
  const chaos = createChaos({
    seed: 1,
    rules: [{ name: 'none', probability: 1, match: { paths: ['/nowhere'] }, fault: { kind: 'error' } }],
  });
  return {
    files: { small: path('small'), large: path('large'), empty: path('empty'), missing: path('missing') },
    fileStore,
    chaos,
    proxy: (req, res, path, failed) => {
      req.url = path;
      proxy.web(req, res, {}, failed);
    },
    close: async () => {
      upstream.closeAllConnections();
      upstream.close();
      proxy.close();
      chaos.close();
      await fileStore.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** The store of one run. `signals` are those of the handlers that run. */
export function storeFor(
  world: World,
  { fileStore }: Fixtures,
  signals: ReadonlySet<AbortSignal>,
): AtomicStore | IdempotencyStore | undefined {
  switch (world.store) {
    case 'memory':
      return undefined;
    case 'simple':
      return slowMap(world);
    case 'atomic':
      return slowly(world, new MemoryStore(), signals);
    case 'file':
      return fileStore;
  }
}

async function pause(world: World): Promise<void> {
  const done = world.begin();
  await new Promise((resolve) => setTimeout(resolve, 2));
  done();
}

function slowMap(world: World): IdempotencyStore {
  const kept = new Map<string, StoredResponse>();
  return {
    get: async (key) => {
      await pause(world);
      return kept.get(key);
    },
    set: async (key, value) => {
      await pause(world);
      kept.set(key, value);
    },
    delete: async (key) => {
      await pause(world);
      kept.delete(key);
    },
  };
}

/** The store, each of whose calls takes its time. */
function slowly(world: World, store: AtomicStore, signals: ReadonlySet<AbortSignal>): AtomicStore {
  const release: AtomicStore['release'] = async (claim, ttl) => {
    // Of several that run, nobody knows here whose claim it is.
    if (signals.size === 1 && [...signals].some(({ aborted }) => !aborted)) world.seen.unwarned++;
    await pause(world);
    return store.release(claim, ttl);
  };
  return {
    claim: async (request) => pause(world).then(() => store.claim(request)),
    complete: async (claim, answer, ttl) => pause(world).then(() => store.complete(claim, answer, ttl)),
    renew: async (claim, leaseMs) => pause(world).then(() => store.renew(claim, leaseMs)),
    release,
    mark: async (claim, mark, ttl) => pause(world).then(() => store.mark(claim, mark, ttl)),
    save: async (claim, progress) => pause(world).then(() => store.save(claim, progress)),
    inspect: async (key) => pause(world).then(() => store.inspect(key)),
    forget: async (key) => pause(world).then(() => store.forget(key)),
    close: () => store.close?.(),
  };
}
