import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { addon, copyOfCheckout, node, requireFromRoot, root, succeed } from './harness.js';

const { version } = requireFromRoot('./package.json') as { version: string };
const addonInPackage = `native/${path.basename(addon.file)}`;

/** What a program of the user's sees that requires the package in `folder`. */
async function load(folder: string, before = ''): Promise<{ code?: string; name?: string; message?: string }> {
  const program = `${before}
    try { require('./dist/native.js'); console.log('{}'); }
    catch ({ code, name, message }) { console.log(JSON.stringify({ code, name, message })); }`;
  return JSON.parse(await succeed(node(['-e', program], { cwd: folder }))) as { code?: string; message?: string };
}

const install = () => copyOfCheckout('package.json', 'dist', 'native/binding.js', addonInPackage);

describe('a binary that cannot be used is one error, which says what to do', () => {
  it('is no error when the binary is there', async () => {
    expect(await load(await install())).toEqual({});
  });

  it('missing: names the system, every path and package that was tried, and the command that repairs it', async () => {
    const folder = await install();
    await rm(path.join(folder, addonInPackage));
    const { code, name, message } = await load(folder);
    expect({ code, name }).toEqual({ code: 'ERR_REPRISE_NATIVE_UNAVAILABLE', name: 'Error' });
    expect(message).toContain(`reprise ${version}`);
    expect(message).toContain(`${process.platform}-${process.arch}`);
    if (process.platform === 'linux') expect(message).toMatch(/\((glibc \d+\.\d+|musl)\)/);
    expect(message).toContain(`Cannot find module './${path.basename(addon.file)}'`);
    expect(message).toContain(`Cannot find module 'reprise-${addon.platform}'`);
    expect(message).toContain(`npm install --no-save reprise-${addon.platform}@${version}`);
    expect(message).toContain('package-lock.json came from another operating system');
    expect(message).toContain('--omit=optional');
    expect(message).not.toMatch(/wasi|Require stack/);
  });

  it('corrupt: names the file and what the system said of it', async () => {
    const folder = await install();
    await writeFile(path.join(folder, addonInPackage), 'not a shared library');
    const { code, message } = await load(folder);
    expect(code).toBe('ERR_REPRISE_NATIVE_UNAVAILABLE');
    expect(message).toContain(path.basename(addon.file));
    expect(message).toContain(`npm install --no-save reprise-${addon.platform}@${version}`);
  });

  it('of another version: names both versions', async () => {
    const folder = await install();
    await writeFile(path.join(folder, 'package.json'), JSON.stringify({ name: 'reprise', version: '99.0.0' }));
    const { code, message } = await load(folder);
    expect(code).toBe('ERR_REPRISE_NATIVE_UNAVAILABLE');
    expect(message).toContain(`The binary that was found is of reprise ${version}, not 99.0.0`);
    expect(message).toContain(`npm install --no-save reprise-${addon.platform}@99.0.0`);
  });

  it('for an unsupported system: lists the supported ones and how to build', async () => {
    const { code, message } = await load(
      await install(),
      `Object.defineProperty(process, 'platform', { value: 'sunos' });`,
    );
    expect(code).toBe('ERR_REPRISE_NATIVE_UNAVAILABLE');
    expect(message).toContain(`There is no prebuilt binary for sunos-${process.arch}`);
    expect(message).toContain('linux-x64-gnu, linux-x64-musl, win32-x64-msvc');
    expect(message).toContain('NAPI_RS_NATIVE_LIBRARY_PATH');
    expect(message).not.toContain('npm install');
  });

  it('for an override that names no file: names the override', async () => {
    const { code, message } = await load(
      await install(),
      `process.env.NAPI_RS_NATIVE_LIBRARY_PATH = '/nowhere/reprise.node';`,
    );
    expect(code).toBe('ERR_REPRISE_NATIVE_UNAVAILABLE');
    expect(message).toContain(`Cannot find module '/nowhere/reprise.node'`);
  });

  it('is printed without the advice of the generated loader, which would cost people their lockfile', async () => {
    const folder = await install();
    await rm(path.join(folder, addonInPackage));
    const { code, output } = await node(['-e', `require('./dist/native.js')`], { cwd: folder });
    expect(code).toBe(1);
    expect(output).not.toMatch(/removing both|wasm|issues\/4828/);
  });
});

it('the checkout itself loads', async () => {
  expect(await load(root)).toEqual({});
});
