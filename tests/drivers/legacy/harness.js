// Runs steps and prints one JSON line for each: what the driver returned and every reply behind it.
//
// mongodb 1.2 has no command monitoring: its reply parser is wrapped, so that the whole OP_REPLY is printed.
'use strict';
const { MongoReply } = require('mongodb/lib/mongodb/responses/mongo_reply');

// A script has 30 s in all; what takes more than this is named.
const SLOW_MS = 1000;
const recorded = [];

const LARGE_INT = 0x7fffffff;

// The driver's own types as canonical Extended JSON, which is younger than they are.
const TYPES = {
  ObjectID: (value) => ({ $oid: value.toHexString() }),
  Long: (value) => ({ $numberLong: value.toString() }),
  Timestamp: (value) => ({ $timestamp: { t: value.high_ >>> 0, i: value.low_ >>> 0 } }),
  Binary: (value) => ({ $binary: { base64: value.value(true).toString('base64'), subType: value.sub_type.toString(16).padStart(2, '0') } }),
  Code: (value) => ({ $code: value.code }),
  Double: (value) => ({ $numberDouble: String(value.value) }),
};

function extended(value) {
  if (value === undefined || value === null || typeof value === 'boolean' || typeof value === 'string') return value ?? null;
  if (typeof value === 'number') return Number.isInteger(value) && Math.abs(value) > LARGE_INT ? { $numberLong: String(value) } : value;
  if (value instanceof Date) return { $date: { $numberLong: String(value.getTime()) } };
  if (value instanceof RegExp) return { $regularExpression: { pattern: value.source, options: value.flags } };
  if (Buffer.isBuffer(value)) return { $binary: { base64: value.toString('base64'), subType: '00' } };
  if (Array.isArray(value)) return value.map(extended);
  if (value instanceof Error) return failure(value);
  if (TYPES[value._bsontype]) return TYPES[value._bsontype](value);
  return Object.fromEntries(Object.entries(value).filter(([, field]) => typeof field !== 'function').map(([key, field]) => [key, extended(field)]));
}

// All that an application can see of an error.
function failure(error) {
  return { type: error.name, message: error.message, code: error.code, err: error.err, fields: extended({ ...error }) };
}

// The driver's monitoring sends isMaster and ping now and then: their replies are no event of any step.
const PING_KEYS = ['ok', '$clusterTime', 'operationTime'];

function monitoring({ documents }) {
  if (documents.length !== 1 || !documents[0]) return false;
  return 'ismaster' in documents[0] || Object.keys(documents[0]).every((key) => PING_KEYS.includes(key));
}

function recordReplies() {
  const { parseBody } = MongoReply.prototype;
  MongoReply.prototype.parseBody = function parsed(binary, bson, raw, callback) {
    return parseBody.call(this, binary, bson, raw, (error) => {
      if (!error && !monitoring(this)) {
        const { responseFlag, startingFrom, numberReturned } = this;
        recorded.push({ command: 'OP_REPLY', reply: extended({ responseFlag, cursorId: this.cursorId, startingFrom, numberReturned, documents: this.documents }) });
      }
      return callback(error);
    });
  };
}

// A promise of what `body` passes to the callback that it is given.
function call(body) {
  return new Promise((resolve, reject) => { body((error, result) => (error ? reject(error) : resolve(result))); });
}

async function expectError(body) {
  let got;
  try {
    got = await call(body);
  } catch (error) {
    return failure(error);
  }
  throw new Error(`expected an error, got ${JSON.stringify(extended(got))}`);
}

async function run(steps, context) {
  for (const [name, step] of Object.entries(steps)) {
    recorded.splice(0);
    const started = Date.now();
    const line = { step: name };
    try {
      line.reply = extended(await step(context));
    } catch (error) {
      line.error = failure(error);
    }
    line.events = recorded.splice(0).map((event) => ({ ...event, command: name }));
    process.stdout.write(`${JSON.stringify(line)}\n`);
    if (Date.now() - started > SLOW_MS) process.stderr.write(`${name} took ${Date.now() - started} ms\n`);
  }
}

const forget = () => recorded.splice(0);
const range = (from, to) => Array.from({ length: to - from }, (_, i) => from + i);

module.exports = { call, expectError, forget, range, recordReplies, run };
