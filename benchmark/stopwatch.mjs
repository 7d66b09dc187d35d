// The time that a request spends inside the server: from the `request` event until the real `res.end` returns.
//
// One request is in flight at a time, so that one clock serves, and nothing is put on `req` or `res`: a property of
// ours would change the hidden classes that are part of what is measured.
import { ServerResponse } from 'node:http';

let begun = 0;
let spent = 0;

const realEnd = ServerResponse.prototype.end;
ServerResponse.prototype.end = function end(...args) {
  const returned = realEnd.apply(this, args);
  spent = performance.now() - begun;
  return returned;
};

/** Makes a `node:http` listener start the clock when a request comes in. */
export function timed(listener) {
  return (req, res) => {
    begun = performance.now();
    listener(req, res);
  };
}

/** Microseconds inside the server of the last request that was answered. */
export function lastMicros() {
  return spent * 1000;
}
