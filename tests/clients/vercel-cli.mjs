// The `vercel` command line against the stand-in of Vercel's API, in a project that is linked as `vercel link` does it.

import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { assert, step } from './steps.mjs';

const { VERCEL_URL: api, VERCEL_TOKEN_OF_TEST: token, PLACE: place } = process.env;
const program = new URL('./node_modules/vercel/dist/vc.js', import.meta.url).pathname;
const [project, config] = [join(place, 'project'), join(place, 'config')];
mkdirSync(join(project, '.vercel'), { recursive: true });
mkdirSync(config, { recursive: true });
writeFileSync(join(project, '.vercel/project.json'), JSON.stringify({ projectId: 'prj_drill_shop', orgId: 'team_clients' }));

// No telemetry, no look for a newer version, nobody's own settings. A proxy that nobody is would be asked for whatever else.
const env = {
  PATH: process.env.PATH,
  HOME: place,
  CI: '1',
  NO_COLOR: '1',
  NO_UPDATE_NOTIFIER: '1',
  VERCEL_TELEMETRY_DISABLED: '1',
};

function vercel(...words) {
  const fixed = ['--api', api, '--token', token, '--scope', 'team_clients', '--global-config', config, '--cwd', project];
  const ended = spawnSync(process.execPath, [program, ...fixed, ...words], { env, input: '', encoding: 'utf8', timeout: 120_000 });
  const said = `${ended.stdout}\n${ended.stderr}`;
  assert.equal(ended.status, 0, `vercel ${words.join(' ')} ended with ${ended.status ?? ended.signal}:\n${said}`);
  return said;
}

await step('whoami', () => assert.match(vercel('whoami'), /drill/));

await step('env ls', () => assert.match(vercel('env', 'ls', 'production'), /FLAGS\s+Encrypted\s+Production/));

await step('env add and rm', () => {
  vercel('env', 'add', 'FRESH', 'production', '--value', '1', '--yes');
  assert.match(vercel('env', 'ls'), /FRESH/);
  vercel('env', 'rm', 'OTHER', 'production', '--yes');
  assert.doesNotMatch(vercel('env', 'ls'), /OTHER/);
});

await step('ls', () => assert.match(vercel('ls'), /shop-drill0001\.vercel\.app/));

await step('inspect', () => {
  const said = vercel('inspect', 'dpl_drill0001');
  assert.match(said, /dpl_drill0001/);
  assert.match(said, /shop\.example\.com/);
});

await step('redeploy', () => assert.match(vercel('redeploy', 'dpl_drill0001', '--target', 'production'), /shop-drill0002/));

await step('rollback', () => {
  assert.match(vercel('rollback', 'dpl_drill0001', '--yes'), /dpl_drill0001|shop-drill0001/);
  assert.match(vercel('rollback', 'status'), /rollback status of shop/);
});

await step('promote', () => {
  assert.match(vercel('promote', 'dpl_drill0002', '--yes'), /dpl_drill0002|shop-drill0002/);
});
