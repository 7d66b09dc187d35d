import type { ErrorRequestHandler, RequestHandler } from 'express';
import type { expresses } from '../helpers/server.js';
import { fail, type Mount } from './exchange.js';

/** Mounts on Express, with an error handler that answers alike whether we are there or not. */
export function mountOn(express: (typeof expresses)[number]['express']): Mount {
  return (...passes) => {
    const app = express().set('env', 'test');
    app.post('/', ...(passes as RequestHandler[]));
    // Without the stack, which tells one from the other.
    const onError: ErrorRequestHandler = (error, req, res, _next) => {
      fail(error, req, res);
    };
    app.use(onError);
    return app;
  };
}
