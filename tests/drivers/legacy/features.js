#!/usr/bin/env node
// Every feature of mongodb 1.2 that a 4.4 set answers over the legacy opcodes, one JSON line a step.
//
// features.js URI DBNAME, with `mongodb` 1.2.14 on NODE_PATH
'use strict';
const { recordReplies, call, run } = require('./harness');

recordReplies();
const { MongoClient } = require('mongodb');

// This driver wants a database in the URI, and knows no directConnection: without a set's name it connects directly.
function legacyUri(uri, name) {
  const [seeds, options = ''] = uri.replace('mongodb://', '').split('/?');
  const known = options.split('&').filter((option) => option.startsWith('replicaSet='));
  return `mongodb://${seeds}/${name}?${known.join('&')}`;
}

async function main() {
  const [uri, name] = process.argv.slice(2);
  if (!name) throw new Error('usage: features.js URI DBNAME');
  const db = await call((done) => MongoClient.connect(legacyUri(uri, name), { db: { w: 1 } }, done));
  const context = { db, name, collection: (one) => db.collection(one), admin: (command) => call((done) => db.admin().command(command, done)) };
  // Unprinted: its reply tells whether an earlier run left the database behind.
  await call((done) => db.dropDatabase(done));
  const server = require('./server');
  for (const steps of [server.first, require('./writes'), require('./reads'), server.last]) await run(steps, context);
  await run({ drop_database: () => call((done) => db.dropDatabase(done)), close: () => call((done) => db.close(done)) }, context);
}

main().then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
