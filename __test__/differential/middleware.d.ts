// What is used of middleware without types, or whose types would change those of every request in these tests.

declare module 'connect-timeout' {
  export default function timeout(ms: number): import('express').RequestHandler;
}

declare module 'cookie-session' {
  export default function cookieSession(options: { name: string; keys: string[] }): import('express').RequestHandler;
}

declare module 'express-fileupload' {
  export default function fileUpload(): import('express').RequestHandler;
}

declare module 'method-override' {
  export default function methodOverride(): import('express').RequestHandler;
}

declare module 'multer' {
  export default function multer(): { any(): import('express').RequestHandler };
}

declare module 'on-finished' {
  export default function onFinished(
    res: import('node:http').ServerResponse,
    listener: (error: Error | null) => void,
  ): void;
}

declare module 'on-headers' {
  export default function onHeaders(res: import('node:http').ServerResponse, listener: () => void): void;
}

declare module 'express-mung' {
  import type { Request, RequestHandler, Response } from 'express';
  const mung: {
    json(change: (body: unknown, req: Request, res: Response) => unknown): RequestHandler;
    jsonAsync(change: (body: unknown, req: Request, res: Response) => Promise<unknown>): RequestHandler;
    headers(change: (req: Request, res: Response) => void): RequestHandler;
    headersAsync(change: (req: Request, res: Response) => Promise<void>): RequestHandler;
    write(change: (chunk: unknown, encoding: string | null) => unknown): RequestHandler;
  };
  export default mung;
}
