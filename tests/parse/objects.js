// Objects one by one: create, get, update by every operation, delete; relations and pointers.
'use strict';
const Parse = require('parse/node');
const { failure } = require('./harness');

const DATE = { __type: 'Date', iso: '2001-02-03T04:05:06.789Z' };
const GAME = {
  score: 1337, cheatMode: false, player: 'Sean', tags: ['a', 'b'], nested: { one: { two: [3, null] } }, when: DATE,
  place: { __type: 'GeoPoint', latitude: 40, longitude: -30 }, bytes: { __type: 'Bytes', base64: 'AQIDBA==' }, ratio: 0.5,
};

module.exports = {
  async create(c) {
    c.kept.game = (await c.rest('POST', '/classes/Game', GAME)).objectId;
    return c.rest('GET', `/classes/Game/${c.kept.game}`);
  },
  async update(c) {
    await c.rest('PUT', `/classes/Game/${c.kept.game}`, { score: 1338, player: null, 'nested.one.two': [4] });
    return c.rest('GET', `/classes/Game/${c.kept.game}`);
  },
  async increment(c) {
    for (const amount of [1, -3, 0.5]) await c.rest('PUT', `/classes/Game/${c.kept.game}`, { score: { __op: 'Increment', amount } });
    await c.rest('PUT', `/classes/Game/${c.kept.game}`, { fresh: { __op: 'Increment', amount: 7 }, 'nested.count': { __op: 'Increment', amount: 1 } });
    await c.rest('PUT', `/classes/Game/${c.kept.game}`, { cheatMode: { __op: 'Increment', amount: 1 } });
    return c.rest('GET', `/classes/Game/${c.kept.game}`);
  },
  async concurrent_increments(c) {
    const calls = Array.from({ length: 20 }, () => new Parse.Object('Game', { id: c.kept.game }).increment('hits').save());
    await Promise.all(calls);
    return (await c.query('Game').get(c.kept.game)).get('hits');
  },
  async array_operations(c) {
    for (const [operation, objects] of [['Add', ['b', 'c']], ['AddUnique', ['a', 'd']], ['Remove', ['b']]]) {
      await c.rest('PUT', `/classes/Game/${c.kept.game}`, { tags: { __op: operation, objects } });
    }
    return c.rest('GET', `/classes/Game/${c.kept.game}`);
  },
  async unset_a_field(c) {
    await c.rest('PUT', `/classes/Game/${c.kept.game}`, { ratio: { __op: 'Delete' }, bytes: { __op: 'Delete' } });
    return c.rest('GET', `/classes/Game/${c.kept.game}?keys=score,ratio,bytes`);
  },
  async refusals(c) {
    await c.rest('PUT', `/classes/Game/${c.kept.game}`, { score: 'a text' });
    await c.rest('PUT', '/classes/Game/nosuchgame', { score: 1 });
    await c.rest('DELETE', '/classes/Game/nosuchgame');
    await c.rest('GET', '/classes/Game/nosuchgame');
    await c.rest('GET', '/classes/NoSuchClass');
    await c.rest('POST', '/classes/Game', { 'not a name': 1 });
  },
  async sdk_objects(c) {
    const game = new Parse.Object('Game', { score: 1, tags: [] });
    await game.save();
    game.increment('score', 41).addAll('tags', [1, 2]);
    await game.save();
    const got = await c.query('Game').get(game.id);
    await game.destroy();
    return [game, got, await failure(() => c.query('Game').get(game.id))];
  },
  async sdk_saves_and_destroys_all(c) {
    const games = [1, 2, 3, 4, 5].map((n) => new Parse.Object('Many', { n, before: new Parse.Object('Part', { n }) }));
    await Parse.Object.saveAll(games);
    const found = await c.query('Many').include('before').ascending('n').find();
    await Parse.Object.destroyAll(found.slice(1));
    return [found, await c.query('Many').find()];
  },
  async pointers_and_relations(c) {
    const post = new Parse.Object('Post', { title: 'relations' });
    const comments = [1, 2, 3].map((n) => new Parse.Object('Comment', { n, post }));
    await post.save();
    await Parse.Object.saveAll(comments);
    post.relation('likes').add(comments);
    await post.save();
    post.relation('likes').remove(comments[1]);
    await post.save();
    c.kept.post = post.id;
    const liked = await post.relation('likes').query().ascending('n').find();
    return [liked, await c.query('Comment').equalTo('post', post).include('post').descending('n').find()];
  },
  async related_to(c) {
    const object = { __type: 'Pointer', className: 'Post', objectId: c.kept.post };
    await c.find('classes/Comment', { where: { $relatedTo: { object, key: 'likes' } }, order: 'n' });
    await c.find('classes/Comment', { where: { $relatedTo: { object, key: 'likes' } }, count: 1, limit: 0 });
    await c.find('classes/Post', { where: { likes: { __type: 'Pointer', className: 'Comment', objectId: 'nosuchone1' } } });
  },
  async acls(c) {
    const hidden = await c.rest('POST', '/classes/Game', { player: 'hidden', ACL: { '*': { write: true } } });
    await c.rest('GET', `/classes/Game/${hidden.objectId}`);
    await c.rest('PUT', `/classes/Game/${hidden.objectId}`, { score: 2 });
    await c.master('GET', `/classes/Game/${hidden.objectId}`);
    const fixed = await c.master('POST', '/classes/Game', { player: 'fixed', ACL: { '*': { read: true } } });
    await c.rest('PUT', `/classes/Game/${fixed.objectId}`, { score: 2 });
    await c.rest('DELETE', `/classes/Game/${fixed.objectId}`);
    await c.master('DELETE', `/classes/Game/${fixed.objectId}`);
  },
  async remove(c) {
    await c.rest('DELETE', `/classes/Game/${c.kept.game}`);
    await c.rest('GET', `/classes/Game/${c.kept.game}`);
    await c.rest('DELETE', `/classes/Game/${c.kept.game}`);
  },
};
