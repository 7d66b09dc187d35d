/**
 * The JSON text of a parsed value, whatever its depth. `JSON.stringify` recurses, and overflows the stack at some
 * thousand levels (measured: between 4,000 and 6,000 on Node 20); it writes a number beyond the doubles, which
 * `JSON.parse('1e400')` makes, as `null`. Both cases go the slow way, which is twenty times slower.
 *
 * @throws TypeError for what is no JSON: a cycle, a BigInt
 */
export function jsonText(value: unknown): string {
  let text;
  try {
    text = stringify(value);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return slowJsonText(value);
  }
  if (text === undefined) return 'null';
  // Most nulls are meant: what they were is looked up before they are written again.
  return text.includes('null') && holdsInfinity(value) ? slowJsonText(value) : text;
}

function holdsInfinity(root: unknown): boolean {
  const left = [root];
  for (let value = left.pop(); value !== undefined; value = left.pop()) {
    if (value === Infinity || value === -Infinity) return true;
    if (!isContainer(value)) continue;
    for (const member of Object.values(value) as unknown[]) {
      if (typeof member === 'number' || isContainer(member)) left.push(member);
    }
  }
  return false;
}

/** Without recursion: what is still to be written is on a stack of our own. */
function slowJsonText(root: unknown): string {
  let text = '';
  // Text to append, or a value to write.
  const stack: ({ text: string } | { value: unknown })[] = [{ value: root }];
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    if ('text' in next) {
      text += next.text;
    } else if (isContainer(next.value)) {
      const array = Array.isArray(next.value);
      text += array ? '[' : '{';
      stack.push({ text: array ? ']' : '}' });
      const members = Object.entries(next.value as Record<string, unknown>)
        .filter(([, value]) => array || value !== undefined)
        .map(([name, value], i) => ({ text: (i > 0 ? ',' : '') + (array ? '' : `${JSON.stringify(name)}:`), value }));
      // Backwards, since the last to go onto the stack is the first to come off.
      for (const { text, value } of members.reverse()) stack.push({ value }, { text });
    } else {
      text += scalarText(next.value);
    }
  }
  return text;
}

function isContainer(value: unknown): value is object {
  return typeof value === 'object' && value !== null && typeof (value as { toJSON?: unknown }).toJSON !== 'function';
}

function scalarText(value: unknown): string {
  // The canonical form knows no finite number that large: it keeps infinity apart from null.
  if (value === Infinity) return '1e999';
  if (value === -Infinity) return '-1e999';
  return stringify(value) ?? 'null';
}

/** Typed as it is: `undefined` for what JSON has no text for. */
function stringify(value: unknown): string | undefined {
  return JSON.stringify(value);
}
