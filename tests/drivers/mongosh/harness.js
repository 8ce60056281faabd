// Runs steps and prints one JSON line for each: what the shell returned and every raw command reply behind it.
const COMMENT = 'torana-drivers';
// A script has 30 s in all; what takes more than this is named.
const SLOW_MS = 1000;
const recorded = [];

// The events of the driver below the shell; the URI's monitorCommands=true turns them on.
function record(mongo) {
  const client = mongo._serviceProvider.mongoClient;
  const add = (event, kind, reply) =>
    recorded.push(`{"command": ${JSON.stringify(event.commandName)}, "address": ${JSON.stringify(event.address)}, "${kind}": ${encode(reply)}}`);
  client.on('commandSucceeded', (event) => add(event, 'reply', event.reply));
  client.on('commandFailed', (event) => add(event, 'failure', failure(event.failure)));
  return client;
}

function encode(value) {
  return EJSON.stringify(value === undefined ? null : value, { relaxed: false });
}

// All that a user can see of an error.
function failure(error) {
  const seen = { type: error.constructor.name, message: error.message, code: error.code, codeName: error.codeName };
  if (error.errorLabels && error.errorLabels.length) seen.labels = [...error.errorLabels].sort();
  if (error.errorResponse) seen.response = error.errorResponse;
  if (error.result) seen.result = { ...error.result };
  return seen;
}

// Not `async`: the shell waits by itself for what such a function returns, and only for that.
function expectError(call) {
  let got;
  try {
    got = call();
  } catch (error) {
    return failure(error);
  }
  throw new Error(`expected an error, got ${encode(got)}`);
}

function failPoint(data, times = 1) {
  return db.adminCommand({ configureFailPoint: 'failCommand', mode: { times }, data });
}

async function run(steps) {
  for (const [step, body] of Object.entries(steps)) {
    recorded.splice(0);
    const started = Date.now();
    let line;
    try {
      line = `"reply": ${encode(await body())}`;
    } catch (error) {
      line = `"error": ${encode(failure(error))}`;
    }
    print(`{"step": ${JSON.stringify(step)}, ${line}, "events": [${recorded.splice(0).join(', ')}]}`);
    if (Date.now() - started > SLOW_MS) process.stderr.write(`${step} took ${Date.now() - started} ms\n`);
  }
}

function numbers(from, to) {
  return Array.from({ length: to - from }, (_, i) => from + i);
}

const client = record(db.getMongo());
