import { describe, expect, it } from 'vitest';
import { expresses, gate, open, send, serve } from './server.js';

describe.each(expresses)('the test helpers on $name', ({ express }) => {
  it('show an answer as it came over the wire', async () => {
    const app = express();
    app.use(express.json());
    app.post('/echo', (req, res) => {
      res.writeEarlyHints({ link: '</a.css>; rel=preload' });
      res.statusMessage = 'Made';
      res.append('X-Twice', 'one').append('X-Twice', 'two').status(201).json(req.body);
    });
    const server = await serve(app);
    const answer = await send(server, { path: '/echo', key: 'k', body: { a: 'é' } });
    expect(answer).toMatchObject({ status: 201, statusMessage: 'Made', text: '{"a":"é"}', complete: true });
    expect(answer.informational).toEqual([{ status: 103, headers: { link: '</a.css>; rel=preload' } }]);
    const at = answer.rawHeaders.indexOf('X-Twice');
    expect(answer.rawHeaders.slice(at, at + 4)).toEqual(['X-Twice', 'one', 'X-Twice', 'two']);
    expect(answer.isReplay).toBe(false);
  });

  it('tell a broken answer from a whole one', async () => {
    const app = express();
    app.post('/', (_req, res) => {
      res.write('half', () => res.destroy());
    });
    expect(await send(await serve(app))).toMatchObject({ text: 'half', complete: false });
  });

  it('show bytes while they come, and where they end', async () => {
    const held = gate();
    const app = express();
    app.post('/', async (_req, res) => {
      res.write('first');
      await held.opened;
      res.end('second');
    });
    const connection = await open(await serve(app));
    connection.write('POST / HTTP/1.0\r\n\r\n');
    expect(await connection.until('first')).not.toContain('second');
    held.open();
    expect(await connection.ended()).toContain('firstsecond');
  });
});
