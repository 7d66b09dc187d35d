'use strict';

// A search as its user sees it: it is told what is going on, it waits no longer than it is worth, and it runs once.
const { getRetryInfo, retryFetch } = require('reprise');

/**
 * The result of a search.
 *
 * @param {string} url
 * @param {object} wanted
 * @param {string} wanted.query
 * @param {string} wanted.key one for each search that the user asks for: however often it is sent, it runs once
 * @param {(message: string) => void} tell shows the user a line
 * @throws what is to be shown to the user, if there is no result in 30 seconds
 */
exports.search = async function search(url, { query, key }, tell) {
  const patience = setTimeout(() => tell('Still searching ...'), 1_000);
  try {
    const init = {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'Idempotency-Key': key },
      body: JSON.stringify({ query }),
    };
    const response = await retryFetch(url, init, {
      maxAttempts: 8,
      initialDelayMs: 500,
      jitter: 'none',
      attemptTimeoutMs: 3_000,
      totalTimeoutMs: 30_000,
      onEvent: ({ type, attempt, maxAttempts }) => {
        if (type === 'retry') tell(`This takes longer than usual. Trying again (${attempt + 1} of ${maxAttempts}) ...`);
      },
    });
    if (!response.ok) throw new Error(`answered with ${response.status}`);
    return await response.json();
  } catch (cause) {
    const { attempts } = getRetryInfo(cause) ?? { attempts: 1 };
    throw new Error(`The search is not available right now (tried ${attempts} times). Please try again later.`, {
      cause,
    });
  } finally {
    clearTimeout(patience);
  }
};
