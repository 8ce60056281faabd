// Change streams: on a collection, a database and the deployment, resumed after a token and after a lost connection.
'use strict';

const OPTIONS = { maxAwaitTimeMS: 2000 };

async function events(stream, count) {
  const seen = [];
  while (seen.length < count) seen.push(await stream.next());
  return seen;
}

// The stream is opened before the body writes, and closed whatever happens.
async function watching(stream, body) {
  try {
    await stream.tryNext();
    return await body(stream);
  } finally {
    await stream.close();
  }
}

module.exports = {
  watch_collection: (c) => watching(c.db.collection('watched').watch([], { fullDocument: 'updateLookup', maxAwaitTimeMS: 100 }), async (stream) => {
    await c.db.collection('watched').insertOne({ _id: 1, n: 1 });
    await c.db.collection('watched').updateOne({ _id: 1 }, { $set: { n: 2 } });
    await c.db.collection('watched').replaceOne({ _id: 1 }, { n: 3 });
    await c.db.collection('watched').deleteOne({ _id: 1 });
    return events(stream, 4);
  }),

  watch_filtered: (c) => watching(c.db.watch([{ $match: { operationType: 'insert', 'fullDocument.keep': true } }], { maxAwaitTimeMS: 100 }), async (stream) => {
    await c.db.collection('watched').insertMany([0, 1, 2, 3, 4, 5].map((i) => ({ _id: `f${i}`, keep: i % 2 === 0 })));
    return events(stream, 3);
  }),

  watch_deployment: (c) => watching(c.client.watch([{ $match: { 'ns.db': c.name } }], { batchSize: 2, maxAwaitTimeMS: 100 }), async (stream) => {
    await c.db.collection('watched').insertMany([0, 1, 2, 3, 4].map((i) => ({ _id: `d${i}` })));
    return events(stream, 5);
  }),

  async watch_resumed(c) {
    let token;
    await watching(c.db.collection('watched').watch([], { maxAwaitTimeMS: 100 }), async (stream) => {
      await c.db.collection('watched').insertMany([0, 1, 2, 3].map((i) => ({ _id: `r${i}` })));
      token = (await events(stream, 2))[1]._id;
    });
    const stream = c.db.collection('watched').watch([], { ...OPTIONS, resumeAfter: token });
    const seen = await events(stream, 2);
    await stream.close();
    return seen;
  },

  watch_survives_lost_connection: (c) => watching(c.db.collection('watched').watch([], { maxAwaitTimeMS: 100 }), async (stream) => {
    await c.db.collection('watched').insertOne({ _id: 'before' });
    const seen = await events(stream, 1);
    await c.failPoint({ failCommands: ['getMore'], closeConnection: true });
    await c.db.collection('watched').insertOne({ _id: 'after' });
    return seen.concat(await events(stream, 1));
  }),
};
