// A few words for the scripts beside this: each step says what it is, and the first that fails ends the script.

import assert from 'node:assert/strict';

export { assert };

export async function step(name, act) {
  try {
    const found = await act();
    console.log(`ok ${name}`);
    return found;
  } catch (error) {
    // What a client's own check of an answer objects to is what one wants to read first.
    const issues = error.cause?.issues ?? error.errors;
    console.error(`FAILED ${name}: ${error.stack ?? error}`);
    if (issues) console.error(JSON.stringify(issues, null, 2));
    process.exit(1);
  }
}

/** The failure of an act that must fail. */
export async function refused(act) {
  const done = await act().then(
    (value) => ({ value }),
    (error) => ({ error }),
  );
  assert.ok(done.error, `it should have been refused, and gave ${JSON.stringify(done.value)}`);
  return done.error;
}

/** Waits for something to become so; the stand-ins' clock is faster than ours. */
export async function until(what, isSo) {
  const end = Date.now() + 60_000;
  while (!(await isSo())) {
    assert.ok(Date.now() < end, `it never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
