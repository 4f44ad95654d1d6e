// @vercel/sdk against the stand-in of Vercel's API. The SDK holds every answer against its own schemas.

import { Vercel } from '@vercel/sdk';
import { assert, refused, step, until } from './steps.mjs';

const { VERCEL_URL: serverURL, VERCEL_TOKEN_OF_TEST: bearerToken } = process.env;
const vercel = new Vercel({ serverURL, bearerToken });
const teamId = 'team_clients';
const shop = { idOrName: 'shop', teamId };

await step('user.getAuthUser', async () => assert.equal((await vercel.user.getAuthUser()).user.username, 'drill'));

const project = await step('projects.getProject', async () => {
  const found = await vercel.projects.getProject(shop);
  assert.deepEqual([found.name, found.accountId], ['shop', teamId]);
  return found;
});
const before = project.targets.production.id;

await step('a project without its team', async () => {
  const error = await refused(() => vercel.projects.getProject({ idOrName: 'shop' }));
  assert.equal(error.statusCode, 404);
});

const flags = await step('projects.filterProjectEnvs', async () => {
  const { envs } = await vercel.projects.filterProjectEnvs(shop);
  assert.deepEqual(envs.map((row) => row.key), ['FLAGS', 'OTHER']);
  return envs[0];
});

await step('projects.createProjectEnv, with upsert', async () => {
  const row = { key: 'FLAGS', value: 'on', type: 'encrypted', target: ['production'] };
  const fresh = { key: 'FRESH', value: '1', type: 'sensitive', target: ['production'] };
  const { created, failed } = await vercel.projects.createProjectEnv({ ...shop, upsert: 'true', requestBody: [row, fresh] });
  assert.deepEqual(failed, []);
  assert.equal(created.length, 2);
  assert.equal((await vercel.projects.getProjectEnv({ ...shop, id: flags.id })).value, 'on');
});

await step('projects.editProjectEnv', async () => {
  await vercel.projects.editProjectEnv({ ...shop, id: flags.id, requestBody: { value: 'maybe' } });
  assert.equal((await vercel.projects.getProjectEnv({ ...shop, id: flags.id })).value, 'maybe');
});

await step('projects.removeProjectEnv', async () => {
  await vercel.projects.removeProjectEnv({ ...shop, id: flags.id });
  const { envs } = await vercel.projects.filterProjectEnvs(shop);
  assert.ok(envs.every((row) => row.key !== 'FLAGS'));
});

const again = (target) => ({
  teamId,
  forceNew: '1',
  requestBody: { name: 'shop', deploymentId: before, target, meta: { action: 'redeploy' } },
});

const serves = async () => (await vercel.projects.getProject(shop)).targets.production.id;

const next = await step('deployments.createDeployment, anew from another', async () => {
  const made = await vercel.deployments.createDeployment(again('production'));
  assert.equal(made.target, 'production');
  await until('it serves', async () => {
    const found = await vercel.deployments.getDeployment({ idOrUrl: made.id, teamId });
    return found.readyState === 'READY' && found.aliasAssigned;
  });
  assert.equal(await serves(), made.id);
  return made.id;
});

await step('deployments.getDeployments', async () => {
  const query = { projectId: project.id, teamId, target: 'production', state: 'READY', limit: 10 };
  const { deployments } = await vercel.deployments.getDeployments(query);
  assert.deepEqual(deployments.map((one) => one.uid), [next, before]);
});

await step('deployments.getDeploymentEvents', async () => {
  const events = await vercel.deployments.getDeploymentEvents({ idOrUrl: next, teamId, limit: 10, builds: 1 });
  assert.ok(events.length > 0);
});

await step('projects.requestRollback', async () => {
  await vercel.projects.requestRollback({ projectId: project.id, deploymentId: before, teamId });
  await until('the old one serves', async () => (await serves()) === before);
  assert.ok((await vercel.projects.getProject(shop)).lastRollbackTarget);
});

await step('projects.requestPromote', async () => {
  await vercel.projects.requestPromote({ projectId: project.id, deploymentId: next, teamId });
  await until('the new one serves', async () => (await serves()) === next);
  assert.ok(!(await vercel.projects.getProject(shop)).lastRollbackTarget, 'it is not pinned any more');
});

await step('aliases.listDeploymentAliases', async () => {
  const { aliases } = await vercel.aliases.listDeploymentAliases({ id: next, teamId });
  assert.deepEqual(aliases.map((one) => one.alias), ['shop.example.com']);
});

await step('deployments.cancelDeployment', async () => {
  const made = await vercel.deployments.createDeployment(again('production'));
  const cancelled = await vercel.deployments.cancelDeployment({ id: made.id, teamId });
  assert.equal(cancelled.readyState, 'CANCELED');
});

await step('another token', async () => {
  const error = await refused(() => new Vercel({ serverURL, bearerToken: 'another' }).user.getAuthUser());
  assert.equal(error.statusCode, 403);
});
