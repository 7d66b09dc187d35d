import { hasMethods } from '../../options.js';

/** An argument or a reply of Redis: bytes, where they are not text. */
export type RedisArgument = string | Buffer;

/**
 * A client that reprise does not know, as a function: sends one command and gives its reply, bulk strings as Buffers.
 * `key` is the one that a cluster's client finds the node by; undefined for a command without one.
 */
export type RedisCommand = (args: RedisArgument[], key: string | undefined) => Promise<unknown>;

type Method = (...args: never[]) => unknown;

/**
 * The user's client, told by its methods: ioredis (`Redis`, also by Sentinel, and `Cluster`), node-redis (`createClient`
 * and `createCluster`, version 5 or newer), Valkey GLIDE, or a {@link RedisCommand}.
 */
export type RedisClient =
  | { callBuffer: Method; pipeline: Method; duplicate: Method }
  | { sendCommand: Method; duplicate: Method }
  | { customCommand: Method }
  | RedisCommand;

/** What the store asks of any client. */
export interface RedisConnection {
  /** Sends one command. */
  send: RedisCommand;
  /** Sends a command, and on its heels, over the same connection, `WAIT`. The replies of both. */
  sendAndWait: (args: RedisArgument[], key: string, wait: string[]) => Promise<[reply: unknown, replicas: unknown]>;
  /** What the client itself puts before every key. */
  keyPrefix?: string | undefined;
  /** Ways to the primaries of a cluster, each by itself. Absent where the client is none of a cluster's, or hides them. */
  primaries?: () => Promise<RedisCommand[]>;
  /** Listens on a connection of its own. `onGap` is called when messages may have been missed. */
  subscribe?: (channel: string, onMessage: (message: string) => void, onGap: () => void) => Subscription;
}

/** A connection that the store opened itself. */
export interface Subscription {
  /** Resolves once it listens. That may take as long as the server is away. */
  readonly ready: Promise<unknown>;
  /** Ends it, also while it is still being opened. */
  close: () => void;
}

/** Whether a value is one of the clients that {@link connect} knows. */
export function isRedisClient(client: unknown): client is RedisClient {
  return (
    typeof client === 'function' ||
    hasMethods(client, 'callBuffer', 'pipeline', 'duplicate') ||
    hasMethods(client, 'sendCommand', 'duplicate') ||
    hasMethods(client, 'customCommand')
  );
}

/** One way to speak to every client. */
export function connect(client: RedisClient): RedisConnection {
  const connection = connectionOf(client);
  const { send, sendAndWait } = connection;
  return {
    ...connection,
    send: async (args, key) => send(args, key).catch(withoutArguments),
    sendAndWait: async (args, key, wait) => sendAndWait(args, key, wait).catch(withoutArguments),
  };
}

/** ioredis hangs the command on its errors, and so the answer that was to be kept: the command's name will do. */
function withoutArguments(error: unknown): never {
  stripArguments(error);
  throw error;
}

function stripArguments(error: unknown): void {
  if (!(error instanceof Error)) return;
  const { command, lastNodeError } = error as { command?: { name?: unknown }; lastNodeError?: unknown };
  if (command?.name !== undefined) Object.assign(error, { command: { name: command.name } });
  // Of a cluster.
  stripArguments(lastNodeError);
}

function connectionOf(client: RedisClient): RedisConnection {
  if (typeof client === 'function') return oneByOne(client);
  if ('callBuffer' in client) return ioredis(client as unknown as IoRedis);
  if ('sendCommand' in client) {
    return hasMethods(client, 'nodeClient')
      ? nodeRedisCluster(client as unknown as NodeRedisCluster)
      : nodeRedis(client as unknown as NodeRedis);
  }
  return glide(client as unknown as Glide);
}

/** A client about whose connections nothing is known: `WAIT` goes where the key's commands go. */
function oneByOne(send: RedisCommand): RedisConnection {
  return {
    send,
    sendAndWait: async (args, key, wait) => Promise.all([send(args, key), send(wait, key)]),
  };
}

/**
 * What the store sends, as the methods of ioredis that give bytes. Not by `callBuffer`, which sends something else for a
 * client with `enableAutoPipelining`.
 */
const IOREDIS_METHODS = {
  SET: 'setBuffer',
  EVALSHA: 'evalshaBuffer',
  EVAL: 'evalBuffer',
  WAIT: 'waitBuffer',
  INFO: 'infoBuffer',
  SCAN: 'scanBuffer',
} as const;

type IoRedisMethods<Reply> = Record<(typeof IOREDIS_METHODS)[StoreCommand], (args: RedisArgument[]) => Reply>;

type StoreCommand = keyof typeof IOREDIS_METHODS;

interface IoRedis extends Emitter, IoRedisMethods<Promise<unknown>> {
  isCluster?: boolean;
  options?: { keyPrefix?: string };
  nodes?(role: 'master'): IoRedis[];
  pipeline(): IoRedisPipeline;
  duplicate(...overrides: unknown[]): IoRedis;
  subscribe(channel: string): Promise<unknown>;
  disconnect(): void;
}

interface IoRedisPipeline extends IoRedisMethods<IoRedisPipeline> {
  exec(): Promise<[error: Error | null, reply: unknown][] | null>;
}

function ioredis(client: IoRedis): RedisConnection {
  const give = <Reply>(to: IoRedisMethods<Reply>, command: RedisArgument[]): Reply =>
    to[IOREDIS_METHODS[command[0] as StoreCommand]](command.slice(1));
  const sendTo =
    (node: IoRedis): RedisCommand =>
    (command) =>
      give(node, command);
  return {
    send: sendTo(client),
    keyPrefix: client.options?.keyPrefix,
    ...(client.isCluster && { primaries: () => Promise.resolve((client.nodes?.('master') ?? []).map(sendTo)) }),
    sendAndWait: async (command, _, wait) => {
      const [first, second] = (await give(give(client.pipeline(), command), wait).exec()) ?? [];
      const error = first?.[0] ?? second?.[0];
      if (error) throw error;
      return [first?.[1], second?.[1]];
    },
    subscribe: (channel, onMessage, onGap) => {
      // Its offline queue holds the subscription until there is a connection, and again after each reconnection.
      const own = { enableOfflineQueue: true, lazyConnect: false };
      const subscriber = client.isCluster ? client.duplicate([], own) : client.duplicate(own);
      // An error shows in the commands of the client itself; here it only means that news may be missed.
      subscriber.on('error', onGap).on('close', onGap).on('-node', onGap);
      subscriber.on('message', (_: string, message: string) => {
        onMessage(message);
      });
      return {
        ready: subscriber.subscribe(channel),
        close: () => {
          subscriber.disconnect();
        },
      };
    },
  };
}

interface Subscriber extends Emitter {
  readonly isOpen: boolean;
  connect(): Promise<unknown>;
  subscribe(channel: string, listener: (message: string) => void): Promise<unknown>;
  destroy(): void;
}

interface NodeRedis {
  sendCommand(args: RedisArgument[], options: object): Promise<unknown>;
  duplicate(): Subscriber;
}

interface NodeRedisCluster {
  masters: readonly object[];
  nodeClient(node: object): NodeRedis | Promise<NodeRedis>;
  sendCommand(key: string | undefined, isReadonly: boolean, args: RedisArgument[], options: object): Promise<unknown>;
  duplicate(): Subscriber;
}

/** Bulk strings (`$`, 36) as Buffers. */
const AS_BYTES = { typeMapping: { 36: Buffer } };

function nodeRedis(client: NodeRedis): RedisConnection {
  return { ...oneByOne(sendBy(client)), subscribe: subscribeBy(client) };
}

function sendBy(client: NodeRedis): RedisCommand {
  return async (args) => client.sendCommand(args, AS_BYTES);
}

function nodeRedisCluster(client: NodeRedisCluster): RedisConnection {
  const send: RedisCommand = async (args, key) => client.sendCommand(key, false, args, AS_BYTES);
  const primaries = async (): Promise<RedisCommand[]> =>
    Promise.all(client.masters.map(async (node) => sendBy(await client.nodeClient(node))));
  return { ...oneByOne(send), primaries, subscribe: subscribeBy(client) };
}

function subscribeBy(client: { duplicate(): Subscriber }): NonNullable<RedisConnection['subscribe']> {
  return (channel, onMessage, onGap) => {
    const subscriber = client.duplicate();
    subscriber.on('error', onGap).on('reconnecting', onGap).on('node-disconnect', onGap);
    return {
      ready: subscriber.connect().then(() => subscriber.subscribe(channel, onMessage)),
      close: () => {
        // One that gave up by itself refuses to be ended.
        if (subscriber.isOpen) subscriber.destroy();
      },
    };
  };
}

interface Glide {
  customCommand(args: RedisArgument[], options: object): Promise<unknown>;
}

/** GLIDE's `Decoder.Bytes`. */
const GLIDE_BYTES = 0;

/** A part of a reply to `CLUSTER SLOTS`: a range of slots, its primary and its replicas. */
type SlotRange = readonly [from: number, to: number, primary: readonly [host: Buffer, port: number]];

function glide(client: Glide): RedisConnection {
  const sendTo =
    (route?: object | string): RedisCommand =>
    async (args) =>
      client.customCommand(args, { decoder: GLIDE_BYTES, ...(route && { route }) });
  const isCluster = hasMethods(client, 'fcallWithRoute');
  const primaries = async (): Promise<RedisCommand[]> => {
    const ranges = (await sendTo('randomNode')(['CLUSTER', 'SLOTS'], undefined)) as SlotRange[];
    const addresses = new Map(ranges.map(([, , [host, port]]) => [`${String(host)}:${port}`, { host, port }]));
    return [...addresses.values()].map(({ host, port }) =>
      sendTo({ type: 'routeByAddress', host: String(host), port }),
    );
  };
  return { ...oneByOne(sendTo()), ...(isCluster && { primaries }) };
}

interface Emitter {
  on(event: string, listener: (...args: never[]) => void): this;
}
