// Runs steps and prints one JSON line for each: what the driver returned and every raw command reply behind it.
'use strict';
const { MongoClient } = require('mongodb');
const { EJSON } = require(require.resolve('bson', { paths: [require.resolve('mongodb')] }));

const VERSION = parseInt(require('mongodb/package.json').version, 10);
const COMMENT = 'torana-drivers';
// A script has 30 s in all; what takes more than this is named.
const SLOW_MS = 1000;

const encode = (value) => EJSON.stringify(value === undefined ? null : value, { relaxed: false });

// Everything that a step needs: the client, its database, and the replies of the running step.
class Context {
  constructor(uri, name) {
    Object.assign(this, { uri, name, direct: uri.includes('directConnection=true'), events: [] });
    this.client = this.connect();
    this.db = this.client.db(name);
  }

  connect(uri = this.uri, options = {}) {
    const client = new MongoClient(uri, { monitorCommands: true, serverSelectionTimeoutMS: 5000, ...options });
    client.on('commandSucceeded', (event) => this.record(event, 'reply', event.reply));
    client.on('commandFailed', (event) => this.record(event, 'failure', failure(event.failure)));
    return client;
  }

  record(event, kind, reply) {
    // Encoded at once: the driver takes the documents of a batch out of the reply.
    this.events.push(`{"command": ${JSON.stringify(event.commandName)}, "address": ${JSON.stringify(event.address)}, "${kind}": ${encode(reply)}}`);
  }

  take() {
    return this.events.splice(0);
  }

  async members() {
    return (await this.client.db('admin').command({ hello: 1 })).hosts;
  }

  admin(command, options) {
    return this.client.db('admin').command(command, options);
  }

  failPoint(data, times = 1) {
    return this.admin({ configureFailPoint: 'failCommand', mode: { times }, data });
  }
}

// All that an application can see of an error.
function failure(error) {
  const seen = { type: error.constructor.name, message: error.message, code: error.code, codeName: error.codeName };
  const labels = [...(error.errorLabels || [])].sort();
  if (labels.length) seen.labels = labels;
  if (error.writeErrors) seen.writeErrors = [].concat(error.writeErrors).map((one) => one.toJSON());
  if (error.result && typeof error.result === 'object') seen.result = plain(error.result);
  if (error.errorResponse) seen.response = error.errorResponse;
  return seen;
}

// A result object's own fields, as JSON would have them: results of bulk writes carry methods and private fields.
function plain(value) {
  return typeof value.toJSON === 'function' ? value.toJSON() : { ...value };
}

async function expectError(call) {
  let got;
  try {
    got = await call();
  } catch (error) {
    return failure(error);
  }
  throw new Error(`expected an error, got ${encode(got)}`);
}

async function run(steps, context) {
  for (const [name, step] of Object.entries(steps)) {
    context.take();
    const started = Date.now();
    let line;
    try {
      line = `"reply": ${encode(await step(context))}`;
    } catch (error) {
      line = `"error": ${encode(failure(error))}`;
    }
    process.stdout.write(`{"step": ${JSON.stringify(name)}, ${line}, "events": [${context.take().join(', ')}]}\n`);
    if (Date.now() - started > SLOW_MS) process.stderr.write(`${name} took ${Date.now() - started} ms\n`);
  }
}

module.exports = { COMMENT, VERSION, Context, expectError, failure, plain, run };
