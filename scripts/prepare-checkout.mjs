// Brings a checkout to where it can run: tools checked, npm dependencies installed, native addon and wrapper built.
// `npm run demo`, `npm start` and `npm test` run it first. Where nothing changed it does nothing, in a blink.
// Output of npm and cargo is shown whole when they fail, and as it comes with `--verbose`.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { isFresh, stamp } from './stamp.mjs';
import { Problem, requireCargo, requireNode, root, runMain } from './tools.mjs';

// `npm test --verbose` reaches us only as npm's own setting.
const verbose = process.argv.includes('--verbose') || process.env.npm_config_loglevel === 'verbose';

const nativeAddon = {
  script: 'build:native',
  what: 'building the native addon in Rust (1 to 3 minutes the first time)',
  inputs: ['Cargo.toml', 'Cargo.lock', 'build.rs', '.cargo', 'src', 'package.json'],
  outputs: ['native'],
};
const wrapper = {
  script: 'build:ts',
  what: 'building the TypeScript wrapper (about 10 seconds)',
  inputs: [
    'ts',
    'native/binding.d.ts',
    'tsconfig.json',
    'tsconfig.build.json',
    'rollup.dts.mjs',
    'scripts/write-esm-faces.mjs',
    'package.json',
  ],
  outputs: [
    'dist',
    ...['index', 'postgres', 'redis', 'testing'].flatMap((name) => [`${name}.d.ts`, `${name}.d.mts`, `${name}.mjs`]),
  ],
};

await runMain(async () => {
  requireNode();
  if (!isFresh(nativeAddon)) requireCargo();
  if (!dependenciesMatchLockfile()) {
    await run('installing npm dependencies (up to a minute)', ['ci', '--include=dev', '--no-audit', '--no-fund']);
  }
  for (const build of [nativeAddon, wrapper]) {
    if (isFresh(build)) continue;
    await run(build.what, ['run', build.script]);
    stamp(build);
  }
});

/** Whether npm's own record of what it installed says what package-lock.json says. */
function dependenciesMatchLockfile() {
  const installed = path.join(root, 'node_modules', '.package-lock.json');
  if (!existsSync(installed)) return false;
  const have = JSON.parse(readFileSync(installed, 'utf8')).packages;
  const want = JSON.parse(readFileSync(path.join(root, 'package-lock.json'), 'utf8')).packages;
  return Object.entries(want).every(([name, { version, integrity, optional }]) => {
    if (name === '') return true;
    // npm leaves out the optional packages of other platforms.
    if (have[name] === undefined) return optional === true;
    const isThere = existsSync(path.join(root, name, 'package.json'));
    return isThere && have[name].version === version && have[name].integrity === integrity;
  });
}

async function run(what, npmArguments) {
  process.stdout.write(`reprise: ${what} ${verbose ? '\n' : '.'}`);
  const started = Date.now();
  const child = spawnNpm(npmArguments);
  const output = [];
  child.stdout?.on('data', (chunk) => output.push(chunk));
  child.stderr?.on('data', (chunk) => output.push(chunk));
  const sign = setInterval(() => !verbose && process.stdout.write('.'), 5000);
  const [code, signal] = await new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (...ending) => resolve(ending));
  }).finally(() => clearInterval(sign));
  if (code === 0) {
    process.stdout.write(`${verbose ? 'reprise:' : ''} done in ${Math.ceil((Date.now() - started) / 1000)} s\n`);
    return;
  }
  const command = `npm ${npmArguments.join(' ')}`;
  process.stderr.write(`${verbose ? '' : ' failed\n'}\n$ ${command}\n`);
  process.stderr.write(Buffer.concat(output));
  const ending = signal === null ? `exit code ${code}` : `signal ${signal}`;
  throw new Problem(`\`${command}\` failed (${ending}). What it said stands above.`);
}

function spawnNpm(npmArguments) {
  const options = { cwd: root, stdio: ['ignore', ...(verbose ? ['inherit', 'inherit'] : ['pipe', 'pipe'])] };
  // npm names its own program to the scripts that it runs; another package manager names itself, which will not do.
  const npm = process.env.npm_execpath;
  if (npm !== undefined && path.basename(npm) === 'npm-cli.js') {
    return spawn(process.execPath, [npm, ...npmArguments], options);
  }
  // On Windows npm is a batch file, which only a shell can start.
  return spawn('npm', npmArguments, { ...options, shell: process.platform === 'win32' });
}
