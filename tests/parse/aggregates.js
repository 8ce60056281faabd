// Aggregates and distinct, which Parse allows the master key only.
'use strict';

function aggregate(c, parameters, name = 'City') {
  const all = c.readPreference ? { ...parameters, readPreference: c.readPreference } : parameters;
  const text = ([key, value]) => [key, typeof value === 'string' ? value : JSON.stringify(value)];
  return c.master('GET', `/aggregate/${name}?${new URLSearchParams(Object.entries(all).map(text))}`);
}

module.exports = {
  async grouped(c) {
    await aggregate(c, { pipeline: [{ $group: { _id: null, total: { $sum: '$n' }, mean: { $avg: '$n' } } }] });
    await aggregate(c, { pipeline: [{ $unwind: '$colours' }, { $group: { _id: '$colours', n: { $sum: 1 } } }, { $sort: { _id: 1 } }] });
  },
  async matched_and_projected(c) {
    await aggregate(c, { pipeline: [{ $match: { n: { $gt: 2 } } }, { $sort: { n: -1 } }, { $limit: 2 }, { $project: { name: 1, double: { $multiply: ['$n', 2] } } }] });
    await aggregate(c, { pipeline: [{ $match: { _created_at: { $gt: { __type: 'Date', iso: '2001-01-01T00:00:00.000Z' } } } }, { $count: 'n' }] });
  },
  async joined(c) {
    const lookup = { from: 'Mayor', localField: 'n', foreignField: 'n', as: 'mayors' };
    await aggregate(c, { pipeline: [{ $lookup: lookup }, { $match: { mayors: { $ne: [] } } }, { $sort: { n: 1 } }, { $project: { 'mayors.name': 1, n: 1 } }] });
  },
  async with_geo_near(c) {
    // Parse's own index is of the old kind, which serves pairs and no GeoJSON.
    for (const near of [[0.1, 0], { type: 'Point', coordinates: [0.1, 0] }]) {
      const stage = { near, distanceField: 'away', spherical: true, key: 'place' };
      await aggregate(c, { pipeline: [{ $geoNear: stage }, { $limit: 2 }, { $project: { name: 1 } }] });
    }
  },
  async facets(c) {
    await aggregate(c, { pipeline: [{ $facet: { low: [{ $match: { n: { $lt: 3 } } }, { $count: 'n' }], sum: [{ $group: { _id: null, n: { $sum: '$n' } } }] } }] });
    await aggregate(c, { pipeline: [{ $bucket: { groupBy: '$n', boundaries: [0, 3, 6], default: 'more' } }, { $sort: { _id: 1 } }] });
  },
  async distinct(c) {
    await aggregate(c, { distinct: 'colours' });
    await aggregate(c, { distinct: 'name', where: { n: { $lt: 3 } } });
  },
  async refused(c) {
    await aggregate(c, { pipeline: [{ $noSuchStage: {} }] });
    await aggregate(c, { pipeline: [{ $group: { _id: { $noSuchExpression: 1 } } }] });
    await c.rest('GET', '/aggregate/City?distinct=name');
    await aggregate(c, { pipeline: [{ $match: { n: 1 } }] }, 'NoSuchClass');
  },
  async written_out(c) {
    await c.master('POST', '/schemas/Copied', { className: 'Copied', fields: { n: { type: 'Number' } } });
    await aggregate(c, { pipeline: [{ $match: { n: { $lte: 2 } } }, { $project: { n: 1 } }, { $out: 'Copied' }] });
    await aggregate(c, { pipeline: [{ $sort: { n: 1 } }, { $project: { n: 1 } }] }, 'Copied');
    await aggregate(c, { pipeline: [{ $match: { n: 3 } }, { $project: { n: 1 } }, { $merge: { into: 'Copied' } }] });
    await aggregate(c, { pipeline: [{ $sort: { n: 1 } }, { $project: { n: 1 } }] }, 'Copied');
  },
};
