// Every feature of mongosh that a replica set answers, one JSON line a step.
//
// TORANA_DRIVERS_DATABASE=DBNAME mongosh 'URI&monitorCommands=true' --quiet --norc --file features.js
//
// mongosh waits for promises by itself, but only in files that it loads, hence load(), and not for what a `return`
// in a `try` or a callback gives back, hence the few explicit awaits.
load(`${__dirname}/harness.js`);
load(`${__dirname}/crud.js`);
load(`${__dirname}/cursors.js`);
load(`${__dirname}/sessions.js`);
load(`${__dirname}/server.js`);

// Unprinted: its reply tells whether an earlier run left the database behind.
const name = process.env.TORANA_DRIVERS_DATABASE;
db = db.getSiblingDB(name);
db.dropDatabase();
async function main() {
  for (const steps of [serverFirst(), crudSteps(), cursorSteps(), sessionSteps(), serverLast()]) {
    await run(steps);
  }
  await run({ drop_database: () => db.dropDatabase() });
}

main();
