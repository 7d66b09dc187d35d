import { copyFile, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { addon, copyOfCheckout, npm, requireFromRoot, succeed } from './harness.js';

const { files } = requireFromRoot('./package.json') as { files: readonly string[] };

/** The packages as a release publishes them: the one everybody installs, and the binary of this platform. */
export interface Tarballs {
  readonly root: string;
  readonly platform: string;
}

/** Packs what the build has made, after the one change that a release makes: naming the packages of all platforms. */
export async function pack(): Promise<Tarballs> {
  // Every folder and file that "files" names, so that packing chooses among them.
  const named = [...new Set(files.map((pattern) => pattern.split('/')[1] ?? ''))];
  const folder = await copyOfCheckout('package.json', 'LICENSE', 'README.md', 'npm', ...named);
  const manifestFile = path.join(folder, 'package.json');
  const manifest = JSON.parse(await readFile(manifestFile, 'utf8')) as Record<string, unknown>;
  const { platforms } = requireFromRoot('./dist/native.js') as { platforms: readonly string[] };
  manifest['optionalDependencies'] = Object.fromEntries(
    platforms.map((platform) => [`reprise-${platform}`, manifest['version']]),
  );
  await writeFile(manifestFile, JSON.stringify(manifest));

  const platformFolder = path.join(folder, 'npm', addon.platform);
  await copyFile(addon.file, path.join(platformFolder, path.basename(addon.file)));
  const [rootTarball, platformTarball] = await Promise.all([packFolder(folder), packFolder(platformFolder)]);
  return { root: rootTarball, platform: platformTarball };
}

async function packFolder(cwd: string): Promise<string> {
  const output = await succeed(npm(['pack', '--silent', '--ignore-scripts'], { cwd }));
  const name = /^\S+\.tgz$/m.exec(output)?.[0];
  if (name === undefined) throw new Error(`npm pack named no tarball:\n${output}`);
  return path.join(cwd, name);
}
