'use strict';

// A search that tells how far it is, as a stream of events that can be taken up again at any of them.
const express = require('express');

/** `chaos` is what stands between the stream and the network: a middleware. */
exports.createApp = function createApp({ chaos, steps = 20, everyMs = 5 }) {
  const app = express();
  app.use(chaos);
  app.get('/search/:id/progress', (req, res) => {
    const seen = Number(req.get('Last-Event-ID') ?? 0);
    if (seen >= steps) {
      // Nothing more to say: the client need not come back.
      res.status(204).end();
      return;
    }
    res.set({ 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
    res.write('retry: 10\n\n');
    let next = seen + 1;
    const timer = setInterval(() => {
      if (next > steps) {
        clearInterval(timer);
        res.end();
        return;
      }
      const data = JSON.stringify({ query: 'öttërs 🦦', done: next, of: steps });
      res.write(`: still here\n\nid: ${next}\nevent: progress\ndata: ${data}\n\n`);
      next++;
    }, everyMs);
    res.on('close', () => clearInterval(timer));
  });
  return app;
};
