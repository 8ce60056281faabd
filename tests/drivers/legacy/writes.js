// OP_INSERT, OP_UPDATE and OP_DELETE, with getLastError and without; commands that write; GridFS.
'use strict';
const { Binary, Code, Double, GridStore, Long, ObjectID, Timestamp } = require('mongodb');
const { call, expectError, forget, range } = require('./harness');

const insert = (c, name, documents, options = { w: 1 }) => call((done) => c.collection(name).insert(documents, options, done));
const update = (c, name, query, change, options = {}) => call((done) => c.collection(name).update(query, change, { w: 1, ...options }, (error, n, status) => done(error, { n, status })));
const remove = (c, name, query, options = {}) => call((done) => c.collection(name).remove(query, { w: 1, ...options }, (error, n) => done(error, n)));
const findOne = (c, name, query) => call((done) => c.collection(name).findOne(query, done));
const count = (c, name) => call((done) => c.collection(name).count(done));

// Writes without getLastError have run when a later reader finds so: nobody else says it, and a count without a query is
// the server's own tally, which runs ahead of what is committed.
async function until(c, name, wanted) {
  const found = () => call((done) => c.collection(name).find().sort({ _id: 1 }).toArray(done));
  for (const end = Date.now() + 10000; Date.now() < end && (await found()).length !== wanted;);
  forget();
  return found();
}

module.exports = {
  insert_one: (c) => insert(c, 'crud', { _id: 1, name: 'one', n: 1 }),
  insert_generated_id: async (c) => { const [one] = await insert(c, 'generated', { a: 1 }); return { one, found: await findOne(c, 'generated', { _id: one._id }) }; },
  insert_many: (c) => insert(c, 'crud', range(2, 41).map((i) => ({ _id: i, name: `n${i}`, n: i, half: i / 2 }))),
  // `writtenTo` names those that were quick enough: any two of three.
  insert_majority: (c) => insert(c, 'crud', { _id: 'journaled' }, { w: 'majority', j: true }).then(() => { forget(); return 'acknowledged'; }),
  insert_all_members: (c) => insert(c, 'crud', { _id: 'everywhere' }, { w: 3, wtimeout: 10000 }),
  insert_too_many_members: async (c) => {
    const refused = await expectError((done) => c.collection('crud').insert({ _id: 'nine' }, { w: 9, wtimeout: 100 }, done));
    forget();
    return { err: refused.err, code: refused.code, message: refused.message };
  },
  every_type: async (c) => {
    await insert(c, 'types', {
      _id: new ObjectID('5f5f5f5f5f5f5f5f5f5f5f5f'), double: new Double(1.5), text: 'ein schöner Tag \u{1f418}', doc: { a: { b: [] } }, array: [1, '2', null],
      date: new Date(Date.UTC(2020, 0, 1)), long: Long.fromString('1152921504606846976'), code: new Code('x'), timestamp: new Timestamp(2, 1),
      binary: new Binary(Buffer.from(range(0, 256))), regex: /^a.b/i,
    });
    return findOne(c, 'types', {});
  },
  duplicate_key: (c) => expectError((done) => c.collection('crud').insert({ _id: 1 }, { w: 1 }, done)),
  continue_on_error: async (c) => [
    await expectError((done) => c.collection('bulk').insert([{ _id: 1 }, { _id: 1 }, { _id: 2 }], { w: 1, continueOnError: true }, done)), await count(c, 'bulk'),
  ],
  insert_unacknowledged: async (c) => {
    for (const _id of range(0, 20)) c.collection('quiet').insert({ _id }, { w: 0 });
    return until(c, 'quiet', 20);
  },
  remove_unacknowledged: async (c) => {
    c.collection('quiet').remove({ _id: { $gte: 5 } }, { w: 0 });
    return until(c, 'quiet', 5);
  },
  insert_large: async (c) => { await insert(c, 'large', range(0, 1000).map((i) => ({ _id: i, pad: 'x'.repeat(1000) }))); return count(c, 'large'); },
  update_one: (c) => update(c, 'crud', { _id: 1 }, { $set: { name: 'changed' }, $inc: { n: 10 } }),
  update_upsert: (c) => update(c, 'crud', { _id: 'upserted' }, { $set: { n: 1000 } }, { upsert: true }),
  update_many: (c) => update(c, 'crud', { n: { $lt: 10 } }, { $set: { small: true } }, { multi: true }),
  replace: (c) => update(c, 'crud', { _id: 3 }, { name: 'replaced' }),
  update_refused: (c) => expectError((done) => c.collection('crud').update({ _id: 2 }, { $nonsense: 1 }, { w: 1 }, done)),
  save: async (c) => { await call((done) => c.collection('crud').save({ _id: 'saved', a: 1 }, { w: 1 }, done)); return findOne(c, 'crud', { _id: 'saved' }); },
  remove_one: (c) => remove(c, 'crud', { n: { $gt: 35 } }, { single: true }),
  remove_many: (c) => remove(c, 'crud', { n: { $gt: 35 } }),
  last_error: async (c) => call((done) => c.db.lastError({ w: 1 }, done)).then((seen) => ({ asked: Array.isArray(seen) })).finally(forget),
  find_and_modify: (c) => call((done) => c.collection('crud').findAndModify({ _id: 5 }, [['_id', 1]], { $inc: { n: 1 } }, { new: true }, done)),
  find_and_remove: (c) => call((done) => c.collection('crud').findAndRemove({ _id: 7 }, [['_id', 1]], done)),
  indexes: async (c) => {
    await insert(c, 'indexed', range(0, 9).map((i) => ({ _id: i, a: i % 3 })));
    await call((done) => c.db.command({ createIndexes: 'indexed', indexes: [{ key: { a: 1 }, name: 'a_1' }] }, done));
    const listed = await call((done) => c.db.command({ listIndexes: 'indexed' }, done));
    const dropped = await call((done) => c.collection('indexed').dropIndex('a_1', done));
    return { listed, dropped: dropped.documents };
  },
  // The driver makes GridFS' indexes by inserting into system.indexes, which a server of 4.4 refuses.
  index_refused: (c) => expectError((done) => c.collection('crud').ensureIndex({ n: 1 }, { w: 1 }, done)),
  grid_store: async (c) => {
    c.db.ensureIndex = (...parameters) => parameters.pop()(null);
    const content = Buffer.from(range(0, 200000).map((i) => i % 251));
    const id = new ObjectID('600000000000000000000001');
    const store = new GridStore(c.db, id, 'file.bin', 'w', { chunkSize: 60000 });
    await call((done) => store.open(done));
    await call((done) => store.write(content, done));
    await call((done) => store.close(done));
    const back = await call((done) => GridStore.read(c.db, id, done));
    await call((done) => GridStore.unlink(c.db, id, done));
    delete c.db.ensureIndex;
    return { same: content.equals(Buffer.from(back, 'binary')), left: await count(c, 'fs.chunks') };
  },
};
