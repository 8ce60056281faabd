// Cursors over many batches, tailable, killed; change streams; explain.
function cursorSteps() {
  const watching = async (stream, body) => {
    stream.disableBlockWarnings();
    try {
      await stream.tryNext();
      return await body();
    } finally {
      await stream.close();
    }
  };
  const next = (stream, count) => numbers(0, count).map(() => stream.next());
  const steps = {
    many_batches: () => {
      db.many.insertMany(numbers(0, 300).map((i) => ({ _id: i, pad: String(i).repeat(50) })));
      return db.many.find().sort({ _id: 1 }).batchSize(17).toArray().map((one) => one._id);
    },
    aggregate_batches: () => db.many.aggregate([{ $sort: { _id: -1 } }, { $project: { _id: 1 } }], { cursor: { batchSize: 40 } }).toArray(),
    tailable: () => {
      db.createCollection('capped', { capped: true, size: 100000, max: 50 });
      db.capped.insertMany(numbers(0, 5).map((_id) => ({ _id })));
      const cursor = db.capped.find().tailable();
      cursor.disableBlockWarnings();
      const seen = next(cursor, 5);
      db.capped.insertOne({ _id: 5 });
      seen.push(cursor.next());
      cursor.close();
      return seen;
    },
    kill_cursors: () => {
      const opened = db.runCommand({ find: 'many', batchSize: 2, sort: { _id: 1 } }).cursor.id;
      const more = db.runCommand({ getMore: opened, collection: 'many', batchSize: 2 });
      const killed = db.runCommand({ killCursors: 'many', cursors: [opened] });
      return { more, killed, gone: expectError(() => db.runCommand({ getMore: opened, collection: 'many' })) };
    },
    explain: () => db.crud.find({ n: { $gt: 5 } }).sort({ n: 1 }).explain('executionStats'),
    explain_aggregate: () => db.many.explain('queryPlanner').aggregate([{ $match: { _id: 3 } }, { $limit: 1 }]),
    watch_collection: () => {
      const stream = db.watched.watch([], { fullDocument: 'updateLookup', maxAwaitTimeMS: 100 });
      return watching(stream, () => {
        db.watched.insertOne({ _id: 1, n: 1 });
        db.watched.updateOne({ _id: 1 }, { $set: { n: 2 } });
        db.watched.deleteOne({ _id: 1 });
        return next(stream, 3);
      });
    },
    watch_deployment: () => {
      const stream = db.getMongo().watch([{ $match: { 'ns.db': db.getName() } }], { maxAwaitTimeMS: 100 });
      return watching(stream, () => {
        db.watched.insertMany([{ _id: 'd1' }, { _id: 'd2' }]);
        return next(stream, 2);
      });
    },
  };
  return steps;
}
