import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parseTriple } from '@napi-rs/cli';
import { describe, expect, it } from 'vitest';
import { native, platforms } from '../../ts/native.js';
import { node, requireFromRoot, root, succeed } from './harness.js';

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  readonly main: string;
  readonly files: readonly string[];
  readonly exports: Readonly<Record<string, unknown>>;
  readonly scripts?: Readonly<Record<string, string>>;
  readonly engines: { readonly node: string };
  readonly napi: { readonly targets: readonly string[] };
}

const manifest = requireFromRoot('./package.json') as Manifest;
const read = (file: string) => readFileSync(path.join(root, file), 'utf8');
const folders = readdirSync(path.join(root, 'npm')).sort();
const platformManifests = folders.map((folder) => JSON.parse(read(`npm/${folder}/package.json`)) as Manifest);

describe('one version everywhere', () => {
  const { version } = manifest;

  it.each([
    ['Cargo.toml', /^version = "(.+)"$/m.exec(read('Cargo.toml'))?.[1]],
    ['Cargo.lock', /^name = "reprise"\nversion = "(.+)"$/m.exec(read('Cargo.lock'))?.[1]],
    ['package-lock.json', (JSON.parse(read('package-lock.json')) as Manifest).version],
    ['native/binding.js', /expected (\S+) but got/.exec(read('native/binding.js'))?.[1]],
    ['the binary', native.version()],
    ...platformManifests.map(({ name, version: found }): [string, string] => [name, found]),
  ])('%s is of the version in package.json', (_, found) => {
    expect(found).toBe(version);
  });
});

describe('one list of platforms everywhere', () => {
  const targets = manifest.napi.targets.map((target) => parseTriple(target).platformArchABI).sort();

  it('the build targets are the folders of npm/', () => {
    expect(folders).toEqual(targets);
  });

  it('the build targets are what the error for a missing binary lists', () => {
    expect(platforms).toEqual(targets);
  });

  it.each(platformManifests)('$name carries one binary, and the license and engines of the package', (platform) => {
    const file = `reprise.${platform.name.replace('reprise-', '')}.node`;
    expect(platform).toMatchObject({ main: file, files: [file], license: manifest.license, engines: manifest.engines });
    expect(platform.scripts).toBeUndefined();
  });
});

describe('one implementation behind every entry point', () => {
  const entryPoints = Object.keys(manifest.exports).filter((name) => name !== './package.json');

  it.each(entryPoints)('%s gives import the same objects under the same names as require', async (entryPoint) => {
    // The package refers to itself by name: this goes through "exports", as a user's import does.
    const specifier = JSON.stringify(path.posix.join('reprise', entryPoint));
    const program = `
      import { createRequire } from 'node:module';
      import * as namespace from ${specifier};
      const implementation = createRequire(import.meta.url)(${specifier});
      const names = Object.keys(implementation).sort();
      console.log(JSON.stringify({
        names,
        imported: Object.keys(namespace),
        different: names.filter((name) => namespace[name] !== implementation[name]),
      }));`;
    const seen = JSON.parse(await succeed(node(['--input-type=module', '-e', program]))) as {
      names: string[];
      imported: string[];
      different: string[];
    };
    expect(seen.imported).toEqual(seen.names);
    expect(seen.different).toEqual([]);
  });
});

interface Lockfile {
  readonly packages: Readonly<Record<string, { readonly optionalDependencies?: Readonly<Record<string, string>> }>>;
}

it.each(['package-lock.json', '__test__/package/consumers/package-lock.json'])(
  // npm writes such a lockfile without a word when a registry lacks one of them, and refuses to install from it.
  '%s knows the packages of every platform, so that npm ci works on all of them',
  (file) => {
    const { packages } = JSON.parse(read(file)) as Lockfile;
    const known = new Set(Object.keys(packages).map((location) => location.split('node_modules/').at(-1)));
    const wanted = Object.values(packages).flatMap((entry) => Object.keys(entry.optionalDependencies ?? {}));
    expect(wanted.filter((name) => !known.has(name))).toEqual([]);
  },
);

it('nothing runs when a user installs', () => {
  const atInstall = ['preinstall', 'install', 'postinstall', 'prepublish', 'preprepare', 'prepare', 'postprepare'];
  expect(Object.keys(manifest.scripts ?? {}).filter((name) => atInstall.includes(name))).toEqual([]);
});
