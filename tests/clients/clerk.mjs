// @clerk/backend against the stand-in of Clerk's Backend API.

import { createClerkClient } from '@clerk/backend';
import { assert, refused, step, until } from './steps.mjs';

const { CLERK_URL: apiUrl, CLERK_KEY: secretKey } = process.env;
const clerk = createClerkClient({ secretKey, apiUrl });

const users = await step('users.getUserList', async () => {
  const page = await clerk.users.getUserList({ limit: 5, orderBy: '+created_at' });
  assert.equal(page.data.length, 5);
  assert.equal(page.totalCount, 40);
  assert.ok(page.data.every((user, at) => at === 0 || user.createdAt >= page.data[at - 1].createdAt));
  return page.data;
});
const [first, second, third] = users;

await step('users.getUserList, by id and further on', async () => {
  const named = await clerk.users.getUserList({ userId: [first.id, second.id] });
  assert.deepEqual(new Set(named.data.map((user) => user.id)), new Set([first.id, second.id]));
  const later = await clerk.users.getUserList({ limit: 5, offset: 5, orderBy: '+created_at' });
  assert.ok(later.data.every((user) => !users.some((known) => known.id === user.id)));
});

await step('users.getCount', async () => assert.equal(await clerk.users.getCount(), 40));

await step('users.getUser', async () => {
  const user = await clerk.users.getUser(first.id);
  assert.deepEqual([user.id, user.banned, user.locked], [first.id, false, false]);
});

const session = await step('sessions.getSessionList', async () => {
  const { data, totalCount } = await clerk.sessions.getSessionList({ userId: first.id, limit: 50 });
  assert.equal(totalCount, data.length);
  const live = data.filter((one) => one.status === 'active' || one.status === 'pending');
  assert.ok(live.length > 0);
  return live[0];
});

await step('sessions.revokeSession', async () => {
  const revoked = await clerk.sessions.revokeSession(session.id);
  assert.deepEqual([revoked.id, revoked.status], [session.id, 'revoked']);
  assert.equal((await clerk.sessions.getSession(session.id)).status, 'revoked');
});

await step('users.banUser and unbanUser', async () => {
  assert.equal((await clerk.users.banUser(second.id)).banned, true);
  const { data } = await clerk.sessions.getSessionList({ userId: second.id, status: 'active' });
  assert.equal(data.length, 0, 'a ban ends all sessions');
  assert.equal((await clerk.users.unbanUser(second.id)).banned, false);
});

await step('users.lockUser and unlockUser', async () => {
  assert.equal((await clerk.users.lockUser(third.id)).locked, true);
  assert.equal((await clerk.users.unlockUser(third.id)).locked, false);
});

await step('users.setPasswordCompromised', async () => {
  await clerk.users.setPasswordCompromised(third.id, { revokeAllSessions: true });
  const { data } = await clerk.sessions.getSessionList({ userId: third.id, status: 'active' });
  assert.equal(data.length, 0);
});

await step('jwks.getJwks', async () => assert.equal((await clerk.jwks.getJwks()).keys.length, 1));

await step('jwtTemplates.list', async () => {
  const { data } = await clerk.jwtTemplates.list();
  assert.deepEqual(data.map((one) => [one.name, one.lifetime]), [['hasura', 600]]);
});

await step('instance.get', async () => {
  const instance = await clerk.instance.get();
  assert.deepEqual([instance.id, instance.environmentType], ['ins_clients', 'development']);
});

await step('a user who is not there', async () => {
  const error = await refused(() => clerk.users.getUser('user_nobody'));
  assert.deepEqual([error.status, error.errors[0].code], [404, 'resource_not_found']);
  assert.ok(error.clerkTraceId, 'the trace id is where the client looks for it');
});

await step('another key', async () => {
  const other = createClerkClient({ secretKey: 'sk_test_somebody_elses', apiUrl });
  const error = await refused(() => other.users.getCount());
  assert.deepEqual([error.status, error.errors[0].code], [401, 'clerk_key_invalid']);
});

await step('too many requests', async () => {
  // More at once than the instance takes in ten seconds of its clock, and again while that is not enough.
  let error;
  await until('the instance has had enough', async () => {
    const many = await Promise.allSettled(Array.from({ length: 120 }, () => clerk.users.getCount()));
    error = many.find((one) => one.status === 'rejected')?.reason;
    return error;
  });
  assert.equal(error?.status, 429);
  assert.ok(error.retryAfter > 0, 'the client finds out how long to wait');
});
