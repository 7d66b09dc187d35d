import { problemsOf } from '../../problem.js';
import type { ProblemDetails } from '../../problem.js';

/** Why the control of chaos did not do what it was asked. Stable, for programs. */
export type ChaosProblemCode =
  | 'chaos-forbidden'
  | 'chaos-cross-origin'
  | 'chaos-method'
  | 'chaos-not-json'
  | 'chaos-body-too-large'
  | 'chaos-body-invalid'
  | 'chaos-refused'
  | 'chaos-in-production'
  | 'chaos-closed';

/** The answer to such a request. */
export type ChaosProblem = ProblemDetails<ChaosProblemCode>;

/** Makes the problem of a kind. */
export const problem = problemsOf<ChaosProblemCode>({
  'chaos-forbidden': { status: 403, title: 'This request may not control chaos' },
  'chaos-cross-origin': { status: 403, title: 'Chaos is not controlled from another origin' },
  'chaos-method': { status: 405, title: 'The method is not that of this resource' },
  'chaos-not-json': { status: 415, title: 'The body is not JSON' },
  'chaos-body-too-large': { status: 413, title: 'The body is too large' },
  'chaos-body-invalid': { status: 400, title: 'The body cannot be read' },
  'chaos-refused': { status: 422, title: 'Chaos does not take this' },
  'chaos-in-production': { status: 409, title: 'Chaos is not allowed in production' },
  'chaos-closed': { status: 409, title: 'This chaos was closed' },
});
