// Reads and writes of single documents, bulk writes, indexes, aggregation and collation.
'use strict';
const { Binary, Decimal128, Double, Int32, Long, ObjectId, Code } = require('mongodb');
const { VERSION, expectError, plain } = require('./harness');

// Until 5, findOneAnd... resolved to the whole reply; in 6 to the document unless asked.
const whole = VERSION < 5 ? {} : { includeResultMetadata: true };
const range = (from, to) => Array.from({ length: to - from }, (_, i) => from + i);

module.exports = {
  insert_one: (c) => c.db.collection('crud').insertOne({ _id: 1, name: 'one', n: 1 }),

  async insert_generated_id(c) {
    const { insertedId } = await c.db.collection('generated').insertOne({ name: "driver's own id" });
    return { insertedId, found: await c.db.collection('generated').findOne({ _id: insertedId }) };
  },

  insert_many: (c) => c.db.collection('crud').insertMany(range(2, 41).map((i) => ({ _id: i, name: `n${i}`, n: i, half: new Double(i / 2) }))),

  async every_type(c) {
    await c.db.collection('types').insertOne({
      _id: new ObjectId('5f5f5f5f5f5f5f5f5f5f5f5f'), double: new Double(1.5), text: 'ein schöner Tag \u{1f418}', doc: { a: { b: [] } }, array: [1, '2', null],
      binary: new Binary(Buffer.from(range(0, 256)), 128), flag: true, date: new Date(Date.UTC(2020, 0, 1, 12, 30)), null: null, regex: /^a.b/i,
      code: new Code('x'), int: new Int32(7), long: Long.fromString('1152921504606846976'), decimal: Decimal128.fromString('3.14159'), empty: '',
    });
    return c.db.collection('types').findOne({}, { promoteValues: false });
  },

  duplicate_key: (c) => expectError(() => c.db.collection('crud').insertOne({ _id: 1 })),

  find_one: async (c) => [await c.db.collection('crud').findOne({ _id: 7 }), await c.db.collection('crud').findOne({ _id: 'absent' })],

  find_sorted: (c) => c.db.collection('crud').find({ n: { $gt: 5 } }).project({ name: 1 }).sort({ n: -1 }).skip(3).limit(5).toArray(),

  update_one: (c) => c.db.collection('crud').updateOne({ _id: 1 }, { $set: { name: 'changed' }, $inc: { n: 10 } }),
  update_upsert: (c) => c.db.collection('crud').updateOne({ _id: 'upserted' }, { $set: { n: 1000 } }, { upsert: true }),
  update_many: (c) => c.db.collection('crud').updateMany({ n: { $lt: 10 } }, { $set: { small: true } }),
  update_pipeline: (c) => c.db.collection('crud').updateOne({ _id: 2 }, [{ $set: { twice: { $multiply: ['$n', 2] } } }]),

  async update_array_filters(c) {
    await c.db.collection('arrays').insertOne({ _id: 1, items: [{ v: 1 }, { v: 5 }, { v: 9 }] });
    await c.db.collection('arrays').updateOne({ _id: 1 }, { $set: { 'items.$[big].seen': true } }, { arrayFilters: [{ 'big.v': { $gte: 5 } }] });
    return c.db.collection('arrays').findOne({ _id: 1 });
  },

  replace_one: (c) => c.db.collection('crud').replaceOne({ _id: 3 }, { name: 'replaced' }),

  delete: async (c) => [await c.db.collection('crud').deleteOne({ _id: 4 }), await c.db.collection('crud').deleteMany({ n: { $gt: 38 } })],

  find_and_modify: async (c) => [
    await c.db.collection('crud').findOneAndUpdate({ _id: 5 }, { $inc: { n: 1 } }, { returnDocument: 'after', ...whole }),
    await c.db.collection('crud').findOneAndReplace({ _id: 6 }, { name: 'six' }, whole),
    await c.db.collection('crud').findOneAndDelete({ _id: 7 }, { projection: { name: 1 }, ...whole }),
    await c.db.collection('crud').findOneAndUpdate({ _id: 'none' }, { $set: { a: 1 } }, whole),
  ],

  async bulk_ordered(c) {
    return plain(await c.db.collection('bulk').bulkWrite([
      { insertOne: { document: { _id: 'b1' } } }, { updateOne: { filter: { _id: 'b1' }, update: { $set: { x: 1 } } } },
      { updateOne: { filter: { _id: 'b2' }, update: { $set: { x: 2 } }, upsert: true } }, { updateMany: { filter: { x: { $gt: 0 } }, update: { $inc: { x: 5 } } } },
      { replaceOne: { filter: { _id: 'b1' }, replacement: { y: 1 } } }, { deleteOne: { filter: { _id: 'b2' } } }, { insertOne: { document: { _id: 'b3' } } },
    ]));
  },

  async bulk_error(c) {
    const seen = [];
    for (const ordered of [true, false]) {
      const operations = ['b3', `after ${ordered}`].map((_id) => ({ insertOne: { document: { _id } } }));
      seen.push(await expectError(() => c.db.collection('bulk').bulkWrite(operations, { ordered })));
    }
    return seen;
  },

  async bulk_large(c) {
    const result = await c.db.collection('large').insertMany(range(0, 2500).map((i) => ({ _id: i, pad: 'x'.repeat(400) })));
    return { count: result.insertedCount, stored: await c.db.collection('large').countDocuments() };
  },

  async unacknowledged(c) {
    const results = [];
    for (const _id of range(0, 20)) results.push((await c.db.collection('quiet').insertOne({ _id }, { writeConcern: { w: 0 } })).acknowledged);
    // Nobody says when an unacknowledged write has run.
    for (let i = 0; i < 200 && (await c.db.collection('quiet').countDocuments()) < 20; i += 1);
    c.take();
    return { results, stored: await c.db.collection('quiet').find().sort({ _id: 1 }).toArray() };
  },

  count_and_distinct: async (c) => [
    await c.db.collection('crud').countDocuments({ small: true }), await c.db.collection('crud').estimatedDocumentCount(),
    await c.db.collection('crud').distinct('name', { n: { $lt: 15 } }),
  ],

  async indexes(c) {
    const indexed = c.db.collection('indexed');
    await indexed.insertMany(range(0, 9).map((i) => ({ _id: i, a: i % 3, t: `word${i} common` })));
    const created = [await indexed.createIndex({ a: 1, b: -1 }, { name: 'ab' }), await indexed.createIndex({ t: 'text' }, { name: 'text' })];
    const listed = await indexed.listIndexes().toArray();
    return { created, listed, dropped: await indexed.dropIndex('text'), left: await indexed.indexInformation() };
  },

  aggregate: (c) => c.db.collection('crud').aggregate([
    { $match: { n: { $exists: true } } }, { $group: { _id: { $mod: ['$n', 4] }, total: { $sum: '$n' }, avg: { $avg: '$n' } } }, { $sort: { _id: 1 } },
  ]).toArray(),

  async aggregate_out(c) {
    const crud = c.db.collection('crud');
    await crud.aggregate([{ $match: { small: true } }, { $sort: { _id: 1 } }, { $out: 'small' }]).toArray();
    await crud.aggregate([{ $match: { n: { $gte: 20 } } }, { $project: { n: 1 } }, { $merge: { into: 'small', whenMatched: 'replace' } }]).toArray();
    return c.db.collection('small').find().sort({ n: 1 }).toArray();
  },

  async collation(c) {
    const words = c.db.collection('words');
    await words.insertMany(['cote', 'Côte', 'coté', 'CÔTÉ', 'zebra', 'Äpfel', 'apfel'].map((w, _id) => ({ _id, w })));
    const french = { locale: 'fr', strength: 1 };
    return [await words.find({ w: 'cote' }, { collation: french }).sort({ _id: 1 }).toArray(), await words.find().sort({ w: 1 }).collation({ locale: 'de' }).toArray()];
  },

  async collections(c) {
    await c.db.createCollection('strict', { validator: { n: { $type: 'int' } } });
    const refused = await expectError(() => c.db.collection('strict').insertOne({ _id: 1, n: 'text' }));
    await c.db.createCollection('seen', { viewOn: 'crud', pipeline: [{ $match: { small: true } }] });
    await c.db.renameCollection('quiet', 'renamed');
    const listed = await c.db.listCollections({ name: { $in: ['strict', 'seen', 'renamed'] } }).toArray();
    listed.sort((a, b) => (a.name < b.name ? -1 : 1));
    return { refused, view: await c.db.collection('seen').countDocuments(), listed, dropped: await c.db.collection('renamed').drop() };
  },
};
