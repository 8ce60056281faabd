// The shell's reads and writes of documents, bulk writes, indexes, aggregation and collation.
function crudSteps() {
  return {
    insert_one: () => db.crud.insertOne({ _id: 1, name: 'one', n: 1 }),
    insert_many: () => db.crud.insertMany(numbers(2, 41).map((i) => ({ _id: i, name: `n${i}`, n: i, half: i / 2 }))),
    insert_generated_id: () => { const result = db.generated.insertOne({ a: 1 }); return { result, found: db.generated.findOne({ _id: result.insertedId }) }; },
    every_type: () => {
      db.types.insertOne({
        _id: ObjectId('5f5f5f5f5f5f5f5f5f5f5f5f'), double: Double(1.5), text: 'ein schöner Tag \u{1f418}', array: [1, '2', null], date: ISODate('2020-01-01T12:30:00Z'),
        regex: /^a.b/i, int: NumberInt(7), long: NumberLong('1152921504606846976'), decimal: NumberDecimal('3.14159'), binary: BinData(128, 'AAECAwQ='),
      });
      return db.types.findOne();
    },
    duplicate_key: () => expectError(() => db.crud.insertOne({ _id: 1 })),
    find: () => db.crud.find({ n: { $gt: 5 } }, { name: 1 }).sort({ n: -1 }).skip(3).limit(5).toArray(),
    update: () => [
      db.crud.updateOne({ _id: 1 }, { $set: { name: 'changed' } }), db.crud.updateOne({ _id: 'upserted' }, { $set: { n: 1000 } }, { upsert: true }),
      db.crud.updateMany({ n: { $lt: 10 } }, { $set: { small: true } }), db.crud.replaceOne({ _id: 3 }, { name: 'replaced' }),
    ],
    delete: () => [db.crud.deleteOne({ _id: 4 }), db.crud.deleteMany({ n: { $gt: 38 } })],
    find_and_modify: () => [
      db.crud.findOneAndUpdate({ _id: 5 }, { $inc: { n: 1 } }, { returnNewDocument: true }), db.crud.findOneAndDelete({ _id: 7 }),
      db.crud.findAndModify({ query: { _id: 6 }, update: { $set: { six: true } }, new: true }),
    ],
    bulk_ordered: () => db.bulk.bulkWrite([
      { insertOne: { document: { _id: 'b1' } } }, { updateOne: { filter: { _id: 'b2' }, update: { $set: { x: 2 } }, upsert: true } },
      { updateMany: { filter: { x: { $gt: 0 } }, update: { $inc: { x: 5 } } } }, { deleteOne: { filter: { _id: 'b2' } } }, { insertOne: { document: { _id: 'b3' } } },
    ]),
    bulk_error: () => [true, false].map((ordered) =>
      expectError(() => db.bulk.bulkWrite([{ insertOne: { document: { _id: 'b3' } } }, { insertOne: { document: { _id: `after ${ordered}` } } }], { ordered }))),
    bulk_api: () => { const bulk = db.bulk.initializeUnorderedBulkOp(); bulk.insert({ _id: 'u1' }); bulk.find({ _id: 'u1' }).updateOne({ $set: { y: 1 } }); return { ...bulk.execute() }; },
    count_and_distinct: () => [db.crud.countDocuments({ small: true }), db.crud.estimatedDocumentCount(), db.crud.distinct('name', { n: { $lt: 15 } })],
    indexes: () => {
      db.indexed.insertMany(numbers(0, 9).map((i) => ({ _id: i, a: i % 3 })));
      return [db.indexed.createIndex({ a: 1, b: -1 }, { name: 'ab' }), db.indexed.getIndexes(), db.indexed.dropIndex('ab')];
    },
    aggregate: () => db.crud.aggregate([{ $group: { _id: { $mod: ['$n', 4] }, total: { $sum: '$n' } } }, { $sort: { _id: 1 } }]).toArray(),
    aggregate_out: () => {
      db.crud.aggregate([{ $match: { small: true } }, { $sort: { _id: 1 } }, { $out: 'small' }]);
      return db.small.find().sort({ _id: 1 }).toArray();
    },
    collation: () => {
      db.words.insertMany(['cote', 'Côte', 'coté', 'zebra', 'Äpfel'].map((w, _id) => ({ _id, w })));
      return db.words.find({ w: 'cote' }).collation({ locale: 'fr', strength: 1 }).sort({ _id: 1 }).toArray();
    },
    collections: () => [
      db.createCollection('strict', { validator: { n: { $type: 'int' } } }), expectError(() => db.strict.insertOne({ _id: 1, n: 'text' })),
      db.createView('seen', 'crud', [{ $match: { small: true } }]), db.seen.countDocuments(), db.small.renameCollection('renamed'), db.getCollectionInfos({ name: 'strict' }), db.renamed.drop(),
    ],
  };
}
