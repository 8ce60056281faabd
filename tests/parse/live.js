// Live queries: a second client's acts, as the first is told of them.
'use strict';
const Parse = require('parse/node');

const EVENTS = ['create', 'enter', 'update', 'leave', 'delete'];

// The events of a subscription, one at a time.
function told(subscription) {
  const [events, waiting] = [[], []];
  for (const name of EVENTS) {
    subscription.on(name, (object, original) => {
      const before = original instanceof Parse.Object ? original.toJSON() : undefined;
      const event = { name, object: object.toJSON(), before };
      const wanted = waiting.shift();
      if (wanted) wanted(event); else events.push(event);
    });
  }
  return () => new Promise((resolve) => (events.length ? resolve(events.shift()) : waiting.push(resolve)));
}

module.exports = {
  async live_query(c) {
    const subscription = await new Parse.Query('Live').greaterThan('n', 10).subscribe();
    const next = told(subscription);
    const object = new Parse.Object('Live', { n: 11, text: 'made' });
    await object.save();
    const events = [await next()];
    for (const change of [{ text: 'updated' }, { n: 1 }, { n: 12 }]) {
      await object.save(change);
      events.push(await next());
    }
    // What the query does not match is not told.
    await new Parse.Object('Live', { n: 2 }).save();
    await object.destroy();
    events.push(await next());
    await subscription.unsubscribe();
    return events;
  },
  async live_query_of_a_user(c) {
    const user = await Parse.User.signUp('live', 'secret');
    const client = new Parse.LiveQueryClient({ applicationId: 'torana', javascriptKey: 'javascript', serverURL: c.url.replace('http', 'ws') });
    client.open();
    const subscriptions = [user.getSessionToken(), undefined].map((token) => client.subscribe(new Parse.Query('Live'), token));
    await Promise.all(subscriptions.map((subscription) => subscription.subscribePromise));
    const [mine, anyones] = subscriptions.map(told);
    const ACL = { [user.id]: { read: true } };
    await new Parse.Object('Live', { text: 'for one', ACL }).save();
    const events = [user, await mine()];
    await new Parse.Object('Live', { text: 'for all' }).save();
    events.push(await mine(), await anyones());
    await client.close();
    return events;
  },
};
