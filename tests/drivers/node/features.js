#!/usr/bin/env node
// Every feature of the Node.js driver that a replica set answers, one JSON line a step. Runs with 4.17 and the current one.
//
// features.js URI DBNAME, with `mongodb` on NODE_PATH
'use strict';
const { Context, run } = require('./harness');
const server = require('./server');

async function main() {
  const [uri, name] = process.argv.slice(2);
  if (!name) throw new Error('usage: features.js URI DBNAME');
  const context = new Context(uri, name);
  await context.client.connect();
  // Unprinted: its reply tells whether an earlier run left the database behind.
  await context.db.dropDatabase();
  for (const part of [server.first, require('./crud'), require('./cursors'), require('./streams'), require('./sessions'), server.last]) {
    await run(part, context);
  }
  await run({ drop_database: (c) => c.db.dropDatabase(), close: (c) => c.client.close() }, context);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
