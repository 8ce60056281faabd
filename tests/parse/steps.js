#!/usr/bin/env node
// Operations of applications of Parse, by REST and by the JavaScript SDK, one JSON line a step.
//
// steps.js SERVER_URL [READ_PREFERENCE], with `parse` on NODE_PATH
'use strict';
const { Context, run } = require('./harness');

async function main() {
  const [url, readPreference] = process.argv.slice(2);
  if (!url) throw new Error('usage: steps.js SERVER_URL [READ_PREFERENCE]');
  const parts = ['objects', 'queries', 'aggregates', 'batches', 'users', 'schemas', 'others', 'live'];
  await run(parts.map((part) => require(`./${part}`)), new Context(url, readPreference));
}

// The SDK keeps sockets open.
main().then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
