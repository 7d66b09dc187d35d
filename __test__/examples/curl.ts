/** An answer, as `curl -i` shows it. */
export interface Shown {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/**
 * Does what a curl command does, since not every system that runs these tests has one. Knows what the documentation
 * uses, and throws at anything else. One answer for each request that the command makes.
 */
export async function curl(command: string): Promise<Shown[]> {
  const { url, init, times, retries } = parse(command);
  return Promise.all(Array.from({ length: times }, () => ask(url, init, retries)));
}

/** As many answers as it takes: with `--retry`, curl shows those of its failed tries too; here the last one counts. */
async function ask(url: string, init: RequestInit, retries: number): Promise<Shown> {
  const response = await fetch(url, init);
  // The statuses that curl retries, but for its wait of a second or more.
  if (retries > 0 && [408, 429, 500, 502, 503, 504].includes(response.status)) return ask(url, init, retries - 1);
  return { status: response.status, headers: response.headers, text: await response.text() };
}

function parse(command: string) {
  const [program, ...words] = shellWords(command);
  if (program !== 'curl') throw new Error(`not a curl command: ${command}`);
  const headers = new Headers();
  let url: string | undefined;
  let method: string | undefined;
  let body: string | undefined;
  let retries = 0;
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    const value = () => words.shift() ?? '';
    if (word === '-H') headers.append(...headerOf(value()));
    else if (word === '-d') body = value();
    else if (word === '-X') method = value();
    else if (word === '--retry') retries = Number(value());
    else if (word === '-w') value();
    else if (word.startsWith('-') && !['-i', '-sZ'].includes(word)) throw new Error(`unknown: ${word}`);
    else if (!word.startsWith('-')) url = word.startsWith('http://') ? word : `http://${word}`;
  }
  if (url === undefined) throw new Error(`no address: ${command}`);
  if (body !== undefined && !headers.has('Content-Type')) {
    headers.set('Content-Type', 'application/x-www-form-urlencoded');
  }
  // `#[1-50]` makes fifty requests; what follows a # is not sent.
  const [, last = '1'] = /#\[1-(\d+)\]$/.exec(url) ?? [];
  const init = {
    method: method ?? (body === undefined ? 'GET' : 'POST'),
    headers,
    ...(body !== undefined && { body }),
  };
  return { url: url.replace(/#.*/, ''), init, times: Number(last), retries };
}

function headerOf(text: string): [name: string, value: string] {
  const colon = text.indexOf(':');
  return [text.slice(0, colon), text.slice(colon + 1).trim()];
}

/** Words as a shell splits them: bare, or in single or double quotes. */
function shellWords(command: string): string[] {
  return [...command.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(
    ([, single, double, bare]) => single ?? double ?? bare ?? '',
  );
}
