'use strict';

// A client of server-sent events over fetch, as EventSource is one in browsers: it connects again with Last-Event-ID
// until the server says that there is no more. Whatever breaks, every event is seen once.

const { setTimeout: sleep } = require('node:timers/promises');

/**
 * The events of a stream: `for await (const { id, type, data } of events(url))`.
 *
 * @param {string} url
 * @param {object} [options]
 * @param {number} [options.idleMs] a stream that is silent for so long, heartbeats too, counts as broken
 * @param {number} [options.retryMs] how long to wait before connecting again, unless the stream or the server says
 * @param {(why: string) => void} [options.onBroken] told why it connects again
 */
exports.events = async function* events(url, { idleMs = 15_000, retryMs = 3_000, onBroken = () => {} } = {}) {
  const state = { lastEventId: '', retryMs };
  for (;;) {
    const connection = new AbortController();
    let retryAfterMs;
    try {
      const headers = { Accept: 'text/event-stream', ...(state.lastEventId && { 'Last-Event-ID': state.lastEventId }) };
      const response = await within(idleMs, connection, fetch(url, { headers, signal: connection.signal }));
      // The server's word that there is nothing more to come.
      if (response.status === 204) return;
      if (response.status !== 200) {
        retryAfterMs = 1_000 * Number(response.headers.get('Retry-After')) || undefined;
        throw new Error(`answered with ${response.status}`);
      }
      yield* read(response.body, state, idleMs, connection);
      throw new Error('the stream ended');
    } catch (error) {
      onBroken(error.cause?.code ?? error.message);
    } finally {
      // Also when the reader of the events has enough of them.
      connection.abort();
    }
    await sleep(retryAfterMs ?? state.retryMs);
  }
};

/** The events that come whole over one connection. What is left of one when it breaks was not said. */
async function* read(body, state, idleMs, connection) {
  const reader = body.getReader();
  // Not chunk by chunk: a character may come in two of them.
  const decoder = new TextDecoder();
  let text = '';
  let event = { type: 'message', data: [] };
  for (;;) {
    const { done, value } = await within(idleMs, connection, reader.read());
    if (done) return;
    text += decoder.decode(value, { stream: true });
    // A CR at the end may be the half of a CR LF.
    const lines = text.split(/\r\n|\n|\r(?!$)/);
    text = lines.pop();
    for (const line of lines) {
      if (line !== '') {
        take(line, event, state);
        continue;
      }
      // Only now has the event been told, and only now does its id count.
      state.lastEventId = event.id ?? state.lastEventId;
      if (event.data.length > 0) {
        yield { id: state.lastEventId, type: event.type, data: event.data.join('\n') };
      }
      event = { type: 'message', data: [] };
    }
  }
}

function take(line, event, state) {
  const [, field, value = ''] = /^([^:]*)(?:: ?(.*))?$/s.exec(line);
  if (field === 'data') event.data.push(value);
  else if (field === 'event') event.type = value;
  else if (field === 'id') event.id = value;
  else if (field === 'retry' && /^\d+$/.test(value)) state.retryMs = Number(value);
}

/** What a promise gives, unless that takes longer than `ms`: then the connection is given up. */
async function within(ms, connection, promise) {
  let timer;
  const silence = new Promise((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`silent for ${ms} ms`));
      connection.abort();
    }, ms);
  });
  try {
    return await Promise.race([promise, silence]);
  } finally {
    clearTimeout(timer);
    // It may yet fail, when the connection is given up.
    promise.catch(() => {});
  }
}
