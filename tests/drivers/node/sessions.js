// Sessions, transactions with abort and retry, retryable reads and writes, causal and snapshot reads, secondary reads.
'use strict';
const { expectError } = require('./harness');

async function inSession(c, options, body) {
  const session = c.client.startSession(options);
  try {
    return await body(session);
  } finally {
    await session.endSession();
  }
}

const secondary = (c, name) => c.db.collection(name, { readPreference: 'secondary', readConcern: { level: 'majority' } });

// `any_`: the driver picks a secondary by chance, and its role is compared; `nearest`: any member at all.
module.exports = {
  explicit_session: (c) => inSession(c, {}, async (session) => {
    const first = await c.db.collection('crud').findOne({ _id: 8 }, { session });
    await c.db.collection('crud').updateOne({ _id: 8 }, { $set: { seen: true } }, { session });
    return { first, operationTime: session.operationTime !== undefined };
  }),

  transaction_commit: (c) => inSession(c, {}, async (session) => {
    const crud = c.db.collection('crud');
    session.startTransaction({ readConcern: { level: 'snapshot' }, writeConcern: { w: 'majority' } });
    await crud.insertOne({ _id: 't1' }, { session });
    await crud.updateOne({ _id: 9 }, { $inc: { n: 1 } }, { session });
    const inside = await crud.findOne({ _id: 't1' }, { session });
    const outside = await crud.findOne({ _id: 't1' });
    await session.commitTransaction();
    return { inside, outside, after: await crud.findOne({ _id: 't1' }) };
  }),

  transaction_abort: (c) => inSession(c, {}, async (session) => {
    session.startTransaction();
    await c.db.collection('crud').insertOne({ _id: 'aborted' }, { session });
    await session.abortTransaction();
    return { after: await c.db.collection('crud').findOne({ _id: 'aborted' }), late: await expectError(() => session.commitTransaction()) };
  }),

  // getMore within a transaction needs the member that holds it.
  transaction_cursor: (c) => inSession(c, {}, async (session) => {
    session.startTransaction();
    const found = await c.db.collection('many').find({ _id: { $lt: 40 } }, { projection: { _id: 1 }, batchSize: 9, session }).toArray();
    await session.commitTransaction();
    return found;
  }),

  transaction_conflict: (c) => inSession(c, {}, (holder) => inSession(c, {}, async (other) => {
    const crud = c.db.collection('crud');
    holder.startTransaction();
    other.startTransaction();
    await crud.updateOne({ _id: 10 }, { $set: { by: 'holder' } }, { session: holder });
    const lost = await expectError(() => crud.updateOne({ _id: 10 }, { $set: { by: 'other' } }, { session: other }));
    await holder.commitTransaction();
    await other.abortTransaction();
    return { lost, kept: await crud.findOne({ _id: 10 }) };
  })),

  transaction_error: (c) => inSession(c, {}, async (session) => {
    session.startTransaction();
    await c.db.collection('crud').insertOne({ _id: 't2' }, { session });
    const duplicate = await expectError(() => c.db.collection('crud').insertOne({ _id: 't2' }, { session }));
    const gone = await expectError(() => c.db.collection('crud').findOne({}, { session }));
    await session.abortTransaction();
    return { duplicate, gone };
  }),

  transaction_commit_retried: (c) => inSession(c, {}, async (session) => {
    session.startTransaction({ writeConcern: { w: 'majority' } });
    await c.db.collection('crud').insertOne({ _id: 't3' }, { session });
    await c.failPoint({ failCommands: ['commitTransaction'], closeConnection: true });
    await session.commitTransaction();
    // A second commit of the same transaction is allowed and answered by the same outcome.
    await session.commitTransaction();
    return c.db.collection('crud').findOne({ _id: 't3' });
  }),

  with_transaction_retried: (c) => inSession(c, {}, async (session) => {
    let attempts = 0;
    await c.failPoint({ failCommands: ['insert'], errorCode: 24, errorLabels: ['TransientTransactionError'] }, 2);
    await session.withTransaction(async () => {
      attempts += 1;
      await c.db.collection('crud').insertOne({ _id: 't4', attempts }, { session });
    });
    return { attempts, stored: await c.db.collection('crud').findOne({ _id: 't4' }) };
  }),

  async retryable_write_error(c) {
    // HostUnreachable: retried, but not taken for a change of the member's state.
    await c.failPoint({ failCommands: ['insert'], errorCode: 6, errorLabels: ['RetryableWriteError'] });
    return c.db.collection('retry').insertOne({ _id: 1 });
  },

  // NotWritablePrimary and a shutdown code make a driver doubt the member until its next hello, which must come.
  async state_change(c) {
    // A hello that awaits a change comes without one after heartbeatFrequencyMS: 10 s by default.
    const quick = c.connect(c.uri, { heartbeatFrequencyMS: 500 });
    try {
      for (const code of [10107, 11600]) {
        await c.failPoint({ failCommands: ['insert'], errorCode: code, errorLabels: ['RetryableWriteError'] });
        await quick.db(c.name).collection('retry').insertOne({ _id: `code ${code}` });
      }
      return await quick.db(c.name).collection('retry').find({ _id: /code/ }).sort({ _id: 1 }).toArray();
    } finally {
      await quick.close();
    }
  },

  async retryable_write_lost(c) {
    await c.failPoint({ failCommands: ['update'], closeConnection: true });
    return c.db.collection('retry').updateOne({ _id: 1 }, { $inc: { n: 1 } });
  },

  async retryable_write_concern(c) {
    const writeConcernError = { code: 262, codeName: 'ExceededTimeLimit', errmsg: 'from the fail point' };
    await c.failPoint({ failCommands: ['insert'], writeConcernError, errorLabels: ['RetryableWriteError'] });
    return c.db.collection('retry').insertOne({ _id: 2 });
  },

  async not_retried(c) {
    const plainClient = c.connect(c.uri, { retryWrites: false, retryReads: false });
    await c.failPoint({ failCommands: ['insert'], closeConnection: true });
    try {
      const seen = await expectError(() => plainClient.db(c.name).collection('retry').insertOne({ _id: 3 }));
      return { seen, stored: await c.db.collection('retry').findOne({ _id: 3 }) };
    } finally {
      await plainClient.close();
    }
  },

  async retryable_read(c) {
    await c.failPoint({ failCommands: ['find'], closeConnection: true });
    return c.db.collection('retry').findOne({ _id: 1 });
  },

  any_causal: (c) => inSession(c, { causalConsistency: true }, async (session) => {
    for (let i = 0; i < 5; i += 1) {
      await c.db.collection('causal').insertOne({ _id: i }, { session });
      if (!(await secondary(c, 'causal').findOne({ _id: i }, { session }))) throw new Error(`own write ${i} not seen on a secondary`);
    }
    return 'own writes seen';
  }),

  snapshot: (c) => inSession(c, { snapshot: true }, async (session) => {
    const crud = c.db.collection('crud');
    const before = await crud.findOne({ _id: 11 }, { session });
    await crud.updateOne({ _id: 11 }, { $set: { snapshot: 'later' } });
    return { before, same: await crud.findOne({ _id: 11 }, { session }), now: await crud.findOne({ _id: 11 }) };
  }),

  any_secondary_reads: async (c) => [
    await secondary(c, 'crud').findOne({ _id: 12 }), await secondary(c, 'crud').countDocuments({ small: true }),
    await secondary(c, 'crud').aggregate([{ $match: { _id: 13 } }]).toArray(),
  ],

  nearest: (c) => c.db.collection('crud', { readPreference: 'nearest' }).findOne({ _id: 12 }),

  async write_concerns(c) {
    const seen = [];
    for (const w of [1, 2, 3, 'majority']) seen.push(await c.db.collection('wc').insertOne({ _id: String(w) }, { writeConcern: { w } }));
    return { seen, refused: await expectError(() => c.db.collection('wc').insertOne({ _id: 'nine' }, { writeConcern: { w: 9, wtimeoutMS: 100 } })) };
  },
};
