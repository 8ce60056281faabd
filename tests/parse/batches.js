// Batches, with and without a transaction.
'use strict';
const Parse = require('parse/node');
const { failure } = require('./harness');

const PATH = '/parse/classes/Account';
const TRIES_MAX = 50;
const post = (body) => ({ method: 'POST', path: PATH, body });
const put = (id, body) => ({ method: 'PUT', path: `${PATH}/${id}`, body });
const remove = (id) => ({ method: 'DELETE', path: `${PATH}/${id}` });
const add = (amount) => ({ money: { __op: 'Increment', amount } });
const accounts = (c) => c.find('classes/Account', { order: 'owner', keys: 'owner,money' });

function batch(c, requests, transaction) {
  return c.rest('POST', '/batch', { requests, transaction });
}

// Parse sends the statements of a transaction side by side on several connections. One that comes to the server before
// the first ends it; Parse begins anew five times, and on a busy machine that is not always enough, directly neither.
async function transact(c, requests) {
  const before = c.responses.length;
  for (let tries = 1; ; tries++) {
    await batch(c, requests, true);
    if (c.responses.at(-1).status !== 500 || tries === TRIES_MAX) break;
  }
  c.responses.splice(before, c.responses.length - before - 1);
}

async function saved(objects) {
  for (let tries = 1; ; tries++) {
    try {
      return await Parse.Object.saveAll(objects, { transaction: true });
    } catch (error) {
      if (tries === TRIES_MAX) throw error;
    }
  }
}

module.exports = {
  async plain_batch(c) {
    const made = await batch(c, ['a', 'b', 'c'].map((owner) => post({ owner, money: 100 })));
    c.kept.accounts = made.map((one) => one.success.objectId);
    const [a, b] = c.kept.accounts;
    await batch(c, [put(a, { money: 90 }), put('nosuchone2', { money: 1 }), remove('nosuchone3'), put(b, { money: 'text' })]);
    await accounts(c);
  },
  async transaction(c) {
    const [a, b, gone] = c.kept.accounts;
    await transact(c, [put(a, add(-50)), put(b, add(50)), post({ owner: 'd', money: 1 }), remove(gone)]);
    await accounts(c);
  },
  async transactions_one_after_another(c) {
    const [a, b] = c.kept.accounts;
    for (let n = 1; n <= 5; n++) {
      await transact(c, [put(a, add(-n)), put(b, add(n))]);
      await accounts(c);
    }
  },
  async transaction_that_fails(c) {
    const [a] = c.kept.accounts;
    await batch(c, [put(a, { money: 0 }), post({ owner: 'e', money: 1 }), put('nosuchone2', { money: 1 })], true);
    await batch(c, [put(a, { money: 'text' }), post({ owner: 'e', money: 1 })], true);
    await accounts(c);
  },
  async transaction_of_several_classes(c) {
    await c.rest('POST', '/classes/Entry', { text: 'first' });
    const entry = (text) => ({ method: 'POST', path: '/parse/classes/Entry', body: { text } });
    await transact(c, [entry('second'), post({ owner: 'f', money: 6 }), entry('third')]);
    await c.find('classes/Entry', { order: 'text' });
    await accounts(c);
  },
  async sdk_transaction(c) {
    const [a, b] = c.kept.accounts.map((id) => new Parse.Object('Account', { id }));
    await saved([a.set('money', 1), b.set('money', 2)]);
    const missing = new Parse.Object('Account', { id: 'nosuchone2' }).set('money', 3);
    const refused = await failure(() => Parse.Object.saveAll([a.set('money', 3), missing], { transaction: true }));
    return [refused, await c.query('Account').ascending('owner').find()];
  },
};
