// Queries: operators, subqueries, places, text, paging, counts.
'use strict';
const Parse = require('parse/node');

const point = (latitude, longitude) => ({ __type: 'GeoPoint', latitude, longitude });
const CITIES = [
  ['Alpha', 1, ['red'], 0, 0], ['Beta', 2, ['red', 'blue'], 0, 1], ['Gamma', 3, ['green'], 0, 2], ['Delta', 4, [], 5, 5],
  ['Epsilon', 5, ['blue', 'green'], 10, 10], ['Zeta', 6, ['red', 'green', 'blue'], 40, 40],
];
const names = (where) => ({ where, keys: 'name', order: 'n' });

async function each(c, wheres) {
  for (const where of wheres) await c.find('classes/City', names(where));
}

module.exports = {
  async query_data(c) {
    const cities = CITIES.map(([name, n, colours, latitude, longitude]) => (
      { name, n, colours, place: point(latitude, longitude), text: `the city of ${name} number ${n}` }));
    await c.rest('POST', '/batch', { requests: cities.map((body) => ({ method: 'POST', path: '/parse/classes/City', body })) });
    const mayors = await Parse.Object.saveAll([2, 4].map((n) => new Parse.Object('Mayor', { n, name: `mayor ${n}` })));
    for (const mayor of mayors) {
      const city = await c.query('City').equalTo('n', mayor.get('n')).first();
      await city.save({ mayor });
    }
    return c.find('classes/City', { order: 'n' });
  },
  async comparisons(c) {
    await each(c, [
      { n: 3 }, { n: { $gt: 2, $lte: 5 } }, { n: { $in: [1, 6, 9] } }, { n: { $nin: [1, 6] } }, { n: { $ne: 2 } },
      { mayor: { $exists: true } }, { mayor: { $exists: false } }, { name: { $regex: '^z', $options: 'i' } },
      { name: { $regex: '\\Qta\\E$' } }, { n: { $gt: { __type: 'Date', iso: '2001-01-01T00:00:00.000Z' } } },
    ]);
  },
  async arrays(c) {
    await each(c, [{ colours: 'red' }, { colours: { $all: ['red', 'blue'] } }, { colours: { $containedBy: ['red', 'blue'] } }, { colours: { $in: ['green'] } }]);
  },
  async logic(c) {
    await each(c, [
      { $or: [{ n: 1 }, { name: 'Zeta' }] }, { $and: [{ n: { $gt: 1 } }, { colours: 'blue' }] }, { $nor: [{ n: 1 }, { colours: 'red' }] },
      { n: { $bad: 1 } }, { $or: { n: 1 } },
    ]);
  },
  async subqueries(c) {
    const inner = { where: { n: { $gte: 4 } }, className: 'Mayor' };
    await each(c, [{ mayor: { $inQuery: inner } }, { mayor: { $notInQuery: inner } }, { n: { $select: { query: inner, key: 'n' } } }, { n: { $dontSelect: { query: inner, key: 'n' } } }]);
  },
  async included_pointers(c) {
    await c.find('classes/City', { where: { mayor: { $exists: true } }, include: 'mayor', order: 'n' });
    await c.find('classes/City', { where: { n: 2 }, includeAll: true, keys: 'name,mayor.name' });
    await c.find('classes/City', { where: { n: 2 }, excludeKeys: 'text,place,colours' });
  },
  async places(c) {
    const near = { $nearSphere: point(0, 0.1) };
    const box = [point(-1, -1), point(6, 6)];
    await c.find('classes/City', { where: { place: near }, keys: 'name' });
    await c.find('classes/City', { where: { place: { ...near, $maxDistanceInKilometers: 200 } }, keys: 'name' });
    await each(c, [
      { place: { $within: { $box: box } } }, { place: { $geoWithin: { $centerSphere: [point(0, 0), 0.05] } } },
      { place: { $geoWithin: { $polygon: [point(-1, -1), point(-1, 3), point(3, 3)] } } },
    ]);
  },
  // Parse makes the index once the server says that there is none.
  async text(c) {
    await c.find('classes/City', names({ text: { $text: { $search: { $term: 'alpha' } } } }));
    await c.find('classes/City', { where: { text: { $text: { $search: { $term: 'city zeta' } } } }, order: '$score', keys: '$score,name', limit: 1 });
  },
  async paging(c) {
    for (const skip of [0, 2, 4, 6]) await c.find('classes/City', { order: '-n', limit: 2, skip, keys: 'n' });
    await c.find('classes/City', { order: 'cheat,-n', limit: 0 });
  },
  async counts(c) {
    await c.find('classes/City', { count: 1, limit: 0 });
    await c.find('classes/City', { where: { colours: 'red' }, count: 1, limit: 1, order: 'n', keys: 'n' });
    await c.find('classes/City', { where: { n: 99 }, count: 1, limit: 0 });
    return [await c.query('City').count(), await c.query('City').greaterThan('n', 3).count()];
  },
  async sdk_each(c) {
    const seen = [];
    await c.query('City').eachBatch((cities) => { seen.push(...cities.map((city) => city.get('name'))); }, { batchSize: 2 });
    return seen.sort();
  },
  async sdk_or_and_first(c) {
    const [low, high] = [c.query('City').lessThan('n', 2), c.query('City').greaterThan('n', 5)];
    const either = Parse.Query.or(low, high).ascending('n');
    return [await either.find(), await c.query('City').matches('name', /^E/).first(), await c.query('City').equalTo('n', 0).first()];
  },
  // Of an explanation only the plan is the same twice: the rest are times.
  async explain(c) {
    const explained = await c.query('City').equalTo('n', 2).explain().find({ useMasterKey: true });
    return [explained].flat().map((one) => one.queryPlanner.winningPlan);
  },
  async hint(c) {
    await c.master('GET', `/classes/City?${new URLSearchParams({ hint: '_id_', where: '{"n":{"$lt":3}}', keys: 'n', order: 'n' })}`);
    await c.master('GET', `/classes/City?${new URLSearchParams({ hint: 'no_such_index', where: '{"n":{"$lt":3}}' })}`);
  },
};
