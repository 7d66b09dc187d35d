/** Puts properties in front of an object's own or inherited ones. Returns what takes them away again. */
export function mask(object: object, properties: PropertyDescriptorMap): () => void {
  const names = Object.keys(properties);
  const before = names.map((name) => Object.getOwnPropertyDescriptor(object, name));
  for (const name of names) Object.defineProperty(object, name, { ...properties[name], configurable: true });
  return () => {
    for (const [i, name] of names.entries()) {
      const descriptor = before[i];
      if (descriptor) Object.defineProperty(object, name, descriptor);
      else Reflect.deleteProperty(object, name);
    }
  };
}

/** The object, but for some properties; for one that others use too, so that it cannot be masked. */
export function standIn<T extends object>(object: T, properties: Partial<T>): T {
  return new Proxy(object, {
    get: (target, name) => {
      if (Object.hasOwn(properties, name)) return properties[name as keyof T];
      const value = Reflect.get(target, name, target) as unknown;
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}
