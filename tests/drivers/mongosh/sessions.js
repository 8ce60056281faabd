// Sessions, transactions with abort and retry, retryable reads and writes, causal and secondary reads.
function sessionSteps() {
  const inSession = async (options, body) => {
    const session = db.getMongo().startSession(options);
    try {
      return await body(session, session.getDatabase(db.getName()));
    } finally {
      await session.endSession();
    }
  };
  return {
    explicit_session: () => inSession({}, (session, own) => [own.crud.findOne({ _id: 8 }), own.crud.updateOne({ _id: 8 }, { $set: { seen: true } })]),
    transaction_commit: () => inSession({}, (session, own) => {
      session.startTransaction({ readConcern: { level: 'snapshot' }, writeConcern: { w: 'majority' } });
      own.crud.insertOne({ _id: 't1' });
      const inside = own.crud.findOne({ _id: 't1' });
      const outside = db.crud.findOne({ _id: 't1' });
      session.commitTransaction();
      return { inside, outside, after: db.crud.findOne({ _id: 't1' }) };
    }),
    transaction_abort: () => inSession({}, (session, own) => {
      session.startTransaction();
      own.crud.insertOne({ _id: 'aborted' });
      session.abortTransaction();
      return { after: db.crud.findOne({ _id: 'aborted' }), late: expectError(() => session.commitTransaction()) };
    }),
    transaction_commit_retried: () => inSession({}, (session, own) => {
      session.startTransaction({ writeConcern: { w: 'majority' } });
      own.crud.insertOne({ _id: 't3' });
      failPoint({ failCommands: ['commitTransaction'], closeConnection: true });
      session.commitTransaction();
      return db.crud.findOne({ _id: 't3' });
    }),
    with_transaction_retried: () => inSession({}, (session, own) => {
      failPoint({ failCommands: ['insert'], errorCode: 24, errorLabels: ['TransientTransactionError'] }, 2);
      session.withTransaction(() => own.crud.insertOne({ _id: 't4' }));
      return db.crud.findOne({ _id: 't4' });
    }),
    retryable_write_error: () => {
      // HostUnreachable: retried, but not taken for a change of the member's state.
      failPoint({ failCommands: ['insert'], errorCode: 6, errorLabels: ['RetryableWriteError'] });
      return db.retry.insertOne({ _id: 1 });
    },
    retryable_write_lost: () => {
      failPoint({ failCommands: ['update'], closeConnection: true });
      return db.retry.updateOne({ _id: 1 }, { $inc: { n: 1 } });
    },
    retryable_read: () => {
      failPoint({ failCommands: ['find'], closeConnection: true });
      return db.retry.findOne({ _id: 1 });
    },
    any_causal: () => inSession({ causalConsistency: true }, (session, own) => numbers(0, 3).map((i) => {
      own.causal.insertOne({ _id: i });
      return own.causal.find({ _id: i }).readPref('secondary').readConcern('majority').toArray();
    })),
    any_secondary_reads: () => [
      db.crud.find({ _id: 12 }).readPref('secondary').readConcern('majority').toArray(),
      db.crud.aggregate([{ $match: { _id: 13 } }], { readPreference: 'secondary', readConcern: { level: 'majority' } }).toArray(),
    ],
    write_concerns: () => [1, 2, 3, 'majority'].map((w) => db.wc.insertOne({ _id: String(w) }, { writeConcern: { w } })),
    write_concern_refused: () => expectError(() => db.wc.insertOne({ _id: 'nine' }, { writeConcern: { w: 9, wtimeout: 100 } })),
  };
}
