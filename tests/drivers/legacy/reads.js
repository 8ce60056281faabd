// OP_QUERY, OP_GET_MORE and OP_KILL_CURSORS; commands that read; reads on secondaries.
'use strict';
const { ReadPreference } = require('mongodb');
const { call, expectError, forget, range } = require('./harness');

const toArray = (cursor) => call((done) => cursor.toArray(done));
const ids = async (cursor) => (await toArray(cursor)).map((one) => one._id);
const next = (cursor) => call((done) => cursor.nextObject(done));
const command = (c, body) => call((done) => c.db.command(body, done));

module.exports = {
  // One after the other: over two connections, either reply may come first.
  find_one: async (c) => {
    const found = [];
    for (const _id of ['absent', 8]) found.push(await call((done) => c.collection('crud').findOne({ _id }, done)));
    return found;
  },
  find_sorted: (c) => toArray(c.collection('crud').find({ n: { $gt: 5 } }, { name: 1 }).sort({ n: -1 }).skip(3).limit(5)),
  find_negative_limit: (c) => toArray(c.collection('crud').find({}).sort({ _id: 1 }).limit(-3)),
  many_batches: async (c) => {
    await call((done) => c.collection('many').insert(range(0, 300).map((i) => ({ _id: i, pad: String(i).repeat(50) })), { w: 1 }, done));
    return ids(c.collection('many').find({}, { batchSize: 17 }).sort({ _id: 1 }));
  },
  big_batches: async (c) => {
    await call((done) => c.collection('big').insert(range(0, 8).map((i) => ({ _id: i, pad: String(i).repeat(200000) })), { w: 1 }, done));
    return ids(c.collection('big').find({}, { batchSize: 3 }).sort({ _id: 1 }));
  },
  // Cursors that are open at once must not get each other's batches.
  interleaved: async (c) => {
    const cursors = [0, 100, 200].map((from) => c.collection('many').find({ _id: { $gte: from } }, { fields: { _id: 1 }, batchSize: 5 }).sort({ _id: 1 }).limit(20));
    const seen = [];
    for (let i = 0; i < 20; i += 1) for (const cursor of cursors) seen.push((await next(cursor))._id);
    return seen;
  },
  close_cursor: async (c) => {
    const cursor = c.collection('many').find({}, { batchSize: 5 }).sort({ _id: 1 });
    const first = await next(cursor);
    const id = cursor.cursorId;
    await call((done) => cursor.close(done));
    // OP_KILL_CURSORS has no reply and went on a connection of its own. A getMore that it meets may finish unharmed, and
    // the cursor live on: so wait until the server no longer lists it, and only then ask for more.
    const idle = [{ $currentOp: { idleCursors: true, allUsers: true } }, { $match: { type: 'idleCursor', 'cursor.cursorId': id } }];
    for (let i = 0; i < 100; i += 1) {
      const listed = await call((done) => c.db.db('admin').command({ aggregate: 1, pipeline: idle, cursor: {} }, done));
      if (listed.cursor.firstBatch.length === 0) break;
      await new Promise((wake) => setTimeout(wake, 100));
    }
    const more = await command(c, { getMore: id, collection: 'many', batchSize: 1 });
    forget();
    return { first, gone: more.codeName };
  },
  tailable: async (c) => {
    await command(c, { create: 'capped', capped: true, size: 100000, max: 50 });
    await call((done) => c.collection('capped').insert(range(0, 5).map((_id) => ({ _id })), { w: 1 }, done));
    const cursor = c.collection('capped').find({}, { tailable: true, batchSize: 2 });
    const seen = [];
    for (let i = 0; i < 5; i += 1) seen.push((await next(cursor))._id);
    await call((done) => cursor.close(done));
    return seen;
  },
  explain: (c) => call((done) => c.db.command({ explain: { find: 'crud', filter: { n: { $gt: 5 } } }, verbosity: 'executionStats' }, done)),
  count: (c) => call((done) => c.collection('crud').count({ small: true }, done)),
  distinct: (c) => call((done) => c.collection('crud').distinct('name', { n: { $lt: 15 } }, done)),
  aggregate: (c) => command(c, { aggregate: 'crud', pipeline: [{ $group: { _id: { $mod: ['$n', 4] }, total: { $sum: '$n' } } }, { $sort: { _id: 1 } }], cursor: {} }),
  aggregate_old_form: (c) => expectError((done) => c.collection('crud').aggregate([{ $match: {} }], done)),
  aggregate_out: async (c) => {
    await command(c, { aggregate: 'crud', pipeline: [{ $match: { small: true } }, { $sort: { _id: 1 } }, { $out: 'small' }], cursor: {} });
    return toArray(c.collection('small').find().sort({ _id: 1 }));
  },
  collation: async (c) => {
    await call((done) => c.collection('words').insert(['cote', 'Côte', 'coté', 'zebra'].map((w, _id) => ({ _id, w })), { w: 1 }, done));
    return command(c, { find: 'words', filter: { w: 'cote' }, sort: { _id: 1 }, collation: { locale: 'fr', strength: 1 } });
  },
  map_reduce: (c) => command(c, { mapReduce: 'crud', map: 'function() { emit("all", 1); }', reduce: 'function(k, v) { return Array.sum(v); }', out: { inline: 1 } }),
  secondary_query: (c) => toArray(c.collection('many').find({ _id: { $lt: 20 } }, { readPreference: ReadPreference.SECONDARY, batchSize: 6 }).sort({ _id: 1 })),
  nearest_query: (c) => toArray(c.collection('many').find({ _id: 3 }, { readPreference: ReadPreference.NEAREST })),
  bad_query: (c) => expectError((done) => c.collection('crud').find({ n: { $nonsense: 1 } }).toArray(done)),
  unknown_command: (c) => command(c, { thereIsNoSuchCommand: 1 }),
  rename: async (c) => { await call((done) => c.collection('small').rename('renamed', done)); return call((done) => c.collection('renamed').drop(done)); },
};
