import { invalidArgument } from '../options.js';

/** Any function or method, seen from the inside. */
export type Callable = (this: unknown, ...args: readonly unknown[]) => unknown;

/** A method that a decorator may wrap: it returns a promise already, since a decorator cannot change its type. */
export type AsyncMethod = (...args: never[]) => Promise<unknown>;

/**
 * Makes one symbol of `wrap` that serves as a wrapper of a function, as a TC39 method decorator and as a legacy one
 * (`experimentalDecorators`). Called with options alone it does what `configure` does. `owner` is its public name, for
 * messages.
 */
export function inEveryForm(
  owner: string,
  wrap: (fn: Callable) => Callable,
  configure?: (options: object) => unknown,
): (...args: readonly unknown[]) => unknown {
  return (target, keyOrContext, descriptor) => {
    // The key first: a legacy decorator of a static method gets the class as target, which is a function too.
    if (typeof keyOrContext === 'string' || typeof keyOrContext === 'symbol') {
      const attributes = { ...(descriptor as PropertyDescriptor | undefined) };
      return { ...attributes, value: wrapChecked(owner, attributes.value, wrap) };
    }
    if (typeof keyOrContext === 'object' && keyOrContext !== null) checkDecoratorContext(owner, keyOrContext);
    else if (configure && typeof target === 'object' && target !== null) return configure(target);
    return wrapChecked(owner, target, wrap);
  };
}

// Also what tells a caller who passes options as second argument that they would be ignored.
function checkDecoratorContext(owner: string, context: { readonly kind?: unknown }): void {
  if (context.kind !== 'method') {
    throw invalidArgument(TypeError, owner, 'context.kind', context.kind, "'method', as a method decorator gets it");
  }
}

function wrapChecked(owner: string, fn: unknown, wrap: (fn: Callable) => Callable): Callable {
  if (!isCallable(fn)) {
    throw invalidArgument(TypeError, owner, 'target', fn, 'a function to wrap, or a method to decorate');
  }
  if (Object.prototype.toString.call(fn).includes('Generator')) {
    throw invalidArgument(TypeError, owner, 'target', fn, 'no generator: it fails while it is read, not when called');
  }
  return Object.defineProperties(wrap(fn), {
    name: { value: fn.name, configurable: true },
    length: { value: fn.length, configurable: true },
  });
}

function isCallable(value: unknown): value is Callable {
  return typeof value === 'function';
}
