// Cursors over many batches, tailable, killed; explain; GridFS.
'use strict';
const { GridFSBucket, ObjectId } = require('mongodb');
const { pipeline } = require('stream/promises');
const { Readable } = require('stream');
const { expectError } = require('./harness');

const range = (from, to) => Array.from({ length: to - from }, (_, i) => from + i);
const ids = (documents) => documents.map((one) => one._id);

async function take(cursor, count) {
  const seen = [];
  while (seen.length < count) seen.push((await cursor.next())._id);
  return seen;
}

async function download(bucket, name, options) {
  const parts = [];
  for await (const part of bucket.openDownloadStreamByName(name, options)) parts.push(part);
  return Buffer.concat(parts);
}

module.exports = {
  async many_batches(c) {
    await c.db.collection('many').insertMany(range(0, 300).map((i) => ({ _id: i, pad: String(i).repeat(50) })));
    return ids(await c.db.collection('many').find({}, { batchSize: 17 }).sort({ _id: 1 }).toArray());
  },

  async big_batches(c) {
    await c.db.collection('big').insertMany(range(0, 8).map((i) => ({ _id: i, pad: String.fromCharCode(97 + i).repeat(200000) })));
    return (await c.db.collection('big').find({}, { batchSize: 3 }).sort({ _id: 1 }).toArray()).map((one) => [one._id, one.pad.length]);
  },

  aggregate_batches: async (c) => ids(await c.db.collection('many').aggregate([{ $sort: { _id: -1 } }, { $project: { _id: 1 } }], { batchSize: 40 }).toArray()),

  // Cursors that are open at once must not get each other's batches.
  async interleaved(c) {
    const cursors = [0, 100, 200].map((from) => c.db.collection('many').find({ _id: { $gte: from } }, { projection: { _id: 1 }, batchSize: 5 }).sort({ _id: 1 }).limit(20));
    const seen = [];
    for (let i = 0; i < 20; i += 1) for (const cursor of cursors) seen.push((await cursor.next())._id);
    return seen;
  },

  async streamed(c) {
    const seen = [];
    for await (const one of c.db.collection('many').find({ _id: { $lt: 50 } }, { batchSize: 20 }).sort({ _id: 1 }).stream()) seen.push(one._id);
    return seen;
  },

  // In flight at once over several connections: the results are compared, the order of their replies is chance.
  async concurrent(c) {
    const found = await Promise.all(range(0, 40).map((i) => c.db.collection('many').findOne({ _id: i })));
    c.take();
    return found;
  },

  async tailable(c) {
    await c.db.createCollection('capped', { capped: true, size: 100000, max: 50 });
    await c.db.collection('capped').insertMany(range(0, 5).map((_id) => ({ _id })));
    const cursor = c.db.collection('capped').find({}, { tailable: true, batchSize: 3 });
    const seen = await take(cursor, 5);
    await c.db.collection('capped').insertMany(range(5, 8).map((_id) => ({ _id })));
    seen.push(...await take(cursor, 3));
    await cursor.close();
    return seen;
  },

  async tailable_await(c) {
    const cursor = c.db.collection('capped').find({ _id: { $gte: 5 } }, { tailable: true, awaitData: true, maxAwaitTimeMS: 300 });
    const seen = await take(cursor, 3);
    const nothing = await cursor.tryNext();
    await cursor.close();
    return { seen, nothing };
  },

  async kill_cursors(c) {
    const opened = (await c.db.command({ find: 'many', batchSize: 2, sort: { _id: 1 } }, { promoteLongs: false })).cursor.id;
    const more = await c.db.command({ getMore: opened, collection: 'many', batchSize: 2 });
    const killed = await c.db.command({ killCursors: 'many', cursors: [opened] });
    const gone = await expectError(() => c.db.command({ getMore: opened, collection: 'many' }));
    return { more, killed, gone, again: await c.db.command({ killCursors: 'many', cursors: [opened] }) };
  },

  async close_cursor(c) {
    const cursor = c.db.collection('many').find({}, { batchSize: 5 });
    const first = await cursor.next();
    await cursor.close();
    return { first, closed: cursor.closed };
  },

  explain: (c) => c.db.collection('crud').find({ n: { $gt: 5 } }).sort({ n: 1 }).explain('executionStats'),
  explain_aggregate: (c) => c.db.collection('many').aggregate([{ $match: { _id: 3 } }, { $limit: 1 }]).explain('queryPlanner'),

  async gridfs_files(c) {
    const bucket = new GridFSBucket(c.db, { chunkSizeBytes: 60000 });
    const content = Buffer.from(range(0, 200000).map((i) => i % 251));
    const id = new ObjectId('600000000000000000000001');
    await pipeline(Readable.from([content]), bucket.openUploadStreamWithId(id, 'file.bin', { metadata: { kind: 'test' } }));
    const same = content.equals(await download(bucket, 'file.bin'));
    const part = (await download(bucket, 'file.bin', { start: 100000, end: 100010 })).toString('hex');
    const listed = await bucket.find().toArray();
    await bucket.rename(id, 'renamed.bin');
    await bucket.delete(id);
    return { same, part, listed, left: await c.db.collection('fs.chunks').countDocuments() };
  },

  gridfs_missing: (c) => expectError(() => download(new GridFSBucket(c.db), 'absent')),

  async limits(c) {
    const { insertedId } = await c.db.collection('limits').insertOne({ _id: 'largest', pad: 'y'.repeat(16 * 1024 * 1024 - 60) });
    const size = await c.db.collection('limits').aggregate([{ $project: { size: { $bsonSize: '$$ROOT' } } }]).toArray();
    return { insertedId, size, refused: await expectError(() => c.db.collection('limits').insertOne({ _id: 1, pad: 'z'.repeat(16800000) })) };
  },
};
